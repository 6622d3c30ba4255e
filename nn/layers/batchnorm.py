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

    def build(self, input_shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Keep running figures for each channel."""
        self.num_channels, num_spatial_dims = input_shape[0], len(input_shape) - 1
        self.per_channel = (slice(None), *[None] * num_spatial_dims)
        self.reduction_axes = (0, *range(2, 2 + num_spatial_dims))
        self.state = {
            "mean": np.zeros(self.num_channels, dtype),
            "variance": np.ones(self.num_channels, dtype),
        }
        return super().build(input_shape, dtype)

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """A gain and a bias for each channel."""
        return {"gain": (self.num_channels,), "bias": (self.num_channels,)}

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
        """(batch, channels, ...) - (channels, ...), and so on."""
        y, per_channel = self.get_buffer("y", len(x), self.input_shape), self.per_channel
        if training:
            self.x_hat = self.get_buffer("normal", len(x), self.input_shape)
            num_values = x.size // self.num_channels
            mean = self.channel_mean(x)
            np.subtract(x, mean[per_channel], out=self.x_hat)
            np.multiply(self.x_hat, self.x_hat, out=y)
            variance = self.channel_mean(y)
            self.std = np.sqrt(variance + self.epsilon)
            self.x_hat *= (1 / self.std)[per_channel]
            np.multiply(self.x_hat, self.gamma[per_channel], out=y)
            y += self.bias[per_channel]
            unbiased_variance = variance * (num_values / max(num_values - 1, 1))
            for name, value in (("mean", mean), ("variance", unbiased_variance)):
                self.state[name] += self.momentum * (value - self.state[name])
        else:
            scale = self.gamma / np.sqrt(self.state["variance"] + self.epsilon)
            np.multiply(x, scale[per_channel], out=y)
            y += (self.bias - self.state["mean"] * scale)[per_channel]
        return y

    def backward(self, dy: Array) -> Array:
        """gain / deviation * (dy - mean(dy) - normal * mean(dy * normal))."""
        dx, per_channel = self.get_buffer("dx", len(dy), self.input_shape), self.per_channel
        num_values = dy.size // self.num_channels
        np.multiply(dy, self.x_hat, out=dx)
        self.d_gamma[...] = self.channel_mean(dx) * num_values
        self.d_bias[...] = self.channel_mean(dy) * num_values
        np.multiply(self.x_hat, (self.d_gamma / -num_values)[per_channel], out=dx)
        dx += dy
        dx -= (self.d_bias / num_values)[per_channel]
        dx *= (self.gamma / self.std)[per_channel]
        return dx

    def channel_mean(self, x: Array) -> Array:
        """The mean of each channel, over batch and pixels."""
        means: Array = x.mean(axis=self.reduction_axes)
        return means
