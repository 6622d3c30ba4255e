"""Regression by a Gaussian process: what a surface may be like between the points seen so far.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapters 2, 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from nn.types import Array, Labels

NOISE = 1e-7
"""The least variance of the noise beside values of variance 1; it keeps matrices invertible."""
FITTED, SEEN = 200, 1000
"""To so many points at most the kernel is fitted; so many at most are seen."""


@dataclass(frozen=True)
class Kernel:
    """How alike the values at two points are, by the distance between them."""

    weights: Array
    """For each dimension the inverse of its squared lengthscale."""
    scale: float
    noise: float

    @classmethod
    def from_logarithms(cls, logarithms: Array) -> Kernel:
        """Take the weights, the scale and the noise above the least by their logarithms."""
        *weights, scale, noise = np.exp(logarithms)
        return cls(np.array(weights), float(scale), float(noise) + NOISE)


def matern(squares: Array) -> tuple[Array, Array]:
    """The Matérn kernel of smoothness 5/2, and its derivative by the squared distance."""
    root = np.sqrt(5 * squares)
    fall = np.exp(-root)
    return (1 + root + root**2 / 3) * fall, -5 / 6 * (1 + root) * fall


def squared_distances(x: Array, groups: Labels) -> Array:
    """The squared distances between all points, by dimension: (dimensions, n, n)."""
    columns = [x[:, groups == group] for group in range(groups.max() + 1)]
    return np.stack([cdist(each, each, "sqeuclidean") for each in columns])


def inverse_factor(similarity: Array, kernel: Kernel) -> Array:
    """The inverse of the lower Cholesky factor of the values' covariance."""
    identity = np.eye(len(similarity))
    factor = cholesky(kernel.scale * similarity + kernel.noise * identity, lower=True)
    return np.asarray(solve_triangular(factor, identity, lower=True))


def constant_mean(inverse: Array, y: Array) -> float:
    """The likeliest mean, to which many values close together tell little more than one."""
    ones = inverse.sum(1)
    return float(ones @ (inverse @ y) / (ones @ ones))


def loss(logarithms: Array, squares: Array, y: Array) -> tuple[float, Array]:
    """The negative logarithm of a kernel's posterior density but for a constant; its gradient."""
    kernel = Kernel.from_logarithms(logarithms)
    similarity, slope = matern(np.tensordot(kernel.weights, squares, 1))
    inverse = inverse_factor(similarity, kernel)
    white = inverse @ (y - constant_mean(inverse, y))
    value = white @ white / 2 - np.log(np.diag(inverse)).sum()
    solved = inverse.T @ white
    outer = inverse.T @ inverse - np.outer(solved, solved)
    by_weights = np.tensordot(squares, outer * slope, 2) * kernel.scale * kernel.weights
    by_scale = (outer * similarity).sum() * kernel.scale
    by_noise = np.trace(outer) * (kernel.noise - NOISE)
    prior, by_prior = log_prior(logarithms)
    return float(value - prior), np.array([*by_weights, by_scale, by_noise]) / 2 - by_prior


def log_prior(logarithms: Array) -> tuple[float, Array]:
    """What is believed of a kernel on a cube of side 1 beforehand, but for a constant.

    The lengthscales are neither tiny nor endless, the scale is about 1 and the noise small: the
    priors of Optuna's own Gaussian process.
    """
    weights, (scale, noise) = np.exp(logarithms[:-2]), np.exp(logarithms[-2:])
    value = -0.1 * (weights + 1 / weights).sum()
    value += logarithms[-2] - scale + 0.1 * logarithms[-1] - 30 * noise
    gradient = [*(-0.1 * (weights - 1 / weights)), 1 - scale, 0.1 - 30 * noise]
    return float(value), np.array(gradient)


class Surface:
    """What is known of a surface from points (n, columns) and the values there (n)."""

    def __init__(self, kernel: Kernel, groups: Labels, x: Array, y: Array) -> None:
        self.kernel, self.groups, self.x, self.y = kernel, groups, x, y
        self._stretch = np.sqrt(kernel.weights[groups])
        self._stretched = x * self._stretch
        similarity, _ = matern(cdist(self._stretched, self._stretched, "sqeuclidean"))
        self._inverse = inverse_factor(similarity, kernel)
        self._mean = constant_mean(self._inverse, y)
        self._solved = self._inverse.T @ (self._inverse @ (y - self._mean))

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """The mean and the standard deviation at some points, without the noise."""
        similarity, _ = matern(cdist(x * self._stretch, self._stretched, "sqeuclidean"))
        across = self.kernel.scale * similarity
        explained = ((across @ self._inverse.T) ** 2).sum(1)
        return self._mean + across @ self._solved, self._deviation(explained)

    def slopes(self, x: Array) -> tuple[float, float, Array, Array]:
        """The mean and the standard deviation at one point, and the gradients of both."""
        apart = x * self._stretch - self._stretched
        similarity, slope = matern((apart**2).sum(1))
        across = self.kernel.scale * similarity
        by_x = 2 * self.kernel.scale * slope[:, None] * apart * self._stretch
        white = self._inverse @ across
        deviation = float(self._deviation(white @ white))
        by_deviation = -(self._inverse.T @ white) @ by_x / deviation
        return (
            float(self._mean + across @ self._solved),
            deviation,
            self._solved @ by_x,
            by_deviation,
        )

    def _deviation(self, explained: Array) -> Array:
        return np.asarray(np.sqrt(np.maximum(self.kernel.scale - explained, 1e-12)))

    @cached_property
    def expected(self) -> Array:
        """The values at the points seen, without the noise."""
        return self.posterior(self.x)[0]

    def believing(self, x: Array) -> Surface:
        """See more points, at which the values are what is expected there.

        Ginsbourger et al., Kriging is well-suited to parallelize optimization (2010).
        """
        y = np.concatenate([self.y, self.posterior(x)[0]])
        return Surface(self.kernel, self.groups, np.vstack([self.x, x]), y)


def fitted(x: Array, y: Array, groups: Labels) -> Surface:
    """Find the likeliest kernel; where there are too many points, the best and last are seen."""
    some = telling(y, FITTED)
    squares = squared_distances(x[some], groups)
    start = np.array([*np.zeros(len(squares)), 0.0, -4.0])
    bounds = [(-12.0, 8.0)] * len(squares) + [(-6.0, 4.0), (-20.0, 2.0)]
    found = minimize(loss, start, (squares, y[some]), jac=True, method="L-BFGS-B", bounds=bounds)
    some = telling(y, SEEN)
    return Surface(Kernel.from_logarithms(found.x), groups, x[some], y[some])


def telling(y: Array, limit: int) -> Labels:
    """Choose so many points: half of them the best, the others the last."""
    order = np.argsort(y, kind="stable")
    best, others = order[: limit // 2], np.sort(order[limit // 2 :])
    return np.concatenate([best, others[-(limit - len(best)) :]])
