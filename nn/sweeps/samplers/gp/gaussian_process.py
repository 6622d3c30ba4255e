"""Gaussian process regression with a Matérn 5/2 kernel and one lengthscale per parameter.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapters 2, 4 and 5.

With prior tasks, the objective is a weighted sum of their processes and of one for the difference:
the co-kriging of Kennedy and O'Hagan, Predicting the output from a complex computer code when fast
approximations are available (2000). The weights are fitted along with the kernel of the difference.
If the difference from a task becomes small, its values count like observations of the objective.
Prior tasks are used only while they explain the observed values better than a process without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from nn.types import Array, Labels

MIN_NOISE_VARIANCE = 1e-7
"""Lower limit of the noise variance, for values of variance 1; keeps matrices invertible."""
MAX_FIT_POINTS, MAX_TRAIN_POINTS = 200, 1000
"""Maximum number of points to fit the kernel parameters to, and to condition the posterior on."""
WEIGHT_SHAPE = 0.1
"""Shape of the gamma prior of a prior task's weight: the lower, the easier it vanishes."""
MIN_WEIGHT = 0.1
"""Minimum weight of a prior task, times their number."""
MIN_LOG_EVIDENCE = 1.0
"""Minimum gain in the log posterior density for which prior tasks are used."""


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


def inverse_cholesky(covariance: Array) -> Array:
    """Return L^-1 for the covariance L L^T of the observed values (n, n)."""
    cholesky_factor = cholesky(covariance, lower=True)
    return np.asarray(solve_triangular(cholesky_factor, np.eye(len(covariance)), lower=True))


def estimate_mean(inverse_factor: Array, y: Array, mean_mask: Array) -> float:
    """Return the generalized least-squares estimate of the constant mean, 0 if nothing has it.

    Unlike the average, it counts a cluster of correlated values as little more than one. The mask
    is 1 where the constant is the mean, and 0 where the mean is known to be 0.
    """
    whitened_mask = inverse_factor @ mean_mask
    norm = whitened_mask @ whitened_mask
    return float(whitened_mask @ (inverse_factor @ y) / (norm or 1.0))


class JointPosterior(NamedTuple):
    """Posterior at n points: mean (n) and covariance (n, n)."""

    mean: Array
    covariance: Array


def negative_log_posterior(
    log_params: Array, sq_distances: Array, y: Array, priors: Sequence[JointPosterior] = ()
) -> tuple[float, Array]:
    """Return the negative log posterior density, up to a constant, and its gradient.

    Args:
        log_params: Logarithms of the kernel parameters and of the weight of each prior task.
        sq_distances: Squared distances in each dimension: (dimensions, n, n).
        y: Values (n).
        priors: Posterior of each prior task's process at the same points.
    """
    log_params, log_weights = np.split(log_params, [len(sq_distances) + 2])
    kernel_params = KernelParams.from_log_params(log_params)
    weights = np.exp(log_weights)
    correlation, correlation_grad = matern52(
        np.tensordot(kernel_params.inverse_squared_lengthscales, sq_distances, 1)
    )
    covariance = kernel_params.output_scale * correlation
    for weight, prior in zip(weights, priors, strict=True):
        covariance += weight**2 * prior.covariance
        y = y - weight * prior.mean
    inverse_factor = inverse_cholesky(covariance + kernel_params.noise_variance * np.eye(len(y)))
    whitened = inverse_factor @ (y - estimate_mean(inverse_factor, y, np.ones(len(y))))
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
    kernel_grad = np.array([*lengthscale_grad, scale_grad, noise_grad]) / 2
    log_density, log_density_grad = log_prior(log_params)
    weight_grad = np.array(
        [
            weight**2 * (covariance_grad * prior.covariance).sum() - weight * (alpha @ prior.mean)
            for weight, prior in zip(weights, priors, strict=True)
        ]
    )
    relative_weights = weights * len(priors)
    log_density += WEIGHT_SHAPE * (np.log(relative_weights) - relative_weights).sum()
    weight_grad -= WEIGHT_SHAPE * (1 - relative_weights)
    return float(value - log_density), np.array([*(kernel_grad - log_density_grad), *weight_grad])


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


