"""The interface of models, and the components that models look up by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from nn.errors import require
from nn.initializers import INITIALIZERS, Initializer
from nn.layers import GELU, BatchNorm, Layer, LayerNorm, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from nn.randomness import RandomGenerators


@runtime_checkable
class Model(Protocol):
    """Interface of models, including user-defined ones: settings from which layers are built."""

    def build_layers(self, num_classes: int, rngs: RandomGenerators) -> list[Layer]:
        """Return new layers, the last of which has `num_classes` outputs.

        Layers that are random in training draw from `rngs`.
        """


ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "gelu": GELU,
    "silu": SiLU,
}
NORMALIZATIONS: dict[str, Callable[[], Layer]] = {"batch": BatchNorm, "layer": LayerNorm}


def check_component_names(activation: str, normalization: str, initializer: str) -> None:
    """Raise SettingError if one of the names is unknown."""
    for name, value, allowed in (
        ("activation", activation, ACTIVATIONS),
        ("normalization", normalization, ("none", *NORMALIZATIONS)),
        ("initializer", initializer, ("auto", *INITIALIZERS)),
    ):
        require(value in allowed, name, value, "one of " + ", ".join(allowed))


def resolve_initializer(initializer: str, activation: str | None) -> Initializer:
    """Return the named initializer; "auto" selects the one that suits the activation."""
    if initializer != "auto":
        return INITIALIZERS[initializer]
    if activation in ("sigmoid", "tanh", None):
        return INITIALIZERS["xavier_normal"]
    return INITIALIZERS["he_normal"]


def normalization_layers(normalization: str) -> list[Layer]:
    """Return the normalization layer as a list, which is empty for "none"."""
    return [NORMALIZATIONS[normalization]()] if normalization != "none" else []
