"""Pooling: windows of an image, each made one value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nn.errors import require
from nn.layers.conv2d import image_shape, places
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Pool2D(Layer):
    """Windows of `size` x `size` that lie side by side; what does not fill one is left out."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        require(size >= 1, "size", size, "at least 1")
        self.size = size

    def connect(self, shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Find how many windows there are."""
        super().connect(shape, dtype)
        channels, *sides = image_shape(shape, "pooling")
        self.windows = (channels, *places(tuple(sides), self.size, self.size))
        return self.windows

    def each_place(self, x: Array) -> Iterator[Array]:
        """Yield, for each place in a window, the values at that place of all windows."""
        _, rows, columns = self.windows
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
        self.x, self.y = x, self.buffer("y", len(x), self.windows)
        first, *others = self.each_place(x)
        self.y[...] = first
        for other in others:
            np.maximum(self.y, other, out=self.y)
        return self.y

    def backward(self, dy: Array) -> Array:
        """dy goes to where the largest value came from."""
        dx = self.buffer("dx", len(dy), self.shape)
        largest = self.buffer("largest", len(dy), self.windows, np.bool_)
        free = self.buffer("free", len(dy), self.windows, np.bool_)
        free[...] = True
        for x, target in zip(self.each_place(self.x), self.each_place(dx), strict=True):
            np.equal(x, self.y, out=largest)
            largest &= free
            free ^= largest
            np.multiply(dy, largest, out=target)
        return dx


class AvgPool2D(Pool2D):
    """The mean of each window."""

    def forward(self, x: Array, training: bool) -> Array:
        """Add the windows up place by place."""
        y = self.buffer("y", len(x), self.windows)
        first, *others = self.each_place(x)
        y[...] = first
        for other in others:
            y += other
        y /= self.size**2
        return y

    def backward(self, dy: Array) -> Array:
        """Each value of a window takes an equal share of dy."""
        dx = self.buffer("dx", len(dy), self.shape)
        for target in self.each_place(dx):
            np.divide(dy, self.size**2, out=target)
        return dx
