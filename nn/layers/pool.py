"""Pooling: windows of an image, each made one value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nn.errors import require
from nn.layers.conv2d import output_size, require_image_shape
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Pool2D(Layer):
    """Windows of `size` x `size` that lie side by side; what does not fill one is left out."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        require(size >= 1, "size", size, "at least 1")
        self.size = size

    def build(self, input_shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Find how many windows there are."""
        super().build(input_shape, dtype)
        channels, *image_size = require_image_shape(input_shape, "pooling")
        self.pooled_shape = (channels, *output_size(tuple(image_size), self.size, self.size))
        return self.pooled_shape

    def strided_views(self, x: Array) -> Iterator[Array]:
        """Yield, for each place in a window, the values at that place of all windows."""
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
    """The largest value of each window; the first of several is the one that learns."""

    def forward(self, x: Array, training: bool) -> Array:
        """Compare the windows place by place."""
        self.x, self.y = x, self.get_buffer("y", len(x), self.pooled_shape)
        first, *others = self.strided_views(x)
        self.y[...] = first
        for other in others:
            np.maximum(self.y, other, out=self.y)
        return self.y

    def backward(self, dy: Array) -> Array:
        """dy goes to where the largest value came from."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        is_max = self.get_buffer("largest", len(dy), self.pooled_shape, np.bool_)
        is_unassigned = self.get_buffer("free", len(dy), self.pooled_shape, np.bool_)
        is_unassigned[...] = True
        for x, dx_view in zip(self.strided_views(self.x), self.strided_views(dx), strict=True):
            np.equal(x, self.y, out=is_max)
            is_max &= is_unassigned
            is_unassigned ^= is_max
            np.multiply(dy, is_max, out=dx_view)
        return dx


class AvgPool2D(Pool2D):
    """The mean of each window."""

    def forward(self, x: Array, training: bool) -> Array:
        """Add the windows up place by place."""
        y = self.get_buffer("y", len(x), self.pooled_shape)
        first, *others = self.strided_views(x)
        y[...] = first
        for other in others:
            y += other
        y /= self.size**2
        return y

    def backward(self, dy: Array) -> Array:
        """Each value of a window takes an equal share of dy."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        for dx_view in self.strided_views(dx):
            np.divide(dy, self.size**2, out=dx_view)
        return dx
