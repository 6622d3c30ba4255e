"""2D convolution as matrix products with image patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from nn.errors import UserError, format_shape, require
from nn.initializers import Initializer, he_normal
from nn.layers.layer import Layer, in_memory_order
from nn.types import Array, Shape

MAX_BLOCK_VALUES = 2**16
"""Limit on the number of values in the rows that are stacked, or computed, at once."""


class Conv2D(Layer):
    """y[channel] at a position = sum(weight[channel] * patch of x there) + bias[channel].

    The forward pass and both gradients are matrix products with the patches of all images, one
    product per position. As images are laid out as (height, width, channels, batch) in memory, it
    takes a copy of the rows under the kernel, (width, kernel rows, channels, batch), to make every
    patch of an output row one contiguous matrix. This is done in blocks of output rows: copies
    that fit into the processor's cache are cheaper to repeat than to fetch from memory.
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

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Return the output shape: (channels, rows, columns)."""
        super().build(require_image_shape(input_shape, "a convolution"), dtype)
        self.input_channels, *image_size = input_shape
        self.padded_hw = tuple(side + 2 * self.padding for side in image_size)
        self.output_hw = output_size(tuple(image_size), self.kernel, self.stride, self.padding)
        return (self.channels, *self.output_hw)

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """Weight (channels, input channels, kernel, kernel) and bias (channels,)."""
        kernels = (self.channels, self.input_channels, self.kernel, self.kernel)
        return {"weight": kernels, "bias": (self.channels,)}

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Store the views."""
        self.weight, self.d_weight = parameters["weight"], gradients["weight"]
        self.bias, self.d_bias = parameters["bias"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weight; set the bias to zero."""
        kernels = self.weight.reshape(self.channels, -1)
        self.initializer(kernels.T, rng, receptive_field_size=self.kernel**2)
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """Compute (channels, patch) @ (patch, batch) + (channels, 1) at each position."""
        self.x = self.pad(x)
        y = self.get_buffer("y", len(x), (self.channels, *self.output_hw))
        bias = np.repeat(self.bias[:, None], len(x), axis=1)
        # the values of a patch are in the order (kernel columns, kernel rows, input channels)
        self.weight_matrix = self.weight.transpose(0, 3, 2, 1).reshape(self.channels, -1)
        for rows in self.row_blocks(len(x)):
            y_rows = in_memory_order(y)[rows]
            np.matmul(self.weight_matrix, self.patches(rows), out=y_rows)
            y_rows += bias
        return y

    def backward(self, dy: Array) -> Array:
        """Compute d_weight = sum(dy @ patch.T) over all positions and d_bias = sum(dy).

        Return dx, to which each position adds weight.T @ dy at the place of its patch.
        """
        if self.needs_input_grad:
            dx = self.get_buffer("dx", len(dy), (self.input_channels, *self.padded_hw))
            dx[...] = 0
        d_matrix = np.zeros((self.weight_matrix.shape[1], self.channels), self.dtype)
        d_bias = np.zeros((self.channels, len(dy)), self.dtype)
        for rows in self.row_blocks(len(dy)):
            dy_rows = in_memory_order(dy)[rows]
            products = self.block_buffer(
                "products", self.channels, *dy_rows.shape[:2], d_matrix.shape[0]
            )
            np.matmul(self.patches(rows), dy_rows.swapaxes(2, 3), out=products)
            d_matrix += products.sum(axis=(0, 1))
            d_bias += dy_rows.sum(axis=(0, 1))
            if self.needs_input_grad:
                self.add_to_patches(in_memory_order(dx), rows, dy_rows)
        d_weight = self.d_weight.transpose(3, 2, 1, 0)
        d_weight[...] = d_matrix.reshape(d_weight.shape)
        d_bias.sum(axis=1, out=self.d_bias)
        return self.without_padding(dx) if self.needs_input_grad else dy

    def pad(self, x: Array) -> Array:
        """Copy the images into a buffer whose border is and stays zero."""
        padded = self.get_buffer("padded", len(x), (self.input_channels, *self.padded_hw))
        self.without_padding(padded)[...] = x
        return padded

    def without_padding(self, padded: Array) -> Array:
        """Return a view of padded images without their border."""
        (_, height, width), padding = self.input_shape, self.padding
        return padded[:, :, padding : padding + height, padding : padding + width]

    def row_blocks(self, batch_size: int) -> Iterator[slice]:
        """Iterate over equal blocks of output rows, but for a smaller last one."""
        stacked_values = self.padded_hw[1] * self.kernel * self.input_channels
        row_values = max(stacked_values, self.output_hw[1] * self.channels) * batch_size
        num_rows, block_rows = self.output_hw[0], max(1, MAX_BLOCK_VALUES // row_values)
        return (slice(r, min(r + block_rows, num_rows)) for r in range(0, num_rows, block_rows))

    def block_buffer(self, name: str, batch_size: int, num_rows: int, *shape: int) -> Array:
        """Return a buffer for a block of rows: (rows, *shape, batch)."""
        *pixel_shape, channels = shape
        return in_memory_order(
            self.get_buffer(f"{name}{num_rows}", batch_size, (channels, num_rows, *pixel_shape))
        )

    def patches(self, rows: slice) -> Array:
        """Stack the rows under the kernel, and view all patches: (rows, columns, patch, batch)."""
        num_rows, batch_size = rows.stop - rows.start, len(self.x)
        stack = self.block_buffer(
            "stack", batch_size, num_rows, self.padded_hw[1], self.kernel, self.input_channels
        )
        for kernel_row in range(self.kernel):
            first = self.stride * rows.start + kernel_row
            stack[:, :, kernel_row] = in_memory_order(self.x)[first :: self.stride][:num_rows]
        # neighboring patches overlap in memory if the stride is smaller than the kernel
        row_step, column_step, _, value_step, image_step = stack.strides
        return np.ndarray(
            (num_rows, self.output_hw[1], self.weight_matrix.shape[1], batch_size),
            self.dtype,
            stack,
            strides=(row_step, self.stride * column_step, value_step, image_step),
        )

    def add_to_patches(self, dx: Array, rows: slice, dy_rows: Array) -> None:
        """Add to the pixels of dx the gradients of all patches of some output rows."""
        num_rows, num_columns, _, batch_size = dy_rows.shape
        kernel, stride = self.kernel, self.stride
        d_patches = self.block_buffer(
            "d_patches", batch_size, num_rows, num_columns, kernel, kernel, self.input_channels
        )
        np.matmul(
            self.weight_matrix.T,
            dy_rows,
            out=d_patches.reshape(num_rows, num_columns, -1, batch_size),
        )
        for column, row in product(range(kernel), repeat=2):
            pixels = dx[stride * rows.start + row :: stride, column::stride]
            pixels = pixels[:num_rows, :num_columns]
            pixels += d_patches[:, :, column, row]


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
