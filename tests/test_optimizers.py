from __future__ import annotations

import numpy as np
import pytest

from nn import optimizers
from nn.layers import Dense, ReLU
from nn.losses import SoftmaxCrossEntropy
from nn.network import Network
from nn.optimizers import SGD, Adagrad, Adam, Nesterov, RMSProp

OPTIMIZERS = {
    "sgd": (SGD, {}, 0.5),
    "momentum": (SGD, {"momentum": 0.9}, 0.1),
    "nesterov": (Nesterov, {"momentum": 0.9}, 0.1),
    "adagrad": (Adagrad, {}, 0.1),
    "rmsprop": (RMSProp, {}, 0.003),
    "adam": (Adam, {}, 0.01),
    "adamw": (Adam, {"weight_decay": 1e-4, "decoupled_weight_decay": True}, 0.01),
}


def descent_path(optimizer, start=1.0, lr=0.1, steps=3):
    """Descend the parabola whose gradient is the position."""
    position = np.array([start])
    optimizer.init_state(position)
    positions = []
    for _ in range(steps):
        optimizer.step(position, position.copy(), lr)
        positions.append(float(position[0]))
    return positions


def test_sgd_follows_the_gradient():
    assert descent_path(SGD()) == pytest.approx([0.9, 0.81, 0.729])


def test_momentum_accumulates_velocity():
    # velocities 1, 0.9 + 0.9, 0.9 * 1.8 + 0.72
    assert descent_path(SGD(momentum=0.9)) == pytest.approx([0.9, 0.72, 0.486])


def test_nesterov_looks_ahead():
    # velocities 1, 0.9 + 0.81; steps 0.1 * (gradient + 0.9 * velocity)
    assert descent_path(Nesterov(momentum=0.9), steps=2) == pytest.approx([0.81, 0.5751])


def test_first_step_of_adam_is_the_learning_rate():
    assert descent_path(Adam(), lr=0.1, steps=1) == pytest.approx([0.9])


def test_l2_penalty_adds_to_the_gradient():
    assert descent_path(SGD(weight_decay=1.0), steps=1) == pytest.approx([0.8])


def test_decoupled_weight_decay_is_separate_from_the_step():
    coupled = descent_path(Adam(weight_decay=0.5), lr=0.1, steps=1)
    decoupled = descent_path(Adam(weight_decay=0.5, decoupled_weight_decay=True), lr=0.1, steps=1)
    assert coupled == pytest.approx([0.9])
    assert decoupled == pytest.approx([1 - 0.05 - 0.1])


def test_only_gradients_above_the_norm_limit_are_clipped():
    parameters = np.zeros(2)
    optimizer = SGD(max_grad_norm=1.0)
    optimizer.init_state(parameters)
    optimizer.step(parameters, np.array([3.0, 4.0]), 1.0)
    np.testing.assert_allclose(parameters, [-0.6, -0.8], rtol=1e-6)
    optimizer.step(parameters, np.array([0.3, 0.4]), 1.0)
    np.testing.assert_allclose(parameters, [-0.9, -1.2], rtol=1e-6)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_overfits_a_hundred_samples(kind):
    optimizer_class, settings, lr = OPTIMIZERS[kind]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 20)).astype(np.float32)
    labels = rng.integers(0, 5, 100)
    network = Network([Dense(64), ReLU(), Dense(5)], (20,), rng)
    loss, optimizer = SoftmaxCrossEntropy(), optimizer_class(**settings)
    loss.build(5, x.dtype)
    optimizer.init_state(network.parameters.values)
    for _ in range(3000):
        network.backward(loss.gradient(network.forward(x, training=True), labels))
        optimizer.step(network.parameters.values, network.parameters.gradients, lr)
    assert loss.value(network.forward(x), labels) < 0.001


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), Adam(weight_decay=0.1)])
def test_updates_in_blocks_have_the_bits_of_whole_updates(optimizer, monkeypatch):
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal((2, 1000)).astype(np.float32)
    results = []
    for block_size in (1000, 300):
        monkeypatch.setattr(optimizers, "BLOCK_SIZE", block_size)
        parameters = start.copy()
        optimizer.init_state(parameters)
        for _ in range(3):
            optimizer.step(parameters, gradients.copy(), 0.1)
        results.append([parameters, *optimizer.state.values()])
    np.testing.assert_array_equal(*results)
