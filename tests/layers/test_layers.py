"""What every layer must do, whatever it computes."""

from __future__ import annotations

import numpy as np
import pytest

from nn.layers import Dense, Dropout, Flatten, ReLU
from nn.network import Network

LAYERS = {
    "dense": lambda: Dense(3),
    "dense by column": lambda: Dense(3, by_column=True),
    "relu": ReLU,
    "flatten": Flatten,
    "dropout": lambda: Dropout(0.5, np.random.default_rng(0)),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def network(request):
    """A network in which the layer stands above and below others."""
    layers = [Dense(4), request.param(), Dense(2)]
    return Network(layers, (5,), np.random.default_rng(0))


@pytest.mark.parametrize("size", [1, 2, 33])
def test_batches_of_any_size_keep_their_shape(network, size):
    x = np.random.default_rng(1).standard_normal((size, 5)).astype(np.float32)
    layer = network.layers[1]
    y = layer.forward(network.layers[0].forward(x, training=True), training=True)
    assert y.shape[0] == size
    assert y.dtype == np.float32
    assert layer.backward(np.ones_like(y)).shape == (size, 4)


def test_a_sample_means_the_same_in_any_batch(network):
    x = np.random.default_rng(1).standard_normal((8, 5)).astype(np.float32)
    together = network.forward(x).copy()
    alone = np.concatenate([network.forward(row[None]).copy() for row in x])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_backward_does_not_disturb_what_forward_gave(network):
    x = np.random.default_rng(1).standard_normal((8, 5)).astype(np.float32)
    y = network.layers[1].forward(network.layers[0].forward(x, training=True), training=True)
    kept, kept_x = y.copy(), x.copy()
    network.layers[1].backward(np.ones_like(y))
    np.testing.assert_array_equal(y, kept)
    np.testing.assert_array_equal(x, kept_x)


def test_evaluation_between_two_steps_changes_no_gradient(network):
    rng = np.random.default_rng(1)
    x, other = (rng.standard_normal((8, 5)).astype(np.float32) for _ in range(2))

    def gradients():
        if isinstance(network.layers[1], Dropout):
            network.layers[1].rng = np.random.default_rng(5)
        dy = np.ones_like(network.forward(x, training=True))
        network.backward(dy)
        return network.parameters.gradients.copy()

    before = gradients()
    network.forward(other, training=False)
    np.testing.assert_array_equal(gradients(), before)
