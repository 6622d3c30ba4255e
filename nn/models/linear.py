"""Softmax (multinomial logistic) regression."""

from __future__ import annotations

from dataclasses import dataclass

from nn.layers import Dense, Flatten, Layer
from nn.models.base import InitializerName, resolve_initializer
from nn.randomness import RandomGenerators
from nn.types import check_settings


@dataclass(frozen=True)
class Linear:
    """Softmax regression: a single dense layer."""

    initializer: InitializerName = "auto"

    def __post_init__(self) -> None:
        check_settings(self)

    def build_layers(self, num_classes: int, rngs: RandomGenerators) -> list[Layer]:
        """Return new layers, for samples of any shape."""
        return [
            Flatten(),
            Dense(num_classes, resolve_initializer(self.initializer, None), column_major=True),
        ]
