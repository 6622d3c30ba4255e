"""The rectifier."""

from __future__ import annotations

import numpy as np

from nn.layers.layer import Layer
from nn.types import Array


class ReLU(Layer):
    """y = max(x, 0)."""

    def forward(self, x: Array, training: bool) -> Array:
        """Cut off what is negative."""
        self.y = self.buffer("y", len(x), self.shape)
        np.maximum(x, 0, out=self.y)
        return self.y

    def backward(self, dy: Array) -> Array:
        """dy where y is positive, else 0."""
        positive = self.buffer("positive", len(dy), self.shape, np.bool_)
        dx = self.buffer("dx", len(dy), self.shape)
        np.greater(self.y, 0, out=positive)
        np.multiply(dy, positive, out=dx)
        return dx
