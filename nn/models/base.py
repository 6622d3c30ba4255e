"""The interface of models, and the components that models look up by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol, TypeAlias, runtime_checkable

from nn.initializers import INITIALIZERS, Initializer
from nn.layers import GELU, BatchNorm, Layer, LayerNorm, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from nn.randomness import RandomGenerators
from nn.types import OneOf


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

ActivationName: TypeAlias = Annotated[str, OneOf(*ACTIVATIONS)]
NormalizationName: TypeAlias = Annotated[str, OneOf("none", *NORMALIZATIONS)]
InitializerName: TypeAlias = Annotated[str, OneOf("auto", *INITIALIZERS)]


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
