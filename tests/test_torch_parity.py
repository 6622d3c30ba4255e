"""Agreement with PyTorch to float64 rounding: live where installed, else from recorded values."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from nn import layers, losses, optimizers, schedules
from nn.network import Network
from tests.reference import inputs, torch_reference
from tests.reference.inputs import LABELS, LR, STEPS, STEPS_PER_EPOCH, reference_array


@pytest.fixture(scope="module")
def torch_values():
    return (
        torch_reference.compute_values()
        if find_spec("torch")
        else np.load(torch_reference.RECORDED_FILE)
    )


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def build_network(layer, name, shape, parameter_names):
    """Build a network of one layer with the parameters of the reference."""
    network = Network(
        [layer, *_trainable_layers(layer)], shape[1:], np.random.default_rng(0), np.float64
    )
    layer.needs_input_grad = True
    views = network.parameters.named_views(network.parameters.values)
    for parameter_name in parameter_names:
        next(v for k, v in views.items() if k.endswith(parameter_name))[...] = reference_array(
            f"{name} {parameter_name}",
            *next(v for k, v in views.items() if k.endswith(parameter_name)).shape,
        )
    return network


def _trainable_layers(layer):
    """Add a trainable layer to one without parameters, since a network needs parameters."""
    is_trainable = isinstance(
        layer, (layers.Dense, layers.Conv2D, layers.BatchNorm, layers.LayerNorm)
    )
    return [] if is_trainable else [layers.Flatten(), layers.Dense(1)]


def check_forward_and_backward(torch_values, layer, name, shape, parameter_names=()):
    network = build_network(layer, name, shape, parameter_names)
    y = layer.forward(reference_array(name, *shape), training=True)
    assert_close(y, torch_values[f"{name}/y"])
    assert_close(
        layer.backward(reference_array(f"{name} dy", *y.shape)), torch_values[f"{name}/d_x"]
    )
    gradients = network.parameters.named_views(network.parameters.gradients)
    for parameter_name in parameter_names:
        gradient = next(v for k, v in gradients.items() if k.endswith(parameter_name))
        assert_close(gradient, torch_values[f"{name}/d_{parameter_name}"])


def test_dense(torch_values):
    check_forward_and_backward(torch_values, layers.Dense(3), "dense", (5, 4), ("weight", "bias"))


@pytest.mark.parametrize("name", inputs.CONVOLUTIONS)
def test_convolution(torch_values, name):
    layer = layers.Conv2D(4, *inputs.CONVOLUTIONS[name])
    check_forward_and_backward(torch_values, layer, name, (3, 2, 6, 7), ("weight", "bias"))


@pytest.mark.parametrize("size", [2, 3])
def test_pooling(torch_values, size):
    check_forward_and_backward(
        torch_values, layers.MaxPool2D(size), f"max pool {size}", (3, 2, 6, 7)
    )
    check_forward_and_backward(
        torch_values, layers.AvgPool2D(size), f"average pool {size}", (3, 2, 6, 7)
    )


@pytest.mark.parametrize("name", inputs.ACTIVATIONS)
def test_activation(torch_values, name):
    from nn.models.base import ACTIVATIONS

    check_forward_and_backward(torch_values, ACTIVATIONS[name](), name, (6, 5))


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)], ids=["1d", "2d"])
def test_normalization(torch_values, shape):
    kind = f"{'1d' if len(shape) == 2 else '2d'}"
    check_forward_and_backward(
        torch_values, layers.BatchNorm(), f"batchnorm {kind}", shape, ("gain", "bias")
    )
    check_forward_and_backward(
        torch_values, layers.LayerNorm(), f"layernorm {kind}", shape, ("gain", "bias")
    )


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)], ids=["1d", "2d"])
def test_running_statistics(torch_values, shape):
    name = f"batchnorm {'1d' if len(shape) == 2 else '2d'}"
    layer = layers.BatchNorm()
    build_network(layer, name, shape, ())
    for step in range(3):
        layer.forward(reference_array(f"{name} {step}", *shape), training=True)
    y = layer.forward(reference_array(f"{name} evaluated", *shape), training=False)
    assert_close(layer.state["mean"], torch_values[f"{name}/mean"])
    assert_close(layer.state["variance"], torch_values[f"{name}/variance"])
    assert_close(y, torch_values[f"{name}/evaluated"])


LOSSES = {
    **{name: losses.SoftmaxCrossEntropy(**s) for name, s in inputs.LOSSES.items()},
    "squares of softmax": losses.MeanSquaredError(),
    "squares of logits": losses.MeanSquaredError(apply_softmax=False),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss(torch_values, name):
    loss = LOSSES[name]
    loss.build(4, np.dtype(np.float64))
    logits = 3 * reference_array(name, len(LABELS), 4)
    assert_close(loss.value(logits, LABELS), torch_values[f"{name}/value"])
    assert_close(loss.gradient(logits, LABELS), torch_values[f"{name}/gradient"])


def train_parameters(optimizer, schedule=None):
    """Train the reference network for fifty steps and return its parameters."""
    chain = [layers.Dense(5), layers.Tanh(), layers.Dense(4)]
    network = Network(chain, (6,), np.random.default_rng(0), np.float64)
    parameters, gradients = network.parameters.values, network.parameters.gradients
    start = [reference_array(name, *s) for name, s in (("w1", (6, 5)), ("b1", (5,)))]
    start += [reference_array(name, *s) for name, s in (("w2", (5, 4)), ("b2", (4,)))]
    parameters[...] = np.concatenate([part.ravel() for part in start])
    optimizer.init_state(parameters)
    loss, schedule = losses.SoftmaxCrossEntropy(), schedule or schedules.Constant()
    loss.build(4, parameters.dtype)
    for step in range(STEPS):
        outputs = network.forward(reference_array(f"batch {step}", len(LABELS), 6), training=True)
        network.backward(loss.gradient(outputs, LABELS))
        rate = LR * schedule(schedules.Progress(step, STEPS, STEPS_PER_EPOCH))
        optimizer.step(parameters, gradients, rate)
        if (step + 1) % STEPS_PER_EPOCH == 0:
            schedule.update(inputs.PLATEAU_LOSSES[step // STEPS_PER_EPOCH])
    return parameters


@pytest.mark.parametrize("name", inputs.OPTIMIZERS)
def test_fifty_steps_of_every_optimizer(torch_values, name):
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
    assert_close(train_parameters(optimizer), torch_values[f"optimizer {name}"])


@pytest.mark.parametrize("name", inputs.SCHEDULES)
def test_fifty_steps_of_every_schedule(torch_values, name):
    schedule = {
        "constant": schedules.Constant(),
        "step": schedules.Step(step_size=2, gamma=0.5),
        "exponential": schedules.Exponential(gamma=0.9),
        "inverse_time": schedules.InverseTime(decay_rate=0.3),
        "cosine": schedules.Cosine(final_factor=0.1),
        "one_cycle": schedules.OneCycle(),
        "plateau": schedules.ReduceOnPlateau(factor=0.5, patience=1),
    }[name]
    assert_close(
        train_parameters(optimizers.SGD(momentum=0.9), schedule), torch_values[f"schedule {name}"]
    )


def test_recorded_values_match_pytorch(torch_values):
    recorded = np.load(torch_reference.RECORDED_FILE)
    assert set(recorded) == set(torch_values)
    for name in recorded:
        assert_close(torch_values[name], recorded[name])
