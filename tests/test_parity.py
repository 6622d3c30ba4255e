"""Agreement with PyTorch to float64 rounding: live where installed, else from recorded values."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from nn import layers, losses, optimizers, schedules
from nn.network import Network
from tests.reference import inputs, with_torch
from tests.reference.inputs import LABELS, LR, PER_EPOCH, STEPS, numbers


@pytest.fixture(scope="module")
def torch():
    return with_torch.compute() if find_spec("torch") else np.load(with_torch.RECORDED)


def agree(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def connected(layer, name, shape, parts):
    """Build a network of one layer with the parameters of the reference."""
    network = Network([layer, *_learner(layer)], shape[1:], np.random.default_rng(0), np.float64)
    layer.needs_input_grad = True
    views = network.parameters.named_views(network.parameters.values)
    for part in parts:
        next(v for k, v in views.items() if k.endswith(part))[...] = numbers(
            f"{name} {part}", *next(v for k, v in views.items() if k.endswith(part)).shape
        )
    return network


def _learner(layer):
    """Add a trainable layer to one without parameters, since a network needs parameters."""
    learns = isinstance(layer, (layers.Dense, layers.Conv2D, layers.BatchNorm, layers.LayerNorm))
    return [] if learns else [layers.Flatten(), layers.Dense(1)]


def check_both_ways(torch, layer, name, shape, parts=()):
    network = connected(layer, name, shape, parts)
    y = layer.forward(numbers(name, *shape), training=True)
    agree(y, torch[f"{name}/y"])
    agree(layer.backward(numbers(f"{name} dy", *y.shape)), torch[f"{name}/d_x"])
    gradients = network.parameters.named_views(network.parameters.gradients)
    for part in parts:
        found = next(v for k, v in gradients.items() if k.endswith(part))
        agree(found, torch[f"{name}/d_{part}"])


def test_dense(torch):
    check_both_ways(torch, layers.Dense(3), "dense", (5, 4), ("weight", "bias"))


@pytest.mark.parametrize("name", inputs.CONVOLUTIONS)
def test_convolution(torch, name):
    layer = layers.Conv2D(4, *inputs.CONVOLUTIONS[name])
    check_both_ways(torch, layer, name, (3, 2, 6, 7), ("weight", "bias"))


@pytest.mark.parametrize("size", [2, 3])
def test_pooling(torch, size):
    check_both_ways(torch, layers.MaxPool2D(size), f"max pool {size}", (3, 2, 6, 7))
    check_both_ways(torch, layers.AvgPool2D(size), f"average pool {size}", (3, 2, 6, 7))


@pytest.mark.parametrize("name", inputs.ACTIVATIONS)
def test_activation(torch, name):
    from nn.models.base import ACTIVATIONS

    check_both_ways(torch, ACTIVATIONS[name](), name, (6, 5))


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)], ids=["1d", "2d"])
def test_normalization(torch, shape):
    kind = f"{'1d' if len(shape) == 2 else '2d'}"
    check_both_ways(torch, layers.BatchNorm(), f"batchnorm {kind}", shape, ("gain", "bias"))
    check_both_ways(torch, layers.LayerNorm(), f"layernorm {kind}", shape, ("gain", "bias"))


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)], ids=["1d", "2d"])
def test_running_figures(torch, shape):
    name = f"batchnorm {'1d' if len(shape) == 2 else '2d'}"
    layer = layers.BatchNorm()
    connected(layer, name, shape, ())
    for step in range(3):
        layer.forward(numbers(f"{name} {step}", *shape), training=True)
    y = layer.forward(numbers(f"{name} evaluated", *shape), training=False)
    agree(layer.state["mean"], torch[f"{name}/mean"])
    agree(layer.state["variance"], torch[f"{name}/variance"])
    agree(y, torch[f"{name}/evaluated"])


KINDS = {
    **{name: losses.SoftmaxCrossEntropy(**s) for name, s in inputs.LOSSES.items()},
    "squares of softmax": losses.MeanSquaredError(),
    "squares of logits": losses.MeanSquaredError(apply_softmax=False),
}


@pytest.mark.parametrize("name", KINDS)
def test_loss(torch, name):
    loss = KINDS[name]
    loss.build(4, np.dtype(np.float64))
    logits = 3 * numbers(name, len(LABELS), 4)
    agree(loss.value(logits, LABELS), torch[f"{name}/value"])
    agree(loss.gradient(logits, LABELS), torch[f"{name}/gradient"])


def trained(optimizer, schedule=None):
    """Train the reference network for fifty steps and return its parameters."""
    chain = [layers.Dense(5), layers.Tanh(), layers.Dense(4)]
    network = Network(chain, (6,), np.random.default_rng(0), np.float64)
    parameters, gradients = network.parameters.values, network.parameters.gradients
    start = [numbers(name, *s) for name, s in (("w1", (6, 5)), ("b1", (5,)))]
    start += [numbers(name, *s) for name, s in (("w2", (5, 4)), ("b2", (4,)))]
    parameters[...] = np.concatenate([part.ravel() for part in start])
    optimizer.init_state(parameters)
    loss, schedule = losses.SoftmaxCrossEntropy(), schedule or schedules.Constant()
    loss.build(4, parameters.dtype)
    for step in range(STEPS):
        outputs = network.forward(numbers(f"batch {step}", len(LABELS), 6), training=True)
        network.backward(loss.gradient(outputs, LABELS))
        rate = LR * schedule(schedules.Progress(step, STEPS, PER_EPOCH))
        optimizer.step(parameters, gradients, rate)
        if (step + 1) % PER_EPOCH == 0:
            schedule.update(inputs.PLATEAU_LOSSES[step // PER_EPOCH])
    return parameters


@pytest.mark.parametrize("name", inputs.OPTIMIZERS)
def test_fifty_steps_of_every_optimizer(torch, name):
    kinds = {
        "sgd": optimizers.SGD,
        "momentum": optimizers.SGD,
        "nesterov": optimizers.Nesterov,
        "adagrad": optimizers.Adagrad,
        "rmsprop": optimizers.RMSProp,
        "adam": optimizers.Adam,
        "adamw": optimizers.Adam,
    }
    optimizer = kinds[name.split()[0]](**inputs.OPTIMIZERS[name])
    agree(trained(optimizer), torch[f"optimizer {name}"])


@pytest.mark.parametrize("name", inputs.SCHEDULES)
def test_fifty_steps_of_every_schedule(torch, name):
    schedule = {
        "constant": schedules.Constant(),
        "step": schedules.Step(step_size=2, gamma=0.5),
        "exponential": schedules.Exponential(gamma=0.9),
        "inverse_time": schedules.InverseTime(decay_rate=0.3),
        "cosine": schedules.Cosine(final_factor=0.1),
        "one_cycle": schedules.OneCycle(),
        "plateau": schedules.ReduceOnPlateau(factor=0.5, patience=1),
    }[name]
    agree(trained(optimizers.SGD(momentum=0.9), schedule), torch[f"schedule {name}"])


def test_the_recorded_values_are_those_of_pytorch(torch):
    recorded = np.load(with_torch.RECORDED)
    assert set(recorded) == set(torch)
    for name in recorded:
        agree(torch[name], recorded[name])
