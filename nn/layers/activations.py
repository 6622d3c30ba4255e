"""The activations: a function of each value by itself, and its derivative."""

from __future__ import annotations

import numpy as np

from nn.errors import require
from nn.layers.layer import Layer
from nn.types import Array


class Activation(Layer):
    """Keeps inputs and outputs, of which one or the other gives the derivative."""

    def forward(self, x: Array, training: bool) -> Array:
        """y = function(x)."""
        self.x, self.y = x, self.buffer("y", len(x), self.shape)
        self.function(x, self.y)
        return self.y

    def backward(self, dy: Array) -> Array:
        """dy * derivative."""
        dx = self.buffer("dx", len(dy), self.shape)
        self.derivative(dx)
        dx *= dy
        return dx

    def function(self, x: Array, y: Array) -> None:
        """Write the function's values into y."""
        raise NotImplementedError

    def derivative(self, out: Array) -> None:
        """Write the derivative at what the last forward step saw."""
        raise NotImplementedError


class ReLU(Activation):
    """max(x, 0)."""

    def function(self, x: Array, y: Array) -> None:
        """Cut off what is negative."""
        np.maximum(x, 0, out=y)

    def backward(self, dy: Array) -> Array:
        """dy where y is positive, else 0."""
        positive = self.buffer("positive", len(dy), self.shape, np.bool_)
        dx = self.buffer("dx", len(dy), self.shape)
        np.greater(self.y, 0, out=positive)
        np.multiply(dy, positive, out=dx)
        return dx


class LeakyReLU(Activation):
    """x where it is positive, else slope * x (Maas et al., 2013)."""

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        require(0 <= slope < 1, "slope", slope, "at least 0 and below 1")
        self.slope = slope

    def function(self, x: Array, y: Array) -> None:
        """The larger of two lines."""
        np.multiply(x, self.slope, out=y)
        np.maximum(x, y, out=y)

    def derivative(self, out: Array) -> None:
        """1 or the slope."""
        np.greater(self.x, 0, out=out, casting="unsafe")
        out *= 1 - self.slope
        out += self.slope


class Sigmoid(Activation):
    """1 / (1 + exp(-x)), by way of tanh, which cannot overflow."""

    def function(self, x: Array, y: Array) -> None:
        """(1 + tanh(x / 2)) / 2."""
        _sigmoid(x, y)

    def derivative(self, out: Array) -> None:
        """y (1 - y)."""
        np.subtract(1, self.y, out=out)
        out *= self.y


class Tanh(Activation):
    """tanh(x)."""

    def function(self, x: Array, y: Array) -> None:
        """The hyperbolic tangent."""
        np.tanh(x, out=y)

    def derivative(self, out: Array) -> None:
        """1 - y^2."""
        np.multiply(self.y, self.y, out=out)
        np.subtract(1, out, out=out)


class SiLU(Activation):
    """x sigmoid(x) (Hendrycks and Gimpel, 2016, arXiv:1606.08415)."""

    def function(self, x: Array, y: Array) -> None:
        """The sigmoid is kept for the derivative."""
        self.gate = self.buffer("gate", len(x), self.shape)
        _sigmoid(x, self.gate)
        np.multiply(x, self.gate, out=y)

    def derivative(self, out: Array) -> None:
        """gate + y (1 - gate)."""
        np.subtract(1, self.gate, out=out)
        out *= self.y
        out += self.gate


class GELU(Activation):
    """x times the normal distribution's share below x, in the form with tanh (arXiv:1606.08415).

    The share is (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3).
    """

    ROOT, CUBIC = float(np.sqrt(2 / np.pi)), 0.044715

    def function(self, x: Array, y: Array) -> None:
        """tanh(u) is kept for the derivative."""
        self.tanh = self.buffer("tanh", len(x), self.shape)
        np.multiply(x, x, out=self.tanh)
        self.tanh *= self.ROOT * self.CUBIC
        self.tanh += self.ROOT
        self.tanh *= x
        np.tanh(self.tanh, out=self.tanh)
        np.add(self.tanh, 1, out=y)
        y *= x
        y *= 0.5

    def derivative(self, out: Array) -> None:
        """(1 + tanh u) / 2 + x (1 - tanh^2 u) u' / 2, u' = sqrt(2 / pi) (1 + 3 * 0.044715 x^2)."""
        slope = self.buffer("slope", len(out), self.shape)
        np.multiply(self.x, self.x, out=slope)
        slope *= 3 * self.ROOT * self.CUBIC
        slope += self.ROOT
        slope *= self.x
        np.multiply(self.tanh, self.tanh, out=out)
        np.subtract(1, out, out=out)
        out *= slope
        out += self.tanh
        out += 1
        out *= 0.5


def _sigmoid(x: Array, y: Array) -> None:
    np.multiply(x, 0.5, out=y)
    np.tanh(y, out=y)
    y += 1
    y *= 0.5
