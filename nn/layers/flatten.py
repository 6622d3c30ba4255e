"""Images into rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nn.layers.layer import Layer
from nn.types import Array, Shape


class Flatten(Layer):
    """Gives each sample as one row, whatever its shape."""

    def connect(self, shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """One number for each value of a sample."""
        super().connect(shape, dtype)
        return (math.prod(shape),)

    def forward(self, x: Array, training: bool) -> Array:
        """(batch, ...) to (batch, values)."""
        return x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        """(batch, values) to (batch, ...)."""
        dx = self.buffer("dx", len(dy), self.shape)
        dx[...] = dy.reshape(dx.shape)
        return dx
