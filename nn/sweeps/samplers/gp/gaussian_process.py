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

MIN_NOISE_VARIANCE = 1e-7
"""The least variance of the noise beside values of variance 1; it keeps matrices invertible."""
MAX_FIT_POINTS, MAX_TRAIN_POINTS = 200, 1000
"""To so many points at most the kernel is fitted; so many at most are seen."""


@dataclass(frozen=True)
class KernelParams:
    """How alike the values at two points are, by the distance between them."""

    inverse_squared_lengthscales: Array
    """For each dimension the inverse of its squared lengthscale."""
    output_scale: float
    noise_variance: float

    @classmethod
    def from_log_params(cls, log_params: Array) -> KernelParams:
        """Take the weights, the scale and the noise above the least by their logarithms."""
        *inverse_squared_lengthscales, output_scale, excess_noise = np.exp(log_params)
        return cls(
            np.array(inverse_squared_lengthscales),
            float(output_scale),
            float(excess_noise) + MIN_NOISE_VARIANCE,
        )


def matern52(sq_distances: Array) -> tuple[Array, Array]:
    """The Matérn kernel of smoothness 5/2, and its derivative by the squared distance."""
    root = np.sqrt(5 * sq_distances)
    decay = np.exp(-root)
    return (1 + root + root**2 / 3) * decay, -5 / 6 * (1 + root) * decay


def squared_distances(x: Array, column_to_dimension: Labels) -> Array:
    """The squared distances between all points, by dimension: (dimensions, n, n)."""
    blocks = [
        x[:, column_to_dimension == dimension] for dimension in range(column_to_dimension.max() + 1)
    ]
    return np.stack([cdist(block, block, "sqeuclidean") for block in blocks])


def inverse_cholesky(correlation: Array, kernel_params: KernelParams) -> Array:
    """The inverse of the lower Cholesky factor of the values' covariance."""
    identity = np.eye(len(correlation))
    cholesky_factor = cholesky(
        kernel_params.output_scale * correlation + kernel_params.noise_variance * identity,
        lower=True,
    )
    return np.asarray(solve_triangular(cholesky_factor, identity, lower=True))


def estimate_mean(inverse_factor: Array, y: Array) -> float:
    """The likeliest mean, to which many values close together tell little more than one."""
    whitened_ones = inverse_factor.sum(1)
    return float(whitened_ones @ (inverse_factor @ y) / (whitened_ones @ whitened_ones))


def negative_log_posterior(log_params: Array, sq_distances: Array, y: Array) -> tuple[float, Array]:
    """The negative logarithm of a kernel's posterior density but for a constant; its gradient."""
    kernel_params = KernelParams.from_log_params(log_params)
    correlation, correlation_grad = matern52(
        np.tensordot(kernel_params.inverse_squared_lengthscales, sq_distances, 1)
    )
    inverse_factor = inverse_cholesky(correlation, kernel_params)
    whitened = inverse_factor @ (y - estimate_mean(inverse_factor, y))
    value = whitened @ whitened / 2 - np.log(np.diag(inverse_factor)).sum()
    alpha = inverse_factor.T @ whitened
    covariance_grad = inverse_factor.T @ inverse_factor - np.outer(alpha, alpha)
    lengthscale_grad = (
        np.tensordot(sq_distances, covariance_grad * correlation_grad, 2)
        * kernel_params.output_scale
        * kernel_params.inverse_squared_lengthscales
    )
    scale_grad = (covariance_grad * correlation).sum() * kernel_params.output_scale
    noise_grad = np.trace(covariance_grad) * (kernel_params.noise_variance - MIN_NOISE_VARIANCE)
    prior, prior_grad = log_prior(log_params)
    return float(value - prior), np.array(
        [*lengthscale_grad, scale_grad, noise_grad]
    ) / 2 - prior_grad


def log_prior(log_params: Array) -> tuple[float, Array]:
    """What is believed of a kernel on a cube of side 1 beforehand, but for a constant.

    The lengthscales are neither tiny nor endless, the scale is about 1 and the noise small: the
    priors of Optuna's own Gaussian process.
    """
    inverse_squared_lengthscales, (output_scale, noise) = (
        np.exp(log_params[:-2]),
        np.exp(log_params[-2:]),
    )
    value = -0.1 * (inverse_squared_lengthscales + 1 / inverse_squared_lengthscales).sum()
    value += log_params[-2] - output_scale + 0.1 * log_params[-1] - 30 * noise
    gradient = [
        *(-0.1 * (inverse_squared_lengthscales - 1 / inverse_squared_lengthscales)),
        1 - output_scale,
        0.1 - 30 * noise,
    ]
    return float(value), np.array(gradient)


