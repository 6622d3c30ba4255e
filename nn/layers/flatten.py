"""Flattening of samples."""

from __future__ import annotations

import math

import numpy as np

from nn.layers.layer import Layer
from nn.types import Array, Shape


class Flatten(Layer):
    """Reshape each sample to a vector."""

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Return the output shape: (values,), the product of the input shape."""
        super().build(input_shape, dtype)
        return (math.prod(input_shape),)

    def forward(self, x: Array, training: bool) -> Array:
        """Reshape (batch, ...) to (batch, values)."""
        return x if x.ndim == 2 else x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        """Reshape (batch, values) to (batch, ...)."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        dx[...] = dy.reshape(dx.shape)
        return dx
