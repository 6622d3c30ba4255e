"""Images into rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nn.layers.layer import Layer
from nn.types import Array, Shape


class Flatten(Layer):
    """Gives each sample as one row, whatever its shape."""

    def build(self, input_shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """One number for each value of a sample."""
        super().build(input_shape, dtype)
        return (math.prod(input_shape),)

    def forward(self, x: Array, training: bool) -> Array:
        """(batch, ...) to (batch, values)."""
        return x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        """(batch, values) to (batch, ...)."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        dx[...] = dy.reshape(dx.shape)
        return dx
