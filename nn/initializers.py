"""Weight initializers, whose variance keeps signals from vanishing or exploding across layers.

A weight is passed as a matrix (inputs, units), so fan_in is its number of rows. In a convolution
fan_out is units * receptive_field_size, which only the Xavier initializers use.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from nn.types import Array


class Initializer(Protocol):
    """Function that fills a weight in place."""

    def __call__(
        self, weight: Array, rng: np.random.Generator, receptive_field_size: int = 1
    ) -> None:
        """Fill a weight of shape (inputs, units)."""


def he_normal(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Fill with N(0, 2 / fan_in): ReLU halves the variance (He et al., 2015, arXiv:1502.01852)."""
    _fill_normal(weight, 2 / len(weight), rng)


def he_uniform(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Fill from a uniform distribution with the variance of `he_normal`."""
    _fill_uniform(weight, 2 / len(weight), rng)


def xavier_normal(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Fill with N(0, 2 / (fan_in + fan_out)), for tanh and sigmoid (Glorot and Bengio, 2010).

    The variance is a compromise between the forward and the backward pass.
    """
    _fill_normal(weight, _xavier_variance(weight, receptive_field_size), rng)


def xavier_uniform(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Fill from a uniform distribution with the variance of `xavier_normal`."""
    _fill_uniform(weight, _xavier_variance(weight, receptive_field_size), rng)


def lecun_normal(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Fill with N(0, 1 / fan_in): a linear layer preserves variance (LeCun et al., 1998)."""
    _fill_normal(weight, 1 / len(weight), rng)


def lecun_uniform(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Fill from a uniform distribution with the variance of `lecun_normal`."""
    _fill_uniform(weight, 1 / len(weight), rng)


def orthogonal(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Fill with a random orthogonal matrix; it keeps norms (Saxe et al., 2013, arXiv:1312.6120)."""
    rows, columns = weight.shape
    gaussian = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(gaussian)
    q *= np.sign(np.diag(r))
    weight[...] = q if rows >= columns else q.T


def zeros(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Fill with zeros, for a layer whose initial output is zero."""
    weight[...] = 0


INITIALIZERS: dict[str, Initializer] = {
    function.__name__: function
    for function in (
        he_normal,
        he_uniform,
        xavier_normal,
        xavier_uniform,
        lecun_normal,
        lecun_uniform,
        orthogonal,
        zeros,
    )
}


def _xavier_variance(weight: Array, receptive_field_size: int) -> float:
    fan_in, units = weight.shape
    return 2.0 / int(fan_in + units * receptive_field_size)


def _fill_normal(weight: Array, variance: float, rng: np.random.Generator) -> None:
    weight[...] = rng.standard_normal(weight.shape) * np.sqrt(variance)


def _fill_uniform(weight: Array, variance: float, rng: np.random.Generator) -> None:
    bound = np.sqrt(3 * variance)
    weight[...] = rng.uniform(-bound, bound, weight.shape)
