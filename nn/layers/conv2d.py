"""2D convolution as a matrix product over image patches (im2col)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from nn.errors import UserError, format_shape, require
from nn.initializers import Initializer, he_normal
from nn.layers.layer import Layer
from nn.types import Array, Shape

MAX_PATCH_VALUES = 2**19
"""Number of values in the patches that are processed at once."""


class Conv2D(Layer):
    """y[channel] at a position = sum(weight[channel] * patch of x there) + bias[channel].

    The patches of all images are copied into the columns of a matrix (im2col), so that the forward
    pass and both gradients are matrix products. This is done in blocks of output rows: patches
    that fit into the processor's cache are cheaper to recompute than to fetch from memory.
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

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Return the output shape: (channels, rows, columns)."""
        super().build(require_image_shape(input_shape, "a convolution"), dtype)
        self.output_hw = output_size(input_shape[1:], self.kernel, self.stride, self.padding)
        return (self.channels, *self.output_hw)

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """Weight (channels, input channels, kernel, kernel) and bias (channels,)."""
        kernels = (self.channels, self.input_shape[0], self.kernel, self.kernel)
        return {"weight": kernels, "bias": (self.channels,)}

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Store the views, that of the weight as a matrix (channels, patch)."""
        self.weight = parameters["weight"].reshape(self.channels, -1)
        self.d_weight = gradients["weight"].reshape(self.channels, -1)
        self.bias, self.d_bias = parameters["bias"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weight; set the bias to zero."""
        self.initializer(self.weight.T, rng, receptive_field_size=self.kernel**2)
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """Compute (channels, patch) @ (patch, positions * batch) + (channels, 1)."""
        self.x = self.pad(x)
        y = self.get_buffer("y", len(x), (self.channels, *self.output_hw))
        for rows in self.row_blocks(len(x)):
            np.matmul(self.weight, self.im2col(self.x, rows), out=as_channel_rows(y[:, :, rows]))
        y += self.bias[:, None, None]
        return y

    def backward(self, dy: Array) -> Array:
        """Sum the gradients over positions and batch, and return dx without the padding."""
        batch_size, padding = len(dy), self.padding
        partial_d_weight = self.get_buffer(
            "partial_d_weight", self.weight.shape[1], (self.channels,)
        )
        dx = self.get_buffer("dx", batch_size, self.x.shape[1:])
        dx[...] = 0
        self.d_weight[...] = 0
        for rows in self.row_blocks(batch_size):
            dy_block = as_channel_rows(dy[:, :, rows])
            np.matmul(self.im2col(self.x, rows), dy_block.T, out=partial_d_weight)
            self.d_weight += partial_d_weight.T
            if self.needs_input_grad:
                self.col2im(dy_block, dx, rows)
        np.add.reduce(as_channel_rows(dy), axis=1, out=self.d_bias)
        return dx[:, :, padding : dx.shape[2] - padding, padding : dx.shape[3] - padding]

    def pad(self, x: Array) -> Array:
        """Copy the images into a buffer whose border is and stays zero."""
        (channels, height, width), padding = self.input_shape, self.padding
        padded = self.get_buffer(
            "padded", len(x), (channels, height + 2 * padding, width + 2 * padding)
        )
        padded[:, :, padding : padding + height, padding : padding + width] = x
        return padded

    def row_blocks(self, batch_size: int) -> Iterator[slice]:
        """Iterate over blocks of output rows whose patches fit into the cache."""
        rows, columns = self.output_hw
        block_rows = max(1, MAX_PATCH_VALUES // (self.weight.shape[1] * columns * batch_size))
        return (slice(row, min(row + block_rows, rows)) for row in range(0, rows, block_rows))

    def im2col(self, x: Array, rows: slice) -> Array:
        """Copy the patches of some output rows: (patch, positions * batch)."""
        patches = self.patch_buffer("patches", len(x), rows)
        for row, column in self.kernel_offsets:
            patches[:, :, row, column] = self.strided_view(x, row, column, rows)
        return as_channel_rows(patches)

    def col2im(self, dy_block: Array, dx: Array, rows: slice) -> None:
        """Add to each pixel of dx the gradients of all patches that contain it."""
        patches = self.patch_buffer("d_patches", len(dx), rows)
        np.matmul(self.weight.T, dy_block, out=as_channel_rows(patches))
        for row, column in self.kernel_offsets:
            self.strided_view(dx, row, column, rows)[...] += patches[:, :, row, column]

    def patch_buffer(self, name: str, batch_size: int, rows: slice) -> Array:
        """Return a buffer of shape (batch, input channels, kernel, kernel, rows, columns)."""
        shape = (
            self.input_shape[0],
            self.kernel,
            self.kernel,
            rows.stop - rows.start,
            self.output_hw[1],
        )
        return self.get_buffer(f"{name}{shape[3]}", batch_size, shape)

    def strided_view(self, x: Array, kernel_row: int, kernel_column: int, rows: slice) -> Array:
        """Return the pixels under one kernel element at all positions of some output rows."""
        stride, num_columns = self.stride, self.output_hw[1]
        start_row = kernel_row + stride * rows.start
        return x[
            :,
            :,
            start_row : start_row + stride * (rows.stop - rows.start) : stride,
            kernel_column : kernel_column + stride * num_columns : stride,
        ]


def as_channel_rows(images: Array) -> Array:
    """View images (batch, channels, height, width) as a matrix (channels, pixels * batch).

    For patches, a row is one kernel element in one channel. This never copies, since the batch is
    the last axis in memory.
    """
    batch_size, *row_dims, height, width = images.shape
    pixels = images.transpose(*range(1, images.ndim), 0)
    return pixels.reshape(math.prod(row_dims), height * width * batch_size)


def require_image_shape(shape: Shape, layer_kind: str) -> Shape:
    """Raise UserError unless the samples are images, and return their shape."""
    if len(shape) != 3:
        raise UserError(
            f"{layer_kind} needs images of shape (channels, height, width), "
            f"not samples of shape {shape}."
        )
    return shape


def output_size(image_size: Shape, kernel: int, stride: int, padding: int = 0) -> Shape:
    """Return the number of kernel positions along each side of an image."""
    if min(image_size) + 2 * padding < kernel:
        raise UserError(
            f"a kernel of {kernel} x {kernel} does not fit into images of "
            f"{format_shape(image_size)}."
        )
    return tuple((side + 2 * padding - kernel) // stride + 1 for side in image_size)
