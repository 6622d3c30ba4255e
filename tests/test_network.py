from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.layers import Dense, Flatten, ReLU
from nn.losses import MeanSquaredError, SoftmaxCrossEntropy
from nn.models import MLP
from nn.network import Network
from nn.parameters import TooManyParametersError
from nn.randomness import RandomGenerators
from tests.strategies import networks, numerical_gradient, random_batch, seeds

LOSSES = [
    SoftmaxCrossEntropy(),
    SoftmaxCrossEntropy(label_smoothing=0.2),
    MeanSquaredError(),
    MeanSquaredError(apply_softmax=False),
]


@settings(max_examples=80)
@given(networks, st.integers(2, 5), st.sampled_from(LOSSES), seeds)
def test_gradients_of_random_networks_agree_with_central_differences(network, size, loss, seed):
    x, labels = random_batch(network, size, np.random.default_rng(seed))
    loss.build(network.output_shape[0], x.dtype)

    def loss_value():
        return loss.value(network.forward(x, training=True), labels)

    network.backward(loss.gradient(network.forward(x, training=True), labels))
    gradients = network.parameters.gradients.copy()
    values = network.parameters.values
    # a kink within the step spoils the difference: skip where two step sizes disagree
    coarse, fine = (numerical_gradient(loss_value, values, step) for step in (2e-6, 1e-6))
    is_smooth = np.isclose(coarse, fine, rtol=1e-3, atol=1e-6)
    assert is_smooth.mean() > 0.9
    np.testing.assert_allclose(gradients[is_smooth], fine[is_smooth], rtol=1e-3, atol=1e-6)


def test_layers_own_views_into_the_flat_vectors():
    network = Network([Dense(3), ReLU(), Dense(2)], (4,), np.random.default_rng(0))
    views = network.parameters.named_views(network.parameters.values)
    assert list(views) == ["dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias"]
    network.parameters.values[...] = 0
    assert not network.layers[0].weight.any()
    assert len(network.parameters) == 4 * 3 + 3 + 3 * 2 + 2


@pytest.mark.parametrize(("hidden", "parameters"), [([196, 49], 164_013), ([128, 64], 109_386)])
def test_known_architectures_have_their_known_parameter_count(hidden, parameters):
    layers = MLP(hidden=hidden).build_layers(10, RandomGenerators.from_seed(0))
    network = Network(layers, (1, 28, 28), np.random.default_rng(0))
    assert len(network.parameters) == parameters


def test_initial_weights_depend_only_on_the_seed():
    def digest(seed):
        randomness = RandomGenerators.from_seed(seed)
        return Network(MLP().build_layers(10, randomness), (1, 8, 8), randomness.init).digest()

    assert digest(1) == digest(1) != digest(2)


def test_he_initialization_preserves_the_second_moment():
    rng = np.random.default_rng(0)
    layers = [layer for _ in range(8) for layer in (Dense(500), ReLU())]
    network = Network(layers, (500,), rng)
    x = rng.standard_normal((200, 500)).astype(np.float32)
    assert 0.7 < np.mean(network.forward(x) ** 2) < 1.4


def test_network_too_large_for_memory_is_refused():
    with pytest.raises(TooManyParametersError, match="more than this machine can hold"):
        Network([Flatten(), Dense(10**12), Dense(10)], (1, 28, 28), np.random.default_rng(0))


def test_training_steps_reuse_their_buffers():
    network = Network([Dense(8), ReLU(), Dense(3)], (5,), np.random.default_rng(0))
    x, labels = random_batch(network, 7, np.random.default_rng(1))
    loss = SoftmaxCrossEntropy()
    loss.build(3, x.dtype)

    def step():
        outputs = network.forward(x, training=True)
        network.backward(loss.gradient(outputs, labels))
        return outputs.ctypes.data, *(len(layer._buffers) for layer in network.layers)

    first = step()
    assert all(step() == first for _ in range(100))
