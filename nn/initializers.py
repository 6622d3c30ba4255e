"""How weights begin: random, with a spread that keeps signals alive through the layers.

A weight is given as (inputs, units). In a convolution each input and unit meets `receptive`
pixels of the other, which counts for the spread of Xavier.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from nn.types import Array


class Initializer(Protocol):
    """Fills a weight."""

    def __call__(
        self, weight: Array, rng: np.random.Generator, receptive_field_size: int = 1
    ) -> None:
        """Fill a weight of (inputs, units)."""


def he_normal(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """For ReLU, which halves the variance (He et al., 2015, arXiv:1502.01852)."""
    _fill_normal(weight, 2 / len(weight), rng)


def he_uniform(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """The same variance, evenly spread."""
    _fill_uniform(weight, 2 / len(weight), rng)


def xavier_normal(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """For tanh and the like, a compromise between both ways (Glorot and Bengio, 2010)."""
    _fill_normal(weight, _xavier_variance(weight, receptive_field_size), rng)


def xavier_uniform(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """The same variance, evenly spread."""
    _fill_uniform(weight, _xavier_variance(weight, receptive_field_size), rng)


def lecun_normal(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Keeps the variance of what is linear (LeCun et al., 1998)."""
    _fill_normal(weight, 1 / len(weight), rng)


def lecun_uniform(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """The same variance, evenly spread."""
    _fill_uniform(weight, 1 / len(weight), rng)


def orthogonal(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """Keeps the length of what goes through (Saxe et al., 2013, arXiv:1312.6120)."""
    rows, columns = weight.shape
    gaussian = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(gaussian)
    q *= np.sign(np.diag(r))
    weight[...] = q if rows >= columns else q.T


def zeros(weight: Array, rng: np.random.Generator, receptive_field_size: int = 1) -> None:
    """For a layer that is to begin with nothing."""
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