class PriorProcess(NamedTuple):
    """Process of a prior task, and the factor with which the objective contains it."""

    gp: GaussianProcess
    weight: float


class GaussianProcess:
    """Posterior given training points (n, columns) and the values observed there (n).

    It is also conditioned on the training values of the prior tasks.
    """

    def __init__(
        self,
        kernel_params: KernelParams,
        column_to_dimension: Labels,
        x_train: Array,
        y_train: Array,
        priors: Sequence[PriorProcess] = (),
        log_density: float = math.nan,
    ) -> None:
        self.log_density = log_density
        """Log posterior density of the fitted parameters, up to a constant."""
        self.kernel_params, self.column_to_dimension = kernel_params, column_to_dimension
        self.x_train, self.y_train, self.priors = x_train, y_train, priors
        self.x_all = np.vstack([x_train, *(gp.x_train for gp, _ in priors)])
        """Training points of this task and then those of the prior tasks (all, columns)."""
        self._inverse_lengthscales = np.sqrt(
            kernel_params.inverse_squared_lengthscales[column_to_dimension]
        )
        self._output_variance = kernel_params.output_scale + sum(
            weight**2 * gp.kernel_params.output_scale for gp, weight in priors
        )
        self._inverse_factor = inverse_cholesky(self.train_covariance)
        y: Array = np.concatenate([y_train, *(gp.y_train - gp._mean for gp, _ in priors)])
        mean_mask = (np.arange(len(y)) < len(y_train)).astype(float)
        self._mean: float = estimate_mean(self._inverse_factor, y, mean_mask)
        self._alpha = self._inverse_factor.T @ (self._inverse_factor @ (y - self._mean * mean_mask))

    @cached_property
    def train_covariance(self) -> Array:
        """Covariance of the training values, observation noise included (all, all)."""
        own = len(self.x_train)
        covariance = block_diag(
            np.empty((own, own)), *(gp.train_covariance for gp, _ in self.priors)
        )
        covariance[:own] = self._cross_covariance(self.x_train)
        covariance[:, :own] = covariance[:own].T
        covariance[np.diag_indices(own)] += self.kernel_params.noise_variance
        return np.asarray(covariance)

    def kernel(self, x: Array, others: Array) -> Array:
        """Return the kernel between points (m, columns) and others (k, columns): (m, k)."""
        correlation, _ = matern52(
            cdist(
                x * self._inverse_lengthscales, others * self._inverse_lengthscales, "sqeuclidean"
            )
        )
        return self.kernel_params.output_scale * correlation

    def kernel_and_grad(self, x: Array, others: Array) -> tuple[Array, Array]:
        """Return the kernel between one point and others (k), and its gradient (k, columns)."""
        scaled_difference = (x - others) * self._inverse_lengthscales
        correlation, correlation_grad = matern52((scaled_difference**2).sum(1))
        grad = 2 * correlation_grad[:, None] * scaled_difference * self._inverse_lengthscales
        return (
            self.kernel_params.output_scale * correlation,
            self.kernel_params.output_scale * grad,
        )

    def _cross_covariance(self, x: Array) -> Array:
        """Return the covariance between points (m, columns) and the training values (m, all)."""
        blocks = [self.kernel(x, self.x_train)]
        for gp, weight in self.priors:
            blocks[0] += weight**2 * gp.kernel(x, self.x_train)
            blocks.append(weight * gp.kernel(x, gp.x_train))
        return np.hstack(blocks)

    def _cross_covariance_and_grad(self, x: Array) -> tuple[Array, Array]:
        """Return the covariance of one point (all), and its gradient (all, columns)."""
        own, own_grad = self.kernel_and_grad(x, self.x_train)
        covariances, grads = [own], [own_grad]
        for gp, weight in self.priors:
            covariance, grad = gp.kernel_and_grad(x, np.vstack([self.x_train, gp.x_train]))
            covariances[0] += weight**2 * covariance[: len(own)]
            grads[0] += weight**2 * grad[: len(own)]
            covariances.append(weight * covariance[len(own) :])
            grads.append(weight * grad[len(own) :])
        return np.concatenate(covariances), np.vstack(grads)

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation at points (m, columns), observation noise excluded."""
        covariance = self._cross_covariance(x)
        explained_variance = ((covariance @ self._inverse_factor.T) ** 2).sum(1)
        return self._mean + covariance @ self._alpha, self._std(explained_variance)

    def posterior_and_grad(self, x: Array) -> PosteriorAndGrad:
        """Return mean and standard deviation at one point, and the gradient of each."""
        covariance, covariance_grad = self._cross_covariance_and_grad(x)
        whitened = self._inverse_factor @ covariance
        std = float(self._std(whitened @ whitened))
        std_grad = -(self._inverse_factor.T @ whitened) @ covariance_grad / std
        return PosteriorAndGrad(
            float(self._mean + covariance @ self._alpha),
            std,
            self._alpha @ covariance_grad,
            std_grad,
        )

    def _std(self, explained_variance: Array) -> Array:
        return np.asarray(np.sqrt(np.maximum(self._output_variance - explained_variance, 1e-12)))

    def joint_posterior(self, x: Array) -> JointPosterior:
        """Return the joint posterior at points (n, columns) of a process without prior tasks."""
        whitened = self._inverse_factor @ self.kernel(self.x_train, x)
        return JointPosterior(self.posterior(x)[0], self.kernel(x, x) - whitened.T @ whitened)

    @cached_property
    def train_posterior_mean(self) -> Array:
        """Posterior mean at `x_all`: for own points the observed values with the noise removed."""
        return self.posterior(self.x_all)[0]

    def fantasize(self, x: Array) -> GaussianProcess:
        """Condition on more points, imputing their values with the posterior mean.

        This is the kriging believer: Ginsbourger et al., Kriging is well-suited to parallelize
        optimization (2010).
        """
        x, y = np.vstack([self.x_train, x]), np.concatenate([self.y_train, self.posterior(x)[0]])
        return GaussianProcess(self.kernel_params, self.column_to_dimension, x, y, self.priors)


def fit_gp(
    x: Array, y: Array, column_to_dimension: Labels, prior_gps: Sequence[GaussianProcess] = ()
) -> GaussianProcess:
    """Fit a process by maximum a posteriori; if there are too many points, to a subsample.

    Prior tasks without evidence or of little weight are left out, since even that would bias the
    search near its end. Without any points, it is the process expected from the prior tasks alone.
    """
    indices = subsample(y, MAX_FIT_POINTS)
    sq_distances = squared_distances(x[indices], column_to_dimension)
    priors = [gp.joint_posterior(x[indices]) for gp in prior_gps]
    initial_log_weights = [-math.log(len(priors)) for _ in priors]
    initial_log_params = np.array([*np.zeros(len(sq_distances)), 0.0, -4.0, *initial_log_weights])
    bounds = [(-12.0, 8.0)] * len(sq_distances) + [(-6.0, 4.0), (-20.0, 2.0)]
    bounds += [(-12.0, 4.0)] * len(priors)
    result = minimize(
        negative_log_posterior,
        initial_log_params,
        (sq_distances, y[indices], priors),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
    )
    log_params, log_weights = np.split(result.x, [len(sq_distances) + 2])
    weights = [float(weight) for weight in np.exp(log_weights)]
    related = [
        gp for gp, w in zip(prior_gps, weights, strict=True) if w * len(weights) > MIN_WEIGHT
    ]
    if len(related) < len(prior_gps):
        return fit_gp(x, y, column_to_dimension, related)
    log_density = -float(result.fun)
    if prior_gps and len(y):
        alone = fit_gp(x, y, column_to_dimension)
        if log_density < alone.log_density + MIN_LOG_EVIDENCE:
            return alone
    indices = subsample(y, MAX_TRAIN_POINTS)
    return GaussianProcess(
        KernelParams.from_log_params(log_params),
        column_to_dimension,
        x[indices],
        y[indices],
        list(map(PriorProcess, prior_gps, weights)),
        log_density,
    )


def subsample(y: Array, max_points: int) -> Labels:
    """Return the indices of at most `max_points` points: half the best, half the latest others."""
    order = np.argsort(y, kind="stable")
    best, rest = order[: max_points // 2], np.sort(order[max_points // 2 :])
    return np.concatenate([best, rest[-(max_points - len(best)) :]])
