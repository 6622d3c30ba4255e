"""Layer normalization (Ba et al., 2016, arXiv:1607.06450)."""

from __future__ import annotations

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
        return {"gain": self.input_shape, "bias": self.input_shape}

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Take the views."""
        self.gamma, self.bias = parameters["gain"], parameters["bias"]
        self.d_gamma, self.d_bias = gradients["gain"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Begin with no change."""
        self.gamma[...] = 1
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """(batch, ...) - (batch, 1), and so on."""
        self.x_hat = self.get_buffer("normal", len(x), self.input_shape)
        y = self.get_buffer("y", len(x), self.input_shape)
        np.subtract(x, self.sample_mean(x), out=self.x_hat)
        np.multiply(self.x_hat, self.x_hat, out=y)
        self.std = np.sqrt(self.sample_mean(y) + self.epsilon)
        self.x_hat /= self.std
        np.multiply(self.x_hat, self.gamma, out=y)
        y += self.bias
        return y

    def backward(self, dy: Array) -> Array:
        """(d - mean(d) - normal * mean(d * normal)) / deviation, with d = gain * dy."""
        dx, scratch = (self.get_buffer(name, len(dy), self.input_shape) for name in ("dx", "work"))
        np.multiply(dy, self.x_hat, out=scratch)
        scratch.sum(axis=0, out=self.d_gamma)
        dy.sum(axis=0, out=self.d_bias)
        np.multiply(dy, self.gamma, out=dx)
        np.multiply(dx, self.x_hat, out=scratch)
        np.multiply(self.x_hat, self.sample_mean(scratch), out=scratch)
        dx -= self.sample_mean(dx)
        dx -= scratch
        dx /= self.std
        return dx

    def sample_mean(self, x: Array) -> Array:
        """The mean of each sample."""
        means: Array = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
        return means
