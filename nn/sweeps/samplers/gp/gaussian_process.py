"""Gaussian process regression with a Matérn 5/2 kernel and one lengthscale per parameter.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapters 2, 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from nn.types import Array, Labels

MIN_NOISE_VARIANCE = 1e-7
"""Lower limit of the noise variance, for values of variance 1; keeps matrices invertible."""
MAX_FIT_POINTS, MAX_TRAIN_POINTS = 200, 1000
"""Maximum number of points to fit the kernel parameters to, and to condition the posterior on."""


@dataclass(frozen=True)
class KernelParams:
    """Parameters of the kernel and the observation noise."""

    inverse_squared_lengthscales: Array
    """One for each dimension."""
    output_scale: float
    noise_variance: float

    @classmethod
    def from_log_params(cls, log_params: Array) -> KernelParams:
        """Create from logarithms; that of the noise is of its excess over `MIN_NOISE_VARIANCE`."""
        *inverse_squared_lengthscales, output_scale, excess_noise = np.exp(log_params)
        return cls(
            np.array(inverse_squared_lengthscales),
            float(output_scale),
            float(excess_noise) + MIN_NOISE_VARIANCE,
        )


def matern52(sq_distances: Array) -> tuple[Array, Array]:
    """Return the Matérn 5/2 kernel, and its derivative with respect to the squared distance."""
    root = np.sqrt(5 * sq_distances)
    decay = np.exp(-root)
    return (1 + root + root**2 / 3) * decay, -5 / 6 * (1 + root) * decay


def squared_distances(x: Array, column_to_dimension: Labels) -> Array:
    """Return the squared distances between points in each dimension: (dimensions, n, n)."""
    dimensions = range(column_to_dimension.max() + 1)
    blocks = [x[:, column_to_dimension == dimension] for dimension in dimensions]
    return np.stack([cdist(block, block, "sqeuclidean") for block in blocks])


def inverse_cholesky(correlation: Array, kernel_params: KernelParams) -> Array:
    """Return L^-1 for the covariance L L^T of the observed values (n, n)."""
    identity = np.eye(len(correlation))
    noise = kernel_params.noise_variance * identity
    cholesky_factor = cholesky(kernel_params.output_scale * correlation + noise, lower=True)
    return np.asarray(solve_triangular(cholesky_factor, identity, lower=True))


def estimate_mean(inverse_factor: Array, y: Array) -> float:
    """Return the generalized least-squares estimate of the constant mean.

    Unlike the average, it counts a cluster of correlated values as little more than one.
    """
    whitened_ones = inverse_factor.sum(1)
    return float(whitened_ones @ (inverse_factor @ y) / (whitened_ones @ whitened_ones))


def negative_log_posterior(log_params: Array, sq_distances: Array, y: Array) -> tuple[float, Array]:
    """Return the negative log posterior density, up to a constant, and its gradient."""
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
    gradient = np.array([*lengthscale_grad, scale_grad, noise_grad]) / 2
    prior, prior_grad = log_prior(log_params)
    return float(value - prior), gradient - prior_grad


def log_prior(log_params: Array) -> tuple[float, Array]:
    """Return the log prior for points in the unit cube, up to a constant, and its gradient.

    The priors are those of Optuna's Gaussian process: lengthscales neither tiny nor huge, an output
    scale around 1 and little noise.
    """
    inverse_squared_lengthscales = np.exp(log_params[:-2])
    output_scale, noise = np.exp(log_params[-2:])
    value = -0.1 * (inverse_squared_lengthscales + 1 / inverse_squared_lengthscales).sum()
    value += log_params[-2] - output_scale + 0.1 * log_params[-1] - 30 * noise
    lengthscale_grad = -0.1 * (inverse_squared_lengthscales - 1 / inverse_squared_lengthscales)
    return float(value), np.array([*lengthscale_grad, 1 - output_scale, 0.1 - 30 * noise])


class PosteriorAndGrad(NamedTuple):
    """Posterior at one point, and its gradients with respect to the point (columns)."""

    mean: float
    std: float
    mean_grad: Array
    std_grad: Array


class GaussianProcess:
    """Posterior given training points (n, columns) and the values observed there (n)."""

    def __init__(
        self,
        kernel_params: KernelParams,
        column_to_dimension: Labels,
        x_train: Array,
        y_train: Array,
    ) -> None:
        self.kernel_params, self.column_to_dimension = kernel_params, column_to_dimension
        self.x_train, self.y_train = x_train, y_train
        self._inverse_lengthscales = np.sqrt(
            kernel_params.inverse_squared_lengthscales[column_to_dimension]
        )
        self._scaled_x_train = x_train * self._inverse_lengthscales
        correlation, _ = matern52(cdist(self._scaled_x_train, self._scaled_x_train, "sqeuclidean"))
        self._inverse_factor = inverse_cholesky(correlation, kernel_params)
        self._mean = estimate_mean(self._inverse_factor, y_train)
        self._alpha = self._inverse_factor.T @ (self._inverse_factor @ (y_train - self._mean))

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation at points (m, columns), observation noise excluded."""
        correlation, _ = matern52(
            cdist(x * self._inverse_lengthscales, self._scaled_x_train, "sqeuclidean")
        )
        cross_covariance = self.kernel_params.output_scale * correlation
        explained_variance = ((cross_covariance @ self._inverse_factor.T) ** 2).sum(1)
        return self._mean + cross_covariance @ self._alpha, self._std(explained_variance)

    def posterior_and_grad(self, x: Array) -> PosteriorAndGrad:
        """Return mean and standard deviation at one point, and the gradient of each."""
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
        return PosteriorAndGrad(
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
        """Posterior mean at the training points: the observed values with the noise removed."""
        return self.posterior(self.x_train)[0]

    def fantasize(self, x: Array) -> GaussianProcess:
        """Condition on more points, imputing their values with the posterior mean.

        This is the kriging believer: Ginsbourger et al., Kriging is well-suited to parallelize
        optimization (2010).
        """
        y = np.concatenate([self.y_train, self.posterior(x)[0]])
        return GaussianProcess(
            self.kernel_params, self.column_to_dimension, np.vstack([self.x_train, x]), y
        )


def fit_gp(x: Array, y: Array, column_to_dimension: Labels) -> GaussianProcess:
    """Fit a process by maximum a posteriori; if there are too many points, to a subsample."""
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
    """Return the indices of at most `max_points` points: half the best, half the latest others."""
    order = np.argsort(y, kind="stable")
    best, rest = order[: max_points // 2], np.sort(order[max_points // 2 :])
    return np.concatenate([best, rest[-(max_points - len(best)) :]])