class GaussianProcess:
    """What is known of a surface from points (n, columns) and the values there (n)."""

    def __init__(
        self,
        kernel_params: KernelParams,
        column_to_dimension: Labels,
        x_train: Array,
        y_train: Array,
    ) -> None:
        self.kernel_params, self.column_to_dimension, self.x_train, self.y_train = (
            kernel_params,
            column_to_dimension,
            x_train,
            y_train,
        )
        self._inverse_lengthscales = np.sqrt(
            kernel_params.inverse_squared_lengthscales[column_to_dimension]
        )
        self._scaled_x_train = x_train * self._inverse_lengthscales
        correlation, _ = matern52(cdist(self._scaled_x_train, self._scaled_x_train, "sqeuclidean"))
        self._inverse_factor = inverse_cholesky(correlation, kernel_params)
        self._mean = estimate_mean(self._inverse_factor, y_train)
        self._alpha = self._inverse_factor.T @ (self._inverse_factor @ (y_train - self._mean))

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """The mean and the standard deviation at some points, without the noise."""
        correlation, _ = matern52(
            cdist(x * self._inverse_lengthscales, self._scaled_x_train, "sqeuclidean")
        )
        cross_covariance = self.kernel_params.output_scale * correlation
        explained_variance = ((cross_covariance @ self._inverse_factor.T) ** 2).sum(1)
        return self._mean + cross_covariance @ self._alpha, self._std(explained_variance)

    def posterior_and_grad(self, x: Array) -> tuple[float, float, Array, Array]:
        """The mean and the standard deviation at one point, and the gradients of both."""
        scaled_difference = x * self._inverse_lengthscales - self._scaled_x_train
        correlation, correlation_grad = matern52((scaled_difference**2).sum(1))
        cross_covariance = self.kernel_params.output_scale * correlation
        cross_covariance_grad = (
            2
            * self.kernel_params.output_scale
            * correlation_grad[:, None]
            * scaled_difference
            * self._inverse_lengthscales
        )
        whitened = self._inverse_factor @ cross_covariance
        std = float(self._std(whitened @ whitened))
        std_grad = -(self._inverse_factor.T @ whitened) @ cross_covariance_grad / std
        return (
            float(self._mean + cross_covariance @ self._alpha),
            std,
            self._alpha @ cross_covariance_grad,
            std_grad,
        )

    def _std(self, explained_variance: Array) -> Array:
        return np.asarray(
            np.sqrt(np.maximum(self.kernel_params.output_scale - explained_variance, 1e-12))
        )

    @cached_property
    def train_posterior_mean(self) -> Array:
        """The values at the points seen, without the noise."""
        return self.posterior(self.x_train)[0]

    def fantasize(self, x: Array) -> GaussianProcess:
        """See more points, at which the values are what is expected there.

        Ginsbourger et al., Kriging is well-suited to parallelize optimization (2010).
        """
        y = np.concatenate([self.y_train, self.posterior(x)[0]])
        return GaussianProcess(
            self.kernel_params, self.column_to_dimension, np.vstack([self.x_train, x]), y
        )


def fit_gp(x: Array, y: Array, column_to_dimension: Labels) -> GaussianProcess:
    """Find the likeliest kernel; where there are too many points, the best and last are seen."""
    indices = subsample(y, MAX_FIT_POINTS)
    sq_distances = squared_distances(x[indices], column_to_dimension)
    initial_log_params = np.array([*np.zeros(len(sq_distances)), 0.0, -4.0])
    bounds = [(-12.0, 8.0)] * len(sq_distances) + [(-6.0, 4.0), (-20.0, 2.0)]
    result = minimize(
        negative_log_posterior,
        initial_log_params,
        (sq_distances, y[indices]),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
    )
    indices = subsample(y, MAX_TRAIN_POINTS)
    return GaussianProcess(
        KernelParams.from_log_params(result.x), column_to_dimension, x[indices], y[indices]
    )


def subsample(y: Array, max_points: int) -> Labels:
    """Choose so many points: half of them the best, the others the last."""
    order = np.argsort(y, kind="stable")
    best, rest = order[: max_points // 2], np.sort(order[max_points // 2 :])
    return np.concatenate([best, rest[-(max_points - len(best)) :]])
