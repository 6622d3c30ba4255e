"""The same computations in PyTorch, in float64.

Run as a script, it records PyTorch's results for machines without PyTorch:
python -m tests.reference.torch_reference
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tests.reference import inputs
from tests.reference.inputs import (
    LABELS,
    LR,
    STEPS,
    STEPS_PER_EPOCH,
    OptimizerSettings,
    reference_array,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Values = dict[str, NDArray[np.float64] | float]

RECORDED_FILE = Path(__file__).with_name("torch_reference.npz")


def compute_values() -> Values:
    """Return every value by name."""
    values: Values = {}
    for compute_part in (_layers, _losses, _optimizers, _schedules):
        values |= compute_part()
    return values


def _tensor(array: NDArray[np.float64]) -> Tensor:
    import torch

    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def _forward_and_backward(
    name: str,
    function: Callable[..., Tensor],
    x: NDArray[np.float64],
    parameters: Mapping[str, NDArray[np.float64]],
) -> Values:
    """Return the value of a function of x and its parameters, with all derivatives."""
    tensors = {key: _tensor(value) for key, value in {"x": x, **parameters}.items()}
    y = function(*tensors.values())
    y.backward(_tensor(reference_array(f"{name} dy", *y.shape)).detach())
    values: Values = {f"{name}/y": y.detach().numpy()}
    for key, tensor in tensors.items():
        values[f"{name}/d_{key}"] = tensor.grad.numpy()
    return values


def _layers() -> Values:
    import torch.nn.functional as F  # noqa: N812  (as its users write it)

    values: Values = {}

    def add(
        name: str,
        function: Callable[..., Tensor],
        shape: tuple[int, ...],
        **parameter_shapes: tuple[int, ...],
    ) -> None:
        x = reference_array(name, *shape)
        parameters = {
            key: reference_array(f"{name} {key}", *s) for key, s in parameter_shapes.items()
        }
        values.update(_forward_and_backward(name, function, x, parameters))

    add("dense", lambda x, w, b: x @ w + b, (5, 4), weight=(4, 3), bias=(3,))
    for name, (kernel, stride, padding) in inputs.CONVOLUTIONS.items():
        add(
            name,
            lambda x, w, b, s=stride, p=padding: F.conv2d(x, w, b, stride=s, padding=p),
            (3, 2, 6, 7),
            weight=(4, 2, kernel, kernel),
            bias=(4,),
        )
    for size in (2, 3):
        add(f"max pool {size}", lambda x, n=size: F.max_pool2d(x, n), (3, 2, 6, 7))
        add(f"average pool {size}", lambda x, n=size: F.avg_pool2d(x, n), (3, 2, 6, 7))
    functions = {
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "sigmoid": F.sigmoid,
        "tanh": F.tanh,
        "gelu": lambda x: F.gelu(x, approximate="tanh"),
        "silu": F.silu,
    }
    for name in inputs.ACTIVATIONS:
        add(name, functions[name], (6, 5))
    for name, shape in (("batchnorm 1d", (6, 4)), ("batchnorm 2d", (6, 4, 3, 2))):
        add(
            name,
            lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True),
            shape,
            gain=(4,),
            bias=(4,),
        )
        values.update(_running_statistics(name, shape))
    for name, shape in (("layernorm 1d", (6, 4)), ("layernorm 2d", (6, 4, 3, 2))):
        add(
            name,
            lambda x, g, b, s=shape: F.layer_norm(x, s[1:], g, b),
            shape,
            gain=shape[1:],
            bias=shape[1:],
        )
    return values


def _running_statistics(name: str, shape: tuple[int, ...]) -> Values:
    """Run batch normalization three times in training and then once in evaluation."""
    import torch

    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    layer = kind(shape[1], dtype=torch.float64)
    for step in range(3):
        layer(_tensor(reference_array(f"{name} {step}", *shape)))
    layer.eval()
    y = layer(_tensor(reference_array(f"{name} evaluated", *shape)))
    return {
        f"{name}/mean": layer.running_mean.numpy(),
        f"{name}/variance": layer.running_var.numpy(),
        f"{name}/evaluated": y.detach().numpy(),
    }


def _losses() -> Values:
    import torch
    import torch.nn.functional as F  # noqa: N812  (as its users write it)

    values: Values = {}
    labels = torch.tensor(LABELS)

    def add(name: str, function: Callable[[Tensor], Tensor]) -> None:
        x = _tensor(3 * reference_array(name, len(LABELS), 4))
        loss = function(x)
        loss.backward()
        values.update({f"{name}/value": loss.item(), f"{name}/gradient": x.grad.numpy()})

    for name, settings in inputs.LOSSES.items():
        weights = settings.get("class_weights")
        loss = partial(
            F.cross_entropy,
            target=labels,
            weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
            label_smoothing=settings.get("label_smoothing", 0.0),
        )
        add(name, loss)
    target = F.one_hot(labels, 4).double()
    add("squares of softmax", lambda x: ((x.softmax(1) - target) ** 2).sum(1).mean())
    add("squares of logits", lambda x: ((x - target) ** 2).sum(1).mean())
    return values


def _train(
    make_optimizer: Callable[[list[Tensor]], Optimizer],
    make_schedule: Callable[[Optimizer], LRScheduler] | None = None,
    clip: float | None = None,
) -> NDArray[np.float64]:
    """Train a small network for fifty steps and return its parameters."""
    import torch

    parameters = [
        _tensor(reference_array("w1", 6, 5)),
        _tensor(reference_array("b1", 5)),
        _tensor(reference_array("w2", 5, 4)),
        _tensor(reference_array("b2", 4)),
    ]
    w1, b1, w2, b2 = parameters
    optimizer = make_optimizer(parameters)
    schedule = make_schedule(optimizer) if make_schedule else None
    for step in range(STEPS):
        x = torch.tensor(reference_array(f"batch {step}", len(LABELS), 6))
        loss = torch.nn.functional.cross_entropy(
            (x @ w1 + b1).tanh() @ w2 + b2, torch.tensor(LABELS)
        )
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if (step + 1) % STEPS_PER_EPOCH == 0:
                schedule.step(inputs.PLATEAU_LOSSES[step // STEPS_PER_EPOCH])
        elif schedule:
            schedule.step()
    return np.concatenate([tensor.detach().numpy().ravel() for tensor in parameters])


def _optimizers() -> Values:
    from torch import optim

    def make(name: str, settings: OptimizerSettings) -> Callable[[list[Tensor]], Optimizer]:
        decay = settings.get("weight_decay", 0.0)
        momentum = settings.get("momentum", 0.0)
        betas = (settings.get("beta1", 0.9), settings.get("beta2", 0.999))
        if name.startswith("nesterov"):
            return lambda p: optim.SGD(p, LR, momentum, weight_decay=decay, nesterov=True)
        if name.startswith(("sgd", "momentum")):
            return lambda p: optim.SGD(p, LR, momentum, weight_decay=decay)
        if name.startswith("adagrad"):
            return lambda p: optim.Adagrad(p, LR, weight_decay=decay)
        if name.startswith("rmsprop"):
            rho = settings.get("rho", 0.99)
            return lambda p: optim.RMSprop(p, LR, rho, weight_decay=decay)
        if name == "adamw":
            return lambda p: optim.AdamW(p, LR, weight_decay=decay)
        return lambda p: optim.Adam(p, LR, betas, weight_decay=decay)

    return {
        f"optimizer {name}": _train(make(name, settings), clip=settings.get("max_grad_norm"))
        for name, settings in inputs.OPTIMIZERS.items()
    }


def _schedules() -> Values:
    from torch.optim import SGD, lr_scheduler

    makers = {
        "constant": lambda o: lr_scheduler.ConstantLR(o, 1.0),
        "step": lambda o: lr_scheduler.StepLR(o, 2 * STEPS_PER_EPOCH, 0.5),
        "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9 ** (1 / STEPS_PER_EPOCH)),
        "inverse_time": lambda o: lr_scheduler.LambdaLR(
            o, lambda n: 1 / (1 + 0.3 * n / STEPS_PER_EPOCH)
        ),
        "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS - 1, LR * 0.1),
        "one_cycle": lambda o: lr_scheduler.OneCycleLR(
            o, LR, total_steps=STEPS, cycle_momentum=False
        ),
        "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1, threshold=0),
    }
    return {
        f"schedule {name}": _train(lambda p: SGD(p, LR, 0.9), makers[name])
        for name in inputs.SCHEDULES
    }


if __name__ == "__main__":
    np.savez_compressed(RECORDED_FILE, allow_pickle=False, **compute_values())
