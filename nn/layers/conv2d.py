"""A convolution, as a matrix product over the patches of each image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from nn.errors import Mistake, require
from nn.initializers import Initializer, he_normal
from nn.layers.layer import Layer
from nn.types import Array, Shape

BLOCK = 2**19
"""Values in the patches that are worked on at once."""


class Conv2D(Layer):
    """y[channel] = sum over x's patches of weight[channel] * patch, + bias[channel].

    The patches of all images are copied side by side, one row for each place of the kernel: then
    forward, and both derivatives, are matrix products. It is done in blocks, since copies that
    stay in the processor's cache are cheaper to make again than to fetch from memory.
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
        self.offsets = list(product(range(kernel), repeat=2))
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
        """(channels, patch) @ (patch, places * batch) + (channels, 1)."""
        self.x = self.padded(x)
        y = self.buffer("y", len(x), (self.channels, *self.places))
        for rows in self.blocks(len(x)):
            np.matmul(self.weight, self.cut(self.x, rows), out=by_channel(y[:, :, rows]))
        y += self.bias[:, None, None]
        return y

    def backward(self, dy: Array) -> Array:
        """The gradients are sums over the places and the batch."""
        batch, edge = len(dy), self.padding
        sums = self.buffer("sums", self.weight.shape[1], (self.channels,))
        dx = self.buffer("dx", batch, self.x.shape[1:])
        dx[...] = 0
        self.d_weight[...] = 0
        for rows in self.blocks(batch):
            derivative = by_channel(dy[:, :, rows])
            np.matmul(self.cut(self.x, rows), derivative.T, out=sums)
            self.d_weight += sums.T
            if self.propagates:
                self.put_together(derivative, dx, rows)
        np.add.reduce(by_channel(dy), axis=1, out=self.d_bias)
        return dx[:, :, edge : dx.shape[2] - edge, edge : dx.shape[3] - edge]

    def padded(self, x: Array) -> Array:
        """Copy the images into the middle of larger ones."""
        (channels, height, width), edge = self.image, self.padding
        larger = self.buffer("padded", len(x), (channels, height + 2 * edge, width + 2 * edge))
        larger[:, :, edge : edge + height, edge : edge + width] = x
        return larger

    def blocks(self, batch: int) -> Iterator[slice]:
        """Go through the places in blocks of rows, whose patches do not leave the cache."""
        rows, columns = self.places
        step = max(1, BLOCK // (self.weight.shape[1] * columns * batch))
        return (slice(row, min(row + step, rows)) for row in range(0, rows, step))

    def cut(self, x: Array, rows: slice) -> Array:
        """Copy the patches at some rows of places: (patch, places * batch)."""
        patches = self.patches("patches", len(x), rows)
        for row, column in self.offsets:
            patches[:, :, row, column] = self.seen_from(x, row, column, rows)
        return by_channel(patches)

    def put_together(self, derivative: Array, dx: Array, rows: slice) -> None:
        """Add up the derivatives of all the patches that a pixel is in."""
        patches = self.patches("d_patches", len(dx), rows)
        np.matmul(self.weight.T, derivative, out=by_channel(patches))
        for row, column in self.offsets:
            self.seen_from(dx, row, column, rows)[...] += patches[:, :, row, column]

    def patches(self, name: str, batch: int, rows: slice) -> Array:
        """Give room for patches: (batch, channels, kernel, kernel, rows, columns)."""
        shape = (self.image[0], self.kernel, self.kernel, rows.stop - rows.start, self.places[1])
        return self.buffer(f"{name}{shape[3]}", batch, shape)

    def seen_from(self, x: Array, row: int, column: int, rows: slice) -> Array:
        """The pixels that one place of the kernel sees as it moves over some rows of an image."""
        stride, columns = self.stride, self.places[1]
        top = row + stride * rows.start
        return x[
            :,
            :,
            top : top + stride * (rows.stop - rows.start) : stride,
            column : column + stride * columns : stride,
        ]


def by_channel(images: Array) -> Array:
    """See images as a matrix, (batch, channels, height, width) as (channels, pixels * batch).

    For patches a row is one place of the kernel in one channel. Nothing is copied, since the
    samples of a batch of images lie side by side.
    """
    batch, *rows, height, width = images.shape
    pixels = images.transpose(*range(1, images.ndim), 0)
    return pixels.reshape(math.prod(rows), height * width * batch)


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
