"""Gaussian process regression with a Matérn 5/2 kernel and one lengthscale per parameter.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapters 2, 4 and 5.

With prior tasks, the objective is a weighted sum of their processes and of one for the difference:
the co-kriging of Kennedy and O'Hagan, Predicting the output from a complex computer code when fast
approximations are available (2000). If the difference from a task becomes small, its values count
like observations of the objective.

With replicates, a training value is the result of a run: the objective at a point, plus the point's
own deviation from the smooth function, plus the effect of the seed on all points alike, plus noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag, cholesky
from scipy.linalg.blas import dtrmm, dtrmv
from scipy.linalg.lapack import dtrtri
from scipy.spatial.distance import cdist

from nn.types import Array, Labels

MIN_NOISE_VARIANCE = 1e-7
"""Lower limit of the noise variance, for values of variance 1; keeps matrices invertible."""


@dataclass(frozen=True)
class KernelParams:
    """Parameters of the kernel and the observation noise."""

    inverse_squared_lengthscales: Array
    """One for each dimension."""
    output_scale: float
    noise_variance: float
    point_variance: float = 0.0
    """Variance of a point's own deviation, part of the noise unless there are replicates."""
    seed_variance: float = 0.0
    """Variance of the effect of a seed, part of the mean unless there are replicates."""

    @classmethod
    def from_log_params(cls, log_params: Array, log_effects: Array | None = None) -> KernelParams:
        """Create from logarithms; that of the noise is of its excess over `MIN_NOISE_VARIANCE`."""
        *inverse_squared_lengthscales, output_scale, excess_noise = np.exp(log_params)
        return cls(
            np.array(inverse_squared_lengthscales),
            float(output_scale),
            float(excess_noise) + MIN_NOISE_VARIANCE,
            *([] if log_effects is None else map(float, np.exp(log_effects))),
        )


def matern52(sq_distances: Array) -> tuple[Array, Array]:
    """Return the Matérn 5/2 kernel, and its derivative with respect to the squared distance."""
    root = np.sqrt(5 * sq_distances)
    decay = np.exp(-root)
    return (1 + root + root**2 / 3) * decay, -5 / 6 * (1 + root) * decay


def inverse_cholesky(covariance: Array) -> Array:
    """Return L^-1 for the covariance L L^T of the observed values (n, n)."""
    if not len(covariance):  # which LAPACK refuses
        return covariance
    return np.asarray(dtrtri(cholesky(covariance, lower=True), lower=1)[0])


def estimate_mean(inverse_factor: Array, y: Array, mean_mask: Array) -> float:
    """Return the generalized least-squares estimate of the constant mean, 0 if nothing has it.

    Unlike the average, it counts a cluster of correlated values as little more than one. The mask
    is 1 where the constant is the mean, and 0 where the mean is known to be 0.
    """
    whitened_mask = inverse_factor @ mean_mask
    norm = whitened_mask @ whitened_mask
    return float(whitened_mask @ (inverse_factor @ y) / (norm or 1.0))


def is_same_point(x: Array, others: Array) -> Array:
    """Return 1 where points (m, columns) equal others (k, columns), else 0: (m, k)."""
    return np.asarray(cdist(x, others, "chebyshev") == 0, float)


def is_same_seed(replicates: Labels, others: Labels) -> Array:
    """Return 1 where runs (m) have the seed of others (k), else 0: (m, k)."""
    return np.asarray(replicates[:, None] == others, float)


