"""Inputs of both implementations, from the legacy generator, whose stream never changes."""

from __future__ import annotations

import zlib
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


def reference_array(name: str, *shape: int) -> NDArray[np.float64]:
    """Draw float64 numbers that depend only on the name and the shape."""
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)


CONVOLUTIONS = {
    f"conv k{kernel} s{stride} p{padding}": (kernel, stride, padding)
    for kernel in (1, 2, 3)
    for stride in (1, 2)
    for padding in (0, 1)
}
ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu")
POOLS = ("max", "average")


class OptimizerSettings(TypedDict, total=False):
    weight_decay: float
    max_grad_norm: float
    momentum: float
    rho: float
    beta1: float
    beta2: float
    decoupled_weight_decay: bool


class LossSettings(TypedDict, total=False):
    label_smoothing: float
    class_weights: list[float]


OPTIMIZERS: dict[str, OptimizerSettings] = {
    "sgd": {},
    "sgd with decay": {"weight_decay": 0.1},
    "sgd with clipping": {"max_grad_norm": 0.5},
    "momentum": {"momentum": 0.9},
    "momentum with decay": {"momentum": 0.8, "weight_decay": 0.05},
    "nesterov": {"momentum": 0.9},
    "nesterov with decay": {"momentum": 0.7, "weight_decay": 0.05},
    "adagrad": {},
    "adagrad with decay": {"weight_decay": 0.1},
    "rmsprop": {"rho": 0.95},
    "rmsprop with decay": {"weight_decay": 0.1},
    "adam": {},
    "adam with decay": {"beta1": 0.8, "beta2": 0.98, "weight_decay": 0.1},
    "adamw": {"weight_decay": 0.1, "decoupled_weight_decay": True},
}
SCHEDULES = ("constant", "step", "exponential", "inverse_time", "cosine", "one_cycle", "plateau")
LOSSES: dict[str, LossSettings] = {
    "cross-entropy": {},
    "smoothed": {"label_smoothing": 0.2},
    "weighted": {"class_weights": [1.0, 2.0, 0.5, 3.0]},
    "both": {"label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5, 3.0]},
}
LABELS = np.array([0, 1, 2, 3, 1, 2])
STEPS, STEPS_PER_EPOCH, LR = 50, 10, 0.05
PLATEAU_LOSSES = (1.0, 0.9, 0.95, 0.97, 0.99, 0.8)
