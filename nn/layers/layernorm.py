"""Layer normalization (Ba et al., 2016, arXiv:1607.06450)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from nn.errors import require
from nn.layers.layer import Layer
from nn.types import Array, Shape


class LayerNorm(Layer):
    """y = gain * (x - mean) / deviation + bias, with the mean and deviation of each sample."""

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        require(epsilon > 0, "epsilon", epsilon, "above 0")
        self.epsilon = epsilon

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """A gain and a bias for each value of a sample."""
        return {"gain": self.shape, "bias": self.shape}

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Take the views, flat."""
        self.gain, self.bias = values["gain"].ravel(), values["bias"].ravel()
        self.d_gain, self.d_bias = gradients["gain"].ravel(), gradients["bias"].ravel()

    def initialize(self, rng: np.random.Generator) -> None:
        """Begin with no change."""
        self.gain[...] = 1
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """(batch, values) - (batch, 1), and so on."""
        batch, values = len(x), math.prod(self.shape)
        x = x.reshape(batch, values)
        self.normal, y = self.buffer("normal", batch, (values,)), self.buffer("y", batch, (values,))
        np.subtract(x, x.mean(axis=1, keepdims=True), out=self.normal)
        np.multiply(self.normal, self.normal, out=y)
        self.deviation = np.sqrt(y.mean(axis=1, keepdims=True) + self.epsilon)
        self.normal /= self.deviation
        np.multiply(self.normal, self.gain, out=y)
        y += self.bias
        return y.reshape(batch, *self.shape)

    def backward(self, dy: Array) -> Array:
        """(d - mean(d) - normal * mean(d * normal)) / deviation, with d = gain * dy."""
        batch, values = len(dy), math.prod(self.shape)
        dy = dy.reshape(batch, values)
        dx, work = self.buffer("dx", batch, (values,)), self.buffer("work", batch, (values,))
        np.multiply(dy, self.normal, out=work)
        work.sum(axis=0, out=self.d_gain)
        dy.sum(axis=0, out=self.d_bias)
        np.multiply(dy, self.gain, out=dx)
        np.multiply(dx, self.normal, out=work)
        np.multiply(self.normal, work.mean(axis=1, keepdims=True), out=work)
        dx -= dx.mean(axis=1, keepdims=True)
        dx -= work
        dx /= self.deviation
        return dx.reshape(batch, *self.shape)
