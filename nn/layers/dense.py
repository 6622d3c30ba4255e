"""A fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.errors import Mistake
from nn.initializers import Initializer, he_normal
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Dense(Layer):
    """y = x @ weight + bias.

    With `by_column` the outputs lie class by class in memory, which makes a softmax over few
    classes two to three times as fast.
    """

    def __init__(
        self, units: int, initializer: Initializer = he_normal, by_column: bool = False
    ) -> None:
        super().__init__()
        self.units, self.initializer = units, initializer
        self.order: Any = "F" if by_column else "C"

    def connect(self, shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Refuse anything but flat samples."""
        if len(shape) != 1:
            raise Mistake(
                f"a dense layer takes samples of one dimension, such as ({math.prod(shape)},), "
                f"not of shape {shape}; a flatten layer goes in front."
            )
        super().connect(shape, dtype)
        return (self.units,)

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """A weight for each input and unit, a bias for each unit."""
        return {"weight": (*self.shape, self.units), "bias": (self.units,)}

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Take the views."""
        self.weight, self.bias = values["weight"], values["bias"]
        self.d_weight, self.d_bias = gradients["weight"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the weights; biases begin at zero."""
        self.initializer(self.weight, rng)
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """(batch, inputs) @ (inputs, units) + (units,)."""
        self.x = x
        y = self.buffer("y", len(x), (self.units,), order=self.order)
        np.matmul(x, self.weight, out=y)
        y += self.bias
        return y

    def backward(self, dy: Array) -> Array:
        """The gradient of the bias is a sum over the batch, written as a product with ones.

        np.dot begins sooner than np.matmul, but cannot write by column as forward does.
        """
        ones = self.buffer("ones", len(dy), (), fill=1)
        np.dot(self.x.T, dy, out=self.d_weight)
        np.dot(ones, dy, out=self.d_bias)
        if not self.propagates:
            return dy
        dx = self.buffer("dx", len(dy), self.shape)
        np.dot(dy, self.weight.T, out=dx)
        return dx
