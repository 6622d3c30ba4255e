"""A convolution, as a matrix product over the patches of each image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from nn.errors import UserError, require
from nn.initializers import Initializer, he_normal
from nn.layers.layer import Layer
from nn.types import Array, Shape

MAX_PATCH_VALUES = 2**19
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
        self.kernel_offsets = list(product(range(kernel), repeat=2))
        self.initializer = initializer

    def build(self, input_shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Find how many places the kernel has."""
        super().build(input_shape, dtype)
        self.image_shape = require_image_shape(input_shape, "a convolution")
        self.output_hw = output_size(self.image_shape[1:], self.kernel, self.stride, self.padding)
        return (self.channels, *self.output_hw)

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """A kernel for each pair of channels, a bias for each of ours."""
        kernels = (self.channels, self.image_shape[0], self.kernel, self.kernel)
        return {"weight": kernels, "bias": (self.channels,)}

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Take the views, the weights as a matrix: (channels, patch)."""
        self.weight = parameters["weight"].reshape(self.channels, -1)
        self.d_weight = gradients["weight"].reshape(self.channels, -1)
        self.bias, self.d_bias = parameters["bias"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weights; biases begin at zero."""
        self.initializer(self.weight.T, rng, receptive_field_size=self.kernel**2)
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """(channels, patch) @ (patch, places * batch) + (channels, 1)."""
        self.x = self.pad(x)
        y = self.get_buffer("y", len(x), (self.channels, *self.output_hw))
        for rows in self.row_blocks(len(x)):
            np.matmul(self.weight, self.im2col(self.x, rows), out=as_channel_matrix(y[:, :, rows]))
        y += self.bias[:, None, None]
        return y

    def backward(self, dy: Array) -> Array:
        """The gradients are sums over the places and the batch."""
        batch_size, padding = len(dy), self.padding
        partial_d_weight = self.get_buffer("sums", self.weight.shape[1], (self.channels,))
        dx = self.get_buffer("dx", batch_size, self.x.shape[1:])
        dx[...] = 0
        self.d_weight[...] = 0
        for rows in self.row_blocks(batch_size):
            dy_block = as_channel_matrix(dy[:, :, rows])
            np.matmul(self.im2col(self.x, rows), dy_block.T, out=partial_d_weight)
            self.d_weight += partial_d_weight.T
            if self.needs_input_grad:
                self.col2im(dy_block, dx, rows)
        np.add.reduce(as_channel_matrix(dy), axis=1, out=self.d_bias)
        return dx[:, :, padding : dx.shape[2] - padding, padding : dx.shape[3] - padding]

    def pad(self, x: Array) -> Array:
        """Copy the images into the middle of larger ones."""
        (channels, height, width), padding = self.image_shape, self.padding
        padded = self.get_buffer(
            "padded", len(x), (channels, height + 2 * padding, width + 2 * padding)
        )
        padded[:, :, padding : padding + height, padding : padding + width] = x
        return padded

    def row_blocks(self, batch_size: int) -> Iterator[slice]:
        """Go through the places in blocks of rows, whose patches do not leave the cache."""
        rows, columns = self.output_hw
        block_rows = max(1, MAX_PATCH_VALUES // (self.weight.shape[1] * columns * batch_size))
        return (slice(row, min(row + block_rows, rows)) for row in range(0, rows, block_rows))

    def im2col(self, x: Array, rows: slice) -> Array:
        """Copy the patches at some rows of places: (patch, places * batch)."""
        patches = self.patch_buffer("patches", len(x), rows)
        for row, column in self.kernel_offsets:
            patches[:, :, row, column] = self.strided_view(x, row, column, rows)
        return as_channel_matrix(patches)

    def col2im(self, dy_block: Array, dx: Array, rows: slice) -> None:
        """Add up the derivatives of all the patches that a pixel is in."""
        patches = self.patch_buffer("d_patches", len(dx), rows)
        np.matmul(self.weight.T, dy_block, out=as_channel_matrix(patches))
        for row, column in self.kernel_offsets:
            self.strided_view(dx, row, column, rows)[...] += patches[:, :, row, column]

    def patch_buffer(self, name: str, batch_size: int, rows: slice) -> Array:
        """Give room for patches: (batch, channels, kernel, kernel, rows, columns)."""
        shape = (
            self.image_shape[0],
            self.kernel,
            self.kernel,
            rows.stop - rows.start,
            self.output_hw[1],
        )
        return self.get_buffer(f"{name}{shape[3]}", batch_size, shape)

    def strided_view(self, x: Array, kernel_row: int, kernel_column: int, rows: slice) -> Array:
        """The pixels that one place of the kernel sees as it moves over some rows of an image."""
        stride, num_columns = self.stride, self.output_hw[1]
        start_row = kernel_row + stride * rows.start
        return x[
            :,
            :,
            start_row : start_row + stride * (rows.stop - rows.start) : stride,
            kernel_column : kernel_column + stride * num_columns : stride,
        ]


def as_channel_matrix(images: Array) -> Array:
    """See images as a matrix, (batch, channels, height, width) as (channels, pixels * batch).

    For patches a row is one place of the kernel in one channel. Nothing is copied, since the
    samples of a batch of images lie side by side.
    """
    batch_size, *row_dims, height, width = images.shape
    pixels = images.transpose(*range(1, images.ndim), 0)
    return pixels.reshape(math.prod(row_dims), height * width * batch_size)


def require_image_shape(shape: Shape, layer_kind: str) -> Shape:
    """Refuse samples that are no images."""
    if len(shape) != 3:
        raise UserError(
            f"{layer_kind} needs images of channels, height and width, "
            f"not samples of shape {shape}."
        )
    return shape


def output_size(image_size: Shape, kernel: int, stride: int, padding: int = 0) -> Shape:
    """Count the places of a kernel along each side of an image."""
    if min(image_size) + 2 * padding < kernel:
        raise UserError(
            f"a kernel of {kernel} x {kernel} does not fit into images of "
            f"{' x '.join(map(str, image_size))}."
        )
    return tuple((side + 2 * padding - kernel) // stride + 1 for side in image_size)
