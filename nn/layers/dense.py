"""Fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from nn.errors import UserError
from nn.initializers import Initializer, he_normal
from nn.layers.layer import Layer
from nn.products import dot
from nn.types import Array, Shape


class Dense(Layer):
    """y = x @ weight + bias.

    With `column_major` the outputs are in Fortran order, which makes a softmax over few classes
    two to three times as fast.
    """

    def __init__(
        self, units: int, initializer: Initializer = he_normal, column_major: bool = False
    ) -> None:
        super().__init__()
        self.units, self.initializer, self.column_major = units, initializer, column_major

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Check that the samples are flat, (inputs,), and return the output shape (units,)."""
        if len(input_shape) != 1:
            raise UserError(
                f"a dense layer needs flat samples of shape ({math.prod(input_shape)},), "
                f"not of shape {input_shape}; put a flatten layer before it."
            )
        super().build(input_shape, dtype)
        return (self.units,)

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """Weight (inputs, units) and bias (units,)."""
        return {"weight": (*self.input_shape, self.units), "bias": (self.units,)}

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Store the views."""
        self.weight, self.bias = parameters["weight"], parameters["bias"]
        self.d_weight, self.d_bias = gradients["weight"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weight; set the bias to zero."""
        self.initializer(self.weight, rng)
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """Compute (batch, inputs) @ (inputs, units) + (units,)."""
        self.x = x
        y = self.get_buffer("y", len(x), (self.units,), order="F" if self.column_major else "C")
        # np.dot starts faster than np.matmul, but writes to row-major arrays only
        if self.column_major:
            np.dot(self.weight.T, x.T, out=y.T)
        else:
            dot(x, self.weight, out=y)
        y += self.bias
        return y

    def backward(self, dy: Array) -> Array:
        """Compute d_weight = x.T @ dy and d_bias = sum(dy), and return dx = dy @ weight.T."""
        # the sum over the batch is a product with ones
        ones = self.get_buffer("ones", len(dy), (), fill=1)
        dot(self.x.T, dy, out=self.d_weight)
        np.dot(ones, dy, out=self.d_bias)
        if not self.needs_input_grad:
            return dy
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        np.dot(dy, self.weight.T, out=dx)
        return dx
