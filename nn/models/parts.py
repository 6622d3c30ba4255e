"""What the models have in common: activations, normalizations and initializers by name."""

from __future__ import annotations

from collections.abc import Callable

from nn.errors import require
from nn.initializers import INITIALIZERS, Initializer
from nn.layers import GELU, BatchNorm, Layer, LayerNorm, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh

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
    """Refuse names that mean nothing."""
    for name, value, allowed in (
        ("activation", activation, ACTIVATIONS),
        ("normalization", normalization, ("none", *NORMALIZATIONS)),
        ("initializer", initializer, ("auto", *INITIALIZERS)),
    ):
        require(value in allowed, name, value, "one of " + ", ".join(allowed))


def resolve_initializer(initializer: str, activation: str | None) -> Initializer:
    """Choose the initializer that goes with an activation, unless one is asked for."""
    if initializer != "auto":
        return INITIALIZERS[initializer]
    if activation in ("sigmoid", "tanh", None):
        return INITIALIZERS["xavier_normal"]
    return INITIALIZERS["he_normal"]


def normalization_layers(normalization: str) -> list[Layer]:
    """The normalization, if there is to be one."""
    return [NORMALIZATIONS[normalization]()] if normalization != "none" else []
