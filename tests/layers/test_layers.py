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

LAYER_STACKS = {
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
INPUT_SHAPE = (2, 4, 6)


@pytest.fixture(params=LAYER_STACKS.values(), ids=LAYER_STACKS.keys())
def network(request):
    """Build a network with the layer between others."""
    layers = [Conv2D(2, kernel=1), *request.param(), Flatten(), Dense(2)]
    return Network(layers, INPUT_SHAPE, np.random.default_rng(0))


def random_samples(size, seed=1):
    return np.random.default_rng(seed).standard_normal((size, *INPUT_SHAPE)).astype(np.float32)


def reset_dropout_rng(network):
    for layer in network.layers:
        if isinstance(layer, Dropout):
            layer.rng = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 2, 33])
def test_batches_of_any_size_keep_their_shape(network, size):
    x = random_samples(size)
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


def test_output_of_a_sample_does_not_depend_on_its_batch(network):
    x = random_samples(8)
    batched = network.forward(x).copy()
    one_by_one = np.concatenate([network.forward(row[None]).copy() for row in x])
    np.testing.assert_allclose(batched, one_by_one, rtol=1e-4, atol=1e-5)


def test_smaller_last_batch_does_not_disturb_larger_batches(network):
    x = random_samples(8)
    reset_dropout_rng(network)
    first = network.forward(x, training=True).copy()
    network.forward(x[:3], training=True)
    reset_dropout_rng(network)
    np.testing.assert_array_equal(network.forward(x, training=True), first)


def test_backward_does_not_modify_forward_outputs(network):
    outputs = [random_samples(8)]
    for layer in network.layers:
        outputs.append(layer.forward(outputs[-1], training=True))
    copies = [array.copy() for array in outputs]
    network.backward(np.ones_like(outputs[-1]))
    for array, copy in zip(outputs, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_evaluation_is_deterministic_and_keeps_state(network):
    x = random_samples(8)
    network.forward(x, training=True)
    state = {name: array.copy() for name, array in network.state.items()}
    first = network.forward(x, training=False).copy()
    np.testing.assert_array_equal(network.forward(x, training=False), first)
    for name, array in network.state.items():
        np.testing.assert_array_equal(array, state[name])


def test_training_updates_running_statistics(network):
    before = {name: array.copy() for name, array in network.state.items()}
    network.forward(random_samples(8), training=True)
    for name, array in network.state.items():
        assert not np.array_equal(array, before[name])


def test_parameters_and_state_can_be_restored(network):
    x = random_samples(8)
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


def test_memory_does_not_grow_with_steps(network):
    x = random_samples(16)

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


def test_shape_errors_name_the_layer():
    rng = np.random.default_rng(0)
    cases = [
        ([Dense(3)], (2, 4), r"Layer dense1: .* of shape \(8,\), not of shape \(2, 4\)"),
        ([Conv2D(3)], (7,), r"Layer conv2d1: .* not samples of shape \(7,\)"),
        ([Conv2D(3, kernel=5)], (1, 4, 4), "Layer conv2d1: a kernel of 5 x 5 .* images of 4 x 4"),
        ([Dense(2), Residual([Dense(3)])], (4,), r"residual1: .* turn shape \(2,\) into \(3,\)"),
        ([MaxPool2D(3), Flatten(), Dense(1)], (1, 2, 2), "maxpool2d1: a kernel of 3 x 3"),
    ]
    for layers, shape, message in cases:
        with pytest.raises(UserError, match=message):
            Network(layers, shape, rng)


def test_blocks_of_rows_do_not_change_a_convolution(monkeypatch):
    """Outputs and all gradients agree for one block, single rows, and a smaller last block."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(3, 2, 9, 6)), rng.normal(size=(3, 4, 5, 3))
    results = []
    for max_values in (1, 2 * 8 * 3 * 2 * 3, 10**6):
        monkeypatch.setattr("nn.layers.conv2d.MAX_BLOCK_VALUES", max_values)
        layer = Conv2D(4, stride=2, padding=1)
        network = Network([layer], x.shape[1:], np.random.default_rng(1), np.float64)
        layer.needs_input_grad = True
        y = layer.forward(x, training=True).copy()
        results.append((y, layer.backward(dy).copy(), network.parameters.gradients))
    for single, *blocks in zip(*results, strict=True):
        for block in blocks:
            np.testing.assert_allclose(block, single, rtol=1e-10, atol=1e-12)
