"""Dropout (Srivastava et al., 2014, JMLR 15)."""

from __future__ import annotations

import numpy as np

from nn.errors import require
from nn.layers.layer import Layer
from nn.types import Array


class Dropout(Layer):
    """In training, each value is zero with probability `rate`, and the rest is scaled up."""

    def __init__(self, rate: float, rng: np.random.Generator) -> None:
        super().__init__()
        require(0 <= rate < 1, "dropout", rate, "at least 0 and below 1")
        self.rate, self.rng = rate, rng

    def forward(self, x: Array, training: bool) -> Array:
        """x * mask in training, x itself otherwise."""
        if not training:
            return x
        self.mask = self.buffer("mask", len(x), self.shape)
        y = self.buffer("y", len(x), self.shape)
        self.rng.random(dtype=self.dtype, out=self.mask)
        np.greater_equal(self.mask, self.rate, out=self.mask, casting="unsafe")
        self.mask *= 1 / (1 - self.rate)
        np.multiply(x, self.mask, out=y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy * mask."""
        dx = self.buffer("dx", len(dy), self.shape)
        np.multiply(dy, self.mask, out=dx)
        return dx
