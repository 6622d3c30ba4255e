"""Softmax regression."""

from __future__ import annotations

from dataclasses import dataclass

from nn.layers import Dense, Flatten, Layer
from nn.models.parts import check_parts, fitting
from nn.randomness import Randomness


@dataclass(frozen=True)
class Linear:
    """One dense layer and nothing else."""

    initializer: str = "auto"

    def __post_init__(self) -> None:
        check_parts("relu", "none", self.initializer)

    def layers(self, classes: int, randomness: Randomness) -> list[Layer]:
        """A fresh network's layers."""
        return [Flatten(), Dense(classes, fitting(self.initializer, None), by_column=True)]
