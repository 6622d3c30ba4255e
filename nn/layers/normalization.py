"""Batch and layer normalization."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from nn.errors import require
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Normalization(Layer):
    """Base class of normalizations: y = gamma * x_hat + bias with x_hat = (x - mean) / std."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        require(epsilon > 0, "epsilon", epsilon, "above 0")
        self.epsilon = epsilon

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """Gain (gamma) and bias, of one shape."""
        return {"gain": self._parameter_shape, "bias": self._parameter_shape}

    @property
    def _parameter_shape(self) -> Shape:
        raise NotImplementedError

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Store the views."""
        self.gamma, self.bias = parameters["gain"], parameters["bias"]
        self.d_gamma, self.d_bias = gradients["gain"], gradients["bias"]

    def initialize(self, rng: np.random.Generator) -> None:
        """Set gamma to one and the bias to zero, so that y = x_hat."""
        self.gamma[...] = 1
        self.bias[...] = 0


class BatchNorm(Normalization):
    """Batch normalization per unit or image channel (Ioffe and Szegedy, 2015, arXiv:1502.03167).

    Mean and std are those of the batch in training. Evaluation uses exponential moving averages of
    the batch means and variances, which are part of the layer's state.
    """

    def __init__(self, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__(epsilon)
        require(0 < momentum <= 1, "momentum", momentum, "above 0 and at most 1")
        self.momentum = momentum

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Allocate the moving averages of each channel."""
        self.num_channels, num_spatial_dims = input_shape[0], len(input_shape) - 1
        self.num_pixels = math.prod(input_shape[1:])
        self.per_channel = (slice(None), *[None] * num_spatial_dims)
        self.reduction_axes = (0, *range(2, 2 + num_spatial_dims))
        self.state = {
            "mean": np.zeros(self.num_channels, dtype),
            "variance": np.ones(self.num_channels, dtype),
        }
        return super().build(input_shape, dtype)

    @property
    def _parameter_shape(self) -> Shape:
        return (self.num_channels,)

    def forward(self, x: Array, training: bool) -> Array:
        """Normalize (batch, channels, ...) with statistics of shape (channels,)."""
        y, per_channel = self.get_buffer("y", len(x), self.input_shape), self.per_channel
        if training:
            self.x_hat = self.get_buffer("x_hat", len(x), self.input_shape)
            mean = self.channel_mean(x)
            np.subtract(x, mean[per_channel], out=self.x_hat)
            np.multiply(self.x_hat, self.x_hat, out=y)
            variance = self.channel_mean(y)
            self.std = np.sqrt(variance + self.epsilon)
            self.x_hat *= (1 / self.std)[per_channel]
            np.multiply(self.x_hat, self.gamma[per_channel], out=y)
            y += self.bias[per_channel]
            if not self.shard or self.shard.index == 0:
                self.update_averages(mean, variance, len(x))
        else:
            scale = self.gamma / np.sqrt(self.state["variance"] + self.epsilon)
            np.multiply(x, scale[per_channel], out=y)
            y += (self.bias - self.state["mean"] * scale)[per_channel]
        return y

    def update_averages(self, mean: Array, variance: Array, batch_size: int) -> None:
        """Update the moving averages of the mean and the unbiased variance."""
        num_values = (self.shard.batch_size if self.shard else batch_size) * self.num_pixels
        unbiased_variance = variance * (num_values / max(num_values - 1, 1))
        for name, value in (("mean", mean), ("variance", unbiased_variance)):
            self.state[name] += self.momentum * (value - self.state[name])

    def backward(self, dy: Array) -> Array:
        """Return gamma / std * (dy - mean(dy) - x_hat * mean(dy * x_hat))."""
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
        """Return the mean over pixels and all samples of the batch: (channels,)."""
        means: Array = x.mean(axis=self.reduction_axes)
        return self.shard.all_mean(means) if self.shard else means


class LayerNorm(Normalization):
    """Layer normalization with the mean and std of each sample (Ba et al., 2016, arXiv:1607.06450).

    Gamma and bias have the shape of a sample.
    """

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__(epsilon)

    @property
    def _parameter_shape(self) -> Shape:
        return self.input_shape

    def forward(self, x: Array, training: bool) -> Array:
        """Normalize (batch, ...) with statistics of shape (batch, 1, ...)."""
        self.x_hat = self.get_buffer("x_hat", len(x), self.input_shape)
        y = self.get_buffer("y", len(x), self.input_shape)
        np.subtract(x, self.sample_mean(x), out=self.x_hat)
        np.multiply(self.x_hat, self.x_hat, out=y)
        self.std = np.sqrt(self.sample_mean(y) + self.epsilon)
        self.x_hat /= self.std
        np.multiply(self.x_hat, self.gamma, out=y)
        y += self.bias
        return y

    def backward(self, dy: Array) -> Array:
        """Return (d - mean(d) - x_hat * mean(d * x_hat)) / std with d = gamma * dy."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        scratch = self.get_buffer("scratch", len(dy), self.input_shape)
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
        """Return the mean over all axes but the first: (batch, 1, ...)."""
        means: Array = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
        return means
