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
        return {"gain": self.shape, "bias": self.shape}

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Take the views."""
        self.gain, self.bias = values["gain"], values["bias"]
        self.d_gain, self.d_bias = gradients["gain"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Begin with no change."""
        self.gain[...] = 1
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """(batch, ...) - (batch, 1), and so on."""
        self.normal = self.buffer("normal", len(x), self.shape)
        y = self.buffer("y", len(x), self.shape)
        np.subtract(x, self.mean(x), out=self.normal)
        np.multiply(self.normal, self.normal, out=y)
        self.deviation = np.sqrt(self.mean(y) + self.epsilon)
        self.normal /= self.deviation
        np.multiply(self.normal, self.gain, out=y)
        y += self.bias
        return y

    def backward(self, dy: Array) -> Array:
        """(d - mean(d) - normal * mean(d * normal)) / deviation, with d = gain * dy."""
        dx, work = (self.buffer(name, len(dy), self.shape) for name in ("dx", "work"))
        np.multiply(dy, self.normal, out=work)
        work.sum(axis=0, out=self.d_gain)
        dy.sum(axis=0, out=self.d_bias)
        np.multiply(dy, self.gain, out=dx)
        np.multiply(dx, self.normal, out=work)
        np.multiply(self.normal, self.mean(work), out=work)
        dx -= self.mean(dx)
        dx -= work
        dx /= self.deviation
        return dx

    def mean(self, x: Array) -> Array:
        """The mean of each sample."""
        means: Array = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
        return means
