"""What a model of your own must be: settings that give layers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from nn.layers import Layer
from nn.randomness import RandomGenerators


@runtime_checkable
class Model(Protocol):
    """Makes the layers of a network; the last of them has an output for each class."""

    def build_layers(self, num_classes: int, rngs: RandomGenerators) -> list[Layer]:
        """Give the layers of a fresh network; what is drawn in training is drawn from here."""
