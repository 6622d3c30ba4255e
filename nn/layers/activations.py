"""Element-wise activations and their derivatives."""

from __future__ import annotations

import numpy as np

from nn.errors import require
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Activation(Layer):
    """Base class of activations y = f(x); keeps x and y, as some derivatives need x, others y."""

    def forward(self, x: Array, training: bool) -> Array:
        """Return f(x), of the same shape as x."""
        self.x, self.y = x, self.get_buffer("y", len(x), self.input_shape)
        self.compute(x, self.y)
        return self.y

    def backward(self, dy: Array) -> Array:
        """Return dy * f'(x)."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        self.compute_derivative(dx)
        dx *= dy
        return dx

    def compute(self, x: Array, out: Array) -> None:
        """Write f(x) to `out`."""
        raise NotImplementedError

    def compute_derivative(self, out: Array) -> None:
        """Write f'(x) at the inputs of the last forward pass to `out`."""
        raise NotImplementedError


class ReLU(Activation):
    """max(x, 0)."""

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Convert the number 0 to an array once, which otherwise each step would do."""
        self.zero = np.zeros((), dtype)
        return super().build(input_shape, dtype)

    def compute(self, x: Array, out: Array) -> None:
        """Write max(x, 0)."""
        np.maximum(x, self.zero, out=out)

    def backward(self, dy: Array) -> Array:
        """Return dy where x is positive, else 0."""
        is_positive = self.get_buffer("is_positive", len(dy), self.input_shape, np.bool_)
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        np.greater(self.y, self.zero, out=is_positive)
        np.multiply(dy, is_positive, out=dx)
        return dx


class LeakyReLU(Activation):
    """x where x is positive, else slope * x (Maas et al., 2013)."""

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        require(0 <= slope < 1, "slope", slope, "at least 0 and below 1")
        self.slope = slope

    def compute(self, x: Array, out: Array) -> None:
        """Write max(x, slope * x)."""
        np.multiply(x, self.slope, out=out)
        np.maximum(x, out, out=out)

    def compute_derivative(self, out: Array) -> None:
        """Write 1 where x is positive, else the slope."""
        np.greater(self.x, 0, out=out, casting="unsafe")
        out *= 1 - self.slope
        out += self.slope


class Sigmoid(Activation):
    """1 / (1 + exp(-x)), computed with tanh, which cannot overflow."""

    def compute(self, x: Array, out: Array) -> None:
        """Write (1 + tanh(x / 2)) / 2."""
        _sigmoid(x, out)

    def compute_derivative(self, out: Array) -> None:
        """Write y (1 - y)."""
        np.subtract(1, self.y, out=out)
        out *= self.y


class Tanh(Activation):
    """tanh(x)."""

    def compute(self, x: Array, out: Array) -> None:
        """Write tanh(x)."""
        np.tanh(x, out=out)

    def compute_derivative(self, out: Array) -> None:
        """Write 1 - y^2."""
        np.multiply(self.y, self.y, out=out)
        np.subtract(1, out, out=out)


class SiLU(Activation):
    """x * sigmoid(x), also called swish (Hendrycks and Gimpel, 2016, arXiv:1606.08415)."""

    def compute(self, x: Array, out: Array) -> None:
        """Write x * sigmoid(x), and keep the sigmoid for the derivative."""
        self.sigmoid = self.get_buffer("sigmoid", len(x), self.input_shape)
        _sigmoid(x, self.sigmoid)
        np.multiply(x, self.sigmoid, out=out)

    def compute_derivative(self, out: Array) -> None:
        """Write sigmoid(x) + y (1 - sigmoid(x))."""
        np.subtract(1, self.sigmoid, out=out)
        out *= self.y
        out += self.sigmoid


class GELU(Activation):
    """x * Phi(x), Phi the normal CDF, in the tanh approximation (arXiv:1606.08415).

    Phi(x) is approximated by (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3).
    """

    SQRT_2_OVER_PI, CUBIC_COEFFICIENT = float(np.sqrt(2 / np.pi)), 0.044715

    def compute(self, x: Array, out: Array) -> None:
        """Write x (1 + tanh(u)) / 2, and keep tanh(u) for the derivative."""
        self.tanh = self.get_buffer("tanh", len(x), self.input_shape)
        np.multiply(x, x, out=self.tanh)
        self.tanh *= self.SQRT_2_OVER_PI * self.CUBIC_COEFFICIENT
        self.tanh += self.SQRT_2_OVER_PI
        self.tanh *= x
        np.tanh(self.tanh, out=self.tanh)
        np.add(self.tanh, 1, out=out)
        out *= x
        out *= 0.5

    def compute_derivative(self, out: Array) -> None:
        """Write (1 + tanh u) / 2 + x (1 - tanh^2 u) u' / 2.

        The inner derivative is u' = sqrt(2 / pi) (1 + 3 * 0.044715 x^2).
        """
        inner_derivative = self.get_buffer("inner_derivative", len(out), self.input_shape)
        np.multiply(self.x, self.x, out=inner_derivative)
        inner_derivative *= 3 * self.SQRT_2_OVER_PI * self.CUBIC_COEFFICIENT
        inner_derivative += self.SQRT_2_OVER_PI
        inner_derivative *= self.x
        np.multiply(self.tanh, self.tanh, out=out)
        np.subtract(1, out, out=out)
        out *= inner_derivative
        out += self.tanh
        out += 1
        out *= 0.5


def _sigmoid(x: Array, out: Array) -> None:
    np.multiply(x, 0.5, out=out)
    np.tanh(out, out=out)
    out += 1
    out *= 0.5
