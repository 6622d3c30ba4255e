"""Batch normalization (Ioffe and Szegedy, 2015, arXiv:1502.03167)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.errors import require
from nn.layers.layer import Layer
from nn.types import Array, Shape


class BatchNorm(Layer):
    """y = gain * (x - mean) / deviation + bias, for each unit, or each channel of an image.

    Mean and deviation are the batch's in training. Running means of both, which belong to the
    model's state, stand for them in evaluation.
    """

    def __init__(self, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        require(0 < momentum <= 1, "momentum", momentum, "above 0 and at most 1")
        require(epsilon > 0, "epsilon", epsilon, "above 0")
        self.momentum, self.epsilon = momentum, epsilon

    def connect(self, shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Keep running figures for each channel."""
        self.channels, pixels = shape[0], len(shape) - 1
        self.each = (slice(None), *[None] * pixels)
        self.others = (0, *range(2, 2 + pixels))
        self.state = {
            "mean": np.zeros(self.channels, dtype),
            "variance": np.ones(self.channels, dtype),
        }
        return super().connect(shape, dtype)

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """A gain and a bias for each channel."""
        return {"gain": (self.channels,), "bias": (self.channels,)}

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Take the views."""
        self.gain, self.bias = values["gain"], values["bias"]
        self.d_gain, self.d_bias = gradients["gain"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Begin with no change."""
        self.gain[...] = 1
        self.bias[...] = 0

    def forward(self, x: Array, training: bool) -> Array:
        """(batch, channels, ...) - (channels, ...), and so on."""
        y, each = self.buffer("y", len(x), self.shape), self.each
        if training:
            self.normal = self.buffer("normal", len(x), self.shape)
            count = x.size // self.channels
            mean = self.mean(x)
            np.subtract(x, mean[each], out=self.normal)
            np.multiply(self.normal, self.normal, out=y)
            variance = self.mean(y)
            self.deviation = np.sqrt(variance + self.epsilon)
            self.normal *= (1 / self.deviation)[each]
            np.multiply(self.normal, self.gain[each], out=y)
            y += self.bias[each]
            unbiased = variance * (count / max(count - 1, 1))
            for name, value in (("mean", mean), ("variance", unbiased)):
                self.state[name] += self.momentum * (value - self.state[name])
        else:
            scale = self.gain / np.sqrt(self.state["variance"] + self.epsilon)
            np.multiply(x, scale[each], out=y)
            y += (self.bias - self.state["mean"] * scale)[each]
        return y

    def backward(self, dy: Array) -> Array:
        """gain / deviation * (dy - mean(dy) - normal * mean(dy * normal))."""
        dx, each = self.buffer("dx", len(dy), self.shape), self.each
        count = dy.size // self.channels
        np.multiply(dy, self.normal, out=dx)
        self.d_gain[...] = self.mean(dx) * count
        self.d_bias[...] = self.mean(dy) * count
        np.multiply(self.normal, (self.d_gain / -count)[each], out=dx)
        dx += dy
        dx -= (self.d_bias / count)[each]
        dx *= (self.gain / self.deviation)[each]
        return dx

    def mean(self, x: Array) -> Array:
        """The mean of each channel, over batch and pixels."""
        means: Array = x.mean(axis=self.others)
        return means
