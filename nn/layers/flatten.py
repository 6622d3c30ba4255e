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
        """Reshape (batch, ...) to (batch, values), without a copy where the values are in order."""
        if x.ndim == 2:
            return x
        if x.flags.c_contiguous:
            return x.reshape(len(x), -1)
        y = self.get_buffer("y", len(x), (x[0].size,), order="F")
        y.T.reshape(*self.input_shape, len(x))[...] = x.transpose(*range(1, x.ndim), 0)
        return y

    def backward(self, dy: Array) -> Array:
        """Reshape (batch, values) to (batch, ...)."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        dx[...] = dy.reshape(dx.shape)
        return dx