class JointPosterior(NamedTuple):
    """Posterior at n points: mean (n) and covariance (n, n)."""

    mean: Array
    covariance: Array


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
        *,
        log_density: float = math.nan,
        replicates: Labels | None = None,
    ) -> None:
        self.log_density = log_density
        """Log posterior density of the fitted parameters, up to a constant."""
        self.kernel_params, self.column_to_dimension = kernel_params, column_to_dimension
        self.x_train, self.y_train, self.priors = x_train, y_train, priors
        self.replicates = np.zeros(len(y_train), int) if replicates is None else replicates
        """Index of the seed of each training value."""
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
        covariance[:own] = self._run_covariance(self.x_train, self.replicates)
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

    def _point_covariance(self, x: Array) -> Array:
        """Return the covariance as `_cross_covariance`, with the points' own deviations."""
        covariance = self._cross_covariance(x)
        if self.kernel_params.point_variance:
            same_point = is_same_point(x, self.x_train)
            covariance[:, : len(self.x_train)] += self.kernel_params.point_variance * same_point
        return covariance

    def _run_covariance(self, x: Array, replicates: Labels) -> Array:
        """Return the covariance as `_point_covariance`, with the effects of seeds."""
        covariance = self._point_covariance(x)
        if self.kernel_params.seed_variance:
            same_seed = is_same_seed(replicates, self.replicates)
            covariance[:, : len(self.x_train)] += self.kernel_params.seed_variance * same_seed
        return covariance

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
        whitened = dtrmm(1.0, self._inverse_factor, covariance.T, lower=1)
        explained_variance = (whitened**2).sum(0)
        return self._mean + covariance @ self._alpha, self._std(explained_variance)

    def posterior_and_grad(self, x: Array) -> PosteriorAndGrad:
        """Return mean and standard deviation at one point, and the gradient of each."""
        covariance, covariance_grad = self._cross_covariance_and_grad(x)
        whitened = dtrmv(self._inverse_factor, covariance, lower=1)
        std = float(self._std(whitened @ whitened))
        precision = dtrmv(self._inverse_factor, whitened, lower=1, trans=1)
        std_grad = -precision @ covariance_grad / std
        return PosteriorAndGrad(
            float(self._mean + covariance @ self._alpha),
            std,
            self._alpha @ covariance_grad,
            std_grad,
        )

    def _std(self, explained_variance: Array) -> Array:
        return np.asarray(np.sqrt(np.maximum(self._output_variance - explained_variance, 1e-12)))

    def joint_posterior(self, x: Array) -> JointPosterior:
        """Return the joint posterior at points (n, columns) of a process without prior tasks.

        It is that of the points' expected results: own deviations included, effects of seeds not.
        """
        covariance, prior = self._point_covariance(x), self.kernel(x, x)
        if self.kernel_params.point_variance:
            prior += self.kernel_params.point_variance * is_same_point(x, x)
        whitened = self._inverse_factor @ covariance.T
        return JointPosterior(self._mean + covariance @ self._alpha, prior - whitened.T @ whitened)

    @cached_property
    def train_posterior_mean(self) -> Array:
        """Posterior mean at `x_all`: for own points the observed values with the noise removed."""
        return self._mean + self._point_covariance(self.x_all) @ self._alpha

    @property
    def leave_one_out_mean(self) -> Array:
        """Posterior mean of each own training value given all others.

        Rasmussen and Williams, equation 5.12; the constant mean stays as it is.
        """
        return np.asarray(self.y_train - self._alpha[: len(self.y_train)] / self._precisions)

    @property
    def leave_one_out_log_density(self) -> float:
        """Sum of the log density of each own training value given all others, up to a constant.

        Rasmussen and Williams, equations 5.10 and 5.11.
        """
        residuals = self.y_train - self.leave_one_out_mean
        return float((np.log(self._precisions) - self._precisions * residuals**2).sum() / 2)

    @property
    def _precisions(self) -> Array:
        """Precision of each own training value given all others."""
        return np.asarray((self._inverse_factor**2).sum(0)[: len(self.y_train)])

    @property
    def mean_seed_effect(self) -> float:
        """Posterior mean of the effect of a seed, averaged over the seeds that runs have."""
        seeds = np.unique(self.replicates)
        own_alpha = self._alpha[: len(self.replicates)]
        effects = is_same_seed(seeds, self.replicates) @ own_alpha
        return float(self.kernel_params.seed_variance * effects.mean()) if len(seeds) else 0.0

    def fantasize(self, x: Array, replicates: Labels | None = None) -> GaussianProcess:
        """Condition on more points, imputing their values with the posterior mean.

        This is the kriging believer: Ginsbourger et al., Kriging is well-suited to parallelize
        optimization (2010).
        """
        replicates = np.zeros(len(x), int) if replicates is None else replicates
        means = self._mean + self._run_covariance(x, replicates) @ self._alpha
        return GaussianProcess(
            self.kernel_params,
            self.column_to_dimension,
            np.vstack([self.x_train, x]),
            np.concatenate([self.y_train, means]),
            self.priors,
            replicates=np.concatenate([self.replicates, replicates]),
        )
