"""Max and average pooling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nn.errors import require
from nn.layers.conv2d import output_size, require_image_shape
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Pool2D(Layer):
    """Base class of pooling over adjacent `size` x `size` windows; incomplete ones are dropped."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        require(size >= 1, "size", size, "at least 1")
        self.size = size

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Return the output shape: (channels, height // size, width // size)."""
        super().build(input_shape, dtype)
        channels, *image_size = require_image_shape(input_shape, "pooling")
        self.pooled_shape = (channels, *output_size(tuple(image_size), self.size, self.size))
        return self.pooled_shape

    def strided_views(self, x: Array) -> Iterator[Array]:
        """Yield, for each offset in a window, a view of the values there in all windows."""
        _, rows, columns = self.pooled_shape
        for row in range(self.size):
            for column in range(self.size):
                yield x[
                    :,
                    :,
                    row : rows * self.size : self.size,
                    column : columns * self.size : self.size,
                ]


class MaxPool2D(Pool2D):
    """Maximum of each window; with ties, only the first maximum receives the gradient."""

    def forward(self, x: Array, training: bool) -> Array:
        """Return the maximum of x over each window: (batch, channels, rows, columns)."""
        self.x, self.y = x, self.get_buffer("y", len(x), self.pooled_shape)
        first, *others = self.strided_views(x)
        self.y[...] = first
        for other in others:
            np.maximum(self.y, other, out=self.y)
        return self.y

    def backward(self, dy: Array) -> Array:
        """Return dy at the position of each maximum, else 0."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        is_max = self.get_buffer("is_max", len(dy), self.pooled_shape, np.bool_)
        is_unassigned = self.get_buffer("is_unassigned", len(dy), self.pooled_shape, np.bool_)
        is_unassigned[...] = True
        for x, dx_view in zip(self.strided_views(self.x), self.strided_views(dx), strict=True):
            np.equal(x, self.y, out=is_max)
            is_max &= is_unassigned
            is_unassigned ^= is_max
            np.multiply(dy, is_max, out=dx_view)
        return dx


class AvgPool2D(Pool2D):
    """Mean of each window."""

    def forward(self, x: Array, training: bool) -> Array:
        """Return sum(x) / size^2 over each window: (batch, channels, rows, columns)."""
        y = self.get_buffer("y", len(x), self.pooled_shape)
        first, *others = self.strided_views(x)
        y[...] = first
        for other in others:
            y += other
        y /= self.size**2
        return y

    def backward(self, dy: Array) -> Array:
        """Return dy / size^2 at all positions of each window."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        for dx_view in self.strided_views(dx):
            np.divide(dy, self.size**2, out=dx_view)
        return dx
