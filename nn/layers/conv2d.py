"""A convolution, as a matrix product over the patches of each image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.errors import Mistake, require
from nn.initializers import Initializer, he_normal
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Conv2D(Layer):
    """y[channel] = sum over x's patches of weight[channel] * patch, + bias[channel].

    The patches of an image are copied side by side, one row for each place of the kernel: then
    forward, and both derivatives, are one matrix product an image, small enough for the cache.
    """

    def __init__(
        self,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 0,
        initializer: Initializer = he_normal,
    ) -> None:
        super().__init__()
        require(channels >= 1, "channels", channels, "at least 1")
        require(kernel >= 1, "kernel", kernel, "at least 1")
        require(stride >= 1, "stride", stride, "at least 1")
        require(padding >= 0, "padding", padding, "at least 0")
        self.channels, self.kernel, self.stride, self.padding = channels, kernel, stride, padding
        self.initializer = initializer

    def connect(self, shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Find how many places the kernel has."""
        super().connect(shape, dtype)
        self.image = image_shape(shape, "a convolution")
        self.places = places(self.image[1:], self.kernel, self.stride, self.padding)
        return (self.channels, *self.places)

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """A kernel for each pair of channels, a bias for each of ours."""
        kernels = (self.channels, self.image[0], self.kernel, self.kernel)
        return {"weight": kernels, "bias": (self.channels,)}

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Take the views, the weights as a matrix: (channels, patch)."""
        self.weight = values["weight"].reshape(self.channels, -1)
        self.d_weight = gradients["weight"].reshape(self.channels, -1)
        self.bias, self.d_bias = values["bias"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weights; biases begin at zero."""
        self.initializer(self.weight.T, rng, receptive=self.kernel**2)
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """(channels, patch) @ (batch, patch, places) + (channels, 1)."""
        self.patches = self.cut(x)
        y = self.buffer("y", len(x), (self.channels, math.prod(self.places)))
        np.matmul(self.weight, self.patches, out=y)
        y += self.bias[:, None]
        return y.reshape(len(x), self.channels, *self.places)

    def backward(self, dy: Array) -> Array:
        """The gradients are sums over the images of the batch."""
        batch = len(dy)
        dy = dy.reshape(batch, self.channels, -1)
        products = self.buffer("products", batch, self.weight.shape)
        np.matmul(dy, self.patches.swapaxes(1, 2), out=products)
        products.sum(axis=0, out=self.d_weight)
        dy.sum(axis=(0, 2), out=self.d_bias)
        if not self.propagates:
            return dy
        patches = self.buffer("d_patches", batch, self.patches.shape[1:])
        np.matmul(self.weight.T, dy, out=patches)
        return self.put_together(patches)

    def cut(self, x: Array) -> Array:
        """Copy the patches: (batch, channels, height, width) to (batch, patch, places)."""
        batch, (channels, height, width), edge = len(x), self.image, self.padding
        if edge:
            padded = self.buffer("padded", batch, (channels, height + 2 * edge, width + 2 * edge))
            padded[:, :, edge:-edge, edge:-edge] = x
            x = padded
        patches = self.buffer("patches", batch, (channels, self.kernel, self.kernel, *self.places))
        for row in range(self.kernel):
            for column in range(self.kernel):
                patches[:, :, row, column] = self.seen_from(x, row, column)
        return patches.reshape(batch, -1, math.prod(self.places))

    def put_together(self, patches: Array) -> Array:
        """Add up the derivatives of all the patches that a pixel is in."""
        batch, (channels, height, width), edge = len(patches), self.image, self.padding
        patches = patches.reshape(batch, channels, self.kernel, self.kernel, *self.places)
        dx = self.buffer("dx", batch, (channels, height + 2 * edge, width + 2 * edge))
        dx[...] = 0
        for row in range(self.kernel):
            for column in range(self.kernel):
                self.seen_from(dx, row, column)[...] += patches[:, :, row, column]
        return dx[:, :, edge : edge + height, edge : edge + width]

    def seen_from(self, x: Array, row: int, column: int) -> Array:
        """The pixels that one place of the kernel sees as it moves over the image."""
        stride, (rows, columns) = self.stride, self.places
        return x[
            :,
            :,
            row : row + stride * rows : stride,
            column : column + stride * columns : stride,
        ]


def image_shape(shape: Shape, what: str) -> Shape:
    """Refuse samples that are no images."""
    if len(shape) != 3:
        raise Mistake(
            f"{what} needs images of channels, height and width, not samples of shape {shape}."
        )
    return shape


def places(sides: Shape, kernel: int, stride: int, padding: int = 0) -> Shape:
    """Count the places of a kernel along each side of an image."""
    if min(sides) + 2 * padding < kernel:
        raise Mistake(
            f"a kernel of {kernel} x {kernel} does not fit into images of "
            f"{' x '.join(map(str, sides))}."
        )
    return tuple((side + 2 * padding - kernel) // stride + 1 for side in sides)
