"""Requirements on every layer, independent of its formula."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from nn.errors import UserError
from nn.layers import (
    GELU,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    Residual,
    Sigmoid,
    SiLU,
    Tanh,
)
from nn.network import Network

LAYERS = {
    "dense": lambda: [Flatten(), Dense(3)],
    "dense by column": lambda: [Flatten(), Dense(3, column_major=True)],
    "relu": lambda: [ReLU()],
    "leaky relu": lambda: [LeakyReLU()],
    "sigmoid": lambda: [Sigmoid()],
    "tanh": lambda: [Tanh()],
    "gelu": lambda: [GELU()],
    "silu": lambda: [SiLU()],
    "flatten": lambda: [Flatten()],
    "dropout": lambda: [Dropout(0.5, np.random.default_rng(0))],
    "convolution": lambda: [Conv2D(3, kernel=3, padding=1)],
    "convolution with stride": lambda: [Conv2D(3, kernel=2, stride=2)],
    "max pool": lambda: [MaxPool2D()],
    "average pool": lambda: [AvgPool2D()],
    "batch normalization": lambda: [BatchNorm()],
    "batch normalization of rows": lambda: [Flatten(), BatchNorm()],
    "layer normalization": lambda: [LayerNorm()],
    "residual": lambda: [Residual([Conv2D(2, padding=1), BatchNorm(), ReLU()])],
}
SHAPE = (2, 4, 6)


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def network(request):
    """Build a network with the layer between others."""
    layers = [Conv2D(2, kernel=1), *request.param(), Flatten(), Dense(2)]
    return Network(layers, SHAPE, np.random.default_rng(0))


def samples(size, seed=1):
    return np.random.default_rng(seed).standard_normal((size, *SHAPE)).astype(np.float32)


def begin_chance_again(network):
    for layer in network.layers:
        if isinstance(layer, Dropout):
            layer.rng = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 2, 33])
def test_batches_of_any_size_keep_their_shape(network, size):
    x = samples(size)
    for layer in network.layers:
        assert x.shape == (size, *layer.input_shape)
        x = layer.forward(x, training=True)
        assert x.shape == (size, *layer.output_shape)
        assert x.dtype == np.float32
    dy = np.ones_like(x)
    for layer in reversed(network.layers[1:]):
        dy = layer.backward(dy)
        assert dy.shape == (size, *layer.input_shape)
        assert dy.dtype == np.float32
        assert np.isfinite(dy).all()


def test_a_sample_means_the_same_in_any_batch(network):
    x = samples(8)
    together = network.forward(x).copy()
    alone = np.concatenate([network.forward(row[None]).copy() for row in x])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_a_last_batch_that_is_smaller_leaves_the_larger_one_usable(network):
    x = samples(8)
    begin_chance_again(network)
    first = network.forward(x, training=True).copy()
    network.forward(x[:3], training=True)
    begin_chance_again(network)
    np.testing.assert_array_equal(network.forward(x, training=True), first)


def test_backward_does_not_disturb_what_forward_gave(network):
    seen = [samples(8)]
    for layer in network.layers:
        seen.append(layer.forward(seen[-1], training=True))
    kept = [array.copy() for array in seen]
    network.backward(np.ones_like(seen[-1]))
    for array, before in zip(seen, kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_evaluation_draws_nothing_and_learns_nothing(network):
    x = samples(8)
    network.forward(x, training=True)
    state = {name: array.copy() for name, array in network.state.items()}
    first = network.forward(x, training=False).copy()
    np.testing.assert_array_equal(network.forward(x, training=False), first)
    for name, array in network.state.items():
        np.testing.assert_array_equal(array, state[name])


def test_training_moves_running_figures(network):
    before = {name: array.copy() for name, array in network.state.items()}
    network.forward(samples(8), training=True)
    for name, array in network.state.items():
        assert not np.array_equal(array, before[name])


def test_parameters_and_state_can_be_put_back(network):
    x = samples(8)
    parameters = network.parameters.values.copy()
    state = {name: array.copy() for name, array in network.state.items()}
    expected, digest = network.forward(x).copy(), network.digest()
    network.forward(x, training=True)
    network.parameters.values += 0.1
    assert network.digest() != digest
    network.parameters.values[...] = parameters
    for name, array in network.state.items():
        array[...] = state[name]
    np.testing.assert_array_equal(network.forward(x), expected)
    assert network.digest() == digest


def test_a_thousand_steps_allocate_no_more_than_ten(network):
    x = samples(16)

    def steps(count):
        for _ in range(count):
            network.backward(np.ones_like(network.forward(x, training=True)))

    steps(10)
    tracemalloc.start()
    steps(10)
    before, _ = tracemalloc.get_traced_memory()
    steps(1000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 10_000


def test_shapes_that_do_not_fit_name_the_layer():
    rng = np.random.default_rng(0)
    cases = [
        ([Dense(3)], (2, 4), r"Layer dense1: .* of shape \(8,\), not of shape \(2, 4\)"),
        ([Conv2D(3)], (7,), r"Layer conv2d1: .* not samples of shape \(7,\)"),
        ([Conv2D(3, kernel=5)], (1, 4, 4), "Layer conv2d1: a kernel of 5 x 5 .* images of 4 x 4"),
        ([Dense(2), Residual([Dense(3)])], (4,), r"residual1: .* turn shape \(2,\) into \(3,\)"),
        ([MaxPool2D(3), Flatten(), Dense(1)], (1, 2, 2), "maxpool2d1: a kernel of 3 x 3"),
    ]
    for layers, shape, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            Network(layers, shape, rng)
