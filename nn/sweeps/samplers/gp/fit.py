"""Fit of the process's parameters: the most probable ones, or samples of them.

The weights of prior tasks are fitted along with the kernel of the difference from them. Prior tasks
are used only while they explain the observed values better than a process without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from nn.sweeps.samplers.gp.gaussian_process import (
    MIN_NOISE_VARIANCE,
    GaussianProcess,
    JointPosterior,
    KernelParams,
    PriorProcess,
    estimate_mean,
    inverse_cholesky,
    is_same_point,
    is_same_seed,
    matern52,
)
from nn.types import Array, Labels

MIN_CURVATURE = 0.25
"""Minimum curvature of the log posterior density around its mode that `sample_gps` assumes."""
MAX_FIT_POINTS, MAX_TRAIN_POINTS = 200, 1000
"""Maximum number of points to fit the kernel parameters to, and to condition the posterior on."""
NOISE_SHAPE, NOISE_RATE = 0.1, 30.0
"""Shape and rate of the gamma prior of the noise variance."""
SEED_RATE = 1.0
"""Rate of the gamma prior of the variance of seeds, lower since few seeds tell it poorly."""
WEIGHT_SHAPE = 0.1
"""Shape of the gamma prior of a prior task's weight: the lower, the easier it vanishes."""
MIN_WEIGHT = 0.1
"""Minimum weight of a prior task, times their number."""
MIN_LOG_EVIDENCE = 1.0
"""Minimum gain in the log posterior density for which prior tasks are used."""


def fit_gp(
    x: Array,
    y: Array,
    column_to_dimension: Labels,
    prior_gps: Sequence[GaussianProcess] = (),
    replicates: Labels | None = None,
    noise_rate: float = NOISE_RATE,
) -> GaussianProcess:
    """Fit a process by maximum a posteriori; if there are too many points, to a subsample.

    Prior tasks without evidence or of little weight are left out, since even that would bias the
    search near its end. Without any points, it is the process expected from the prior tasks alone.
    """
    if replicates is not None and len(set(replicates.tolist())) < 2:
        replicates = None  # neither own deviations nor effects of seeds can be told from noise
    order_by = y if replicates is None else point_means(x, y)
    indices = subsample(order_by, MAX_FIT_POINTS)
    sq_distances = squared_distances(x[indices], column_to_dimension)
    priors = [gp.joint_posterior(x[indices]) for gp in prior_gps]
    effects = []
    if replicates is not None:
        effects.append(is_same_point(x[indices], x[indices]))
        effects.append(is_same_seed(replicates[indices], replicates[indices]))
    initial_log_params = np.array(
        [
            *np.zeros(len(sq_distances)),
            *(0.0, -4.0),
            *(-4.0 for _ in effects),
            *(-math.log(len(priors)) for _ in priors),
        ]
    )
    bounds = [(-12.0, 8.0)] * len(sq_distances) + [(-6.0, 4.0), (-20.0, 2.0)]
    bounds += [(-20.0, 2.0)] * len(effects)
    bounds += [(-12.0, 4.0)] * len(priors)
    result = minimize(
        negative_log_posterior,
        initial_log_params,
        (sq_distances, y[indices], priors, effects, noise_rate),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
    )
    num_kernel_params = len(sq_distances) + 2
    log_params, log_effects, log_weights = np.split(
        result.x, [num_kernel_params, num_kernel_params + len(effects)]
    )
    weights = [float(weight) for weight in np.exp(log_weights)]
    related = [
        gp for gp, w in zip(prior_gps, weights, strict=True) if w * len(weights) > MIN_WEIGHT
    ]
    if len(related) < len(prior_gps):
        return fit_gp(x, y, column_to_dimension, related, replicates, noise_rate)
    log_density = -float(result.fun)
    if prior_gps and len(y):
        alone = fit_gp(x, y, column_to_dimension, (), replicates, noise_rate)
        if log_density < alone.log_density + MIN_LOG_EVIDENCE:
            return alone
    indices = subsample(order_by, MAX_TRAIN_POINTS)
    return GaussianProcess(
        KernelParams.from_log_params(log_params, log_effects),
        column_to_dimension,
        x[indices],
        y[indices],
        list(map(PriorProcess, prior_gps, weights)),
        log_density=log_density,
        replicates=None if replicates is None else replicates[indices],
    )


def negative_log_posterior(
    log_params: Array,
    sq_distances: Array,
    y: Array,
    priors: Sequence[JointPosterior] = (),
    effects: Sequence[Array] = (),
    noise_rate: float = NOISE_RATE,
) -> tuple[float, Array]:
    """Return the negative log posterior density, up to a constant, and its gradient.

    Args:
        log_params: Logarithms of the kernel parameters, of the variance of each effect, and of the
            weight of each prior task.
        sq_distances: Squared distances in each dimension: (dimensions, n, n).
        y: Values (n).
        priors: Posterior of each prior task's process at the same points.
        effects: 1 where values are of the same point, or seed, else 0: (n, n) each, or none.
        noise_rate: Rate of the prior of the noise, and of the points' own deviations.
    """
    num_kernel_params = len(sq_distances) + 2
    log_params, log_variances, log_weights = np.split(
        log_params, [num_kernel_params, num_kernel_params + len(effects)]
    )
    kernel_params = KernelParams.from_log_params(log_params)
    variances, weights = np.exp(log_variances), np.exp(log_weights)
    correlation, correlation_grad = matern52(
        np.tensordot(kernel_params.inverse_squared_lengthscales, sq_distances, 1)
    )
    covariance = kernel_params.output_scale * correlation
    for weight, prior in zip(weights, priors, strict=True):
        covariance += weight**2 * prior.covariance
        y = y - weight * prior.mean
    for variance, effect in zip(variances, effects, strict=True):
        covariance += variance * effect
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
    log_density, log_density_grad = log_prior(log_params, noise_rate)
    weight_grad = np.array(
        [
            weight**2 * (covariance_grad * prior.covariance).sum() - weight * (alpha @ prior.mean)
            for weight, prior in zip(weights, priors, strict=True)
        ]
    )
    effect_grad = np.array([(covariance_grad * effect).sum() for effect in effects]) / 2
    rates = np.array([noise_rate, SEED_RATE])[: len(effects)]
    effect_grad = variances * (effect_grad + rates) - NOISE_SHAPE
    log_density += NOISE_SHAPE * log_variances.sum() - rates @ variances
    relative_weights = weights * len(priors)
    log_density += WEIGHT_SHAPE * (np.log(relative_weights) - relative_weights).sum()
    weight_grad -= WEIGHT_SHAPE * (1 - relative_weights)
    grad = np.array([*(kernel_grad - log_density_grad), *effect_grad, *weight_grad])
    return float(value - log_density), grad


def log_prior(log_params: Array, noise_rate: float = NOISE_RATE) -> tuple[float, Array]:
    """Return the log prior for points in the unit cube, up to a constant, and its gradient.

    The priors are those of Optuna's Gaussian process: lengthscales neither tiny nor huge, an output
    scale around 1 and little noise.
    """
    inverse_squared_lengthscales = np.exp(log_params[:-2])
    output_scale, noise = np.exp(log_params[-2:])
    value = -0.1 * (inverse_squared_lengthscales + 1 / inverse_squared_lengthscales).sum()
    value += log_params[-2] - output_scale + NOISE_SHAPE * log_params[-1] - noise_rate * noise
    lengthscale_grad = -0.1 * (inverse_squared_lengthscales - 1 / inverse_squared_lengthscales)
    return float(value), np.array(
        [*lengthscale_grad, 1 - output_scale, NOISE_SHAPE - noise_rate * noise]
    )


def squared_distances(x: Array, column_to_dimension: Labels) -> Array:
    """Return the squared distances between points in each dimension: (dimensions, n, n)."""
    dimensions = range(column_to_dimension.max() + 1)
    blocks = [x[:, column_to_dimension == dimension] for dimension in dimensions]
    return np.stack([cdist(block, block, "sqeuclidean") for block in blocks])


def sample_gps(
    gp: GaussianProcess, num_samples: int, noise_rate: float
) -> list[tuple[float, GaussianProcess]]:
    """Sample processes without prior tasks from the posterior of their parameters, with weights.

    Few values leave the noise uncertain, and the most probable one alone would be overconfident.
    The samples are from a normal approximation around it, reweighted by importance.
    """
    x, y, params = gp.x_train, gp.y_train, gp.kernel_params
    sq_distances = squared_distances(x, gp.column_to_dimension)
    effects = (
        [is_same_point(x, x), is_same_seed(gp.replicates, gp.replicates)]
        if params.seed_variance
        else []
    )
    excess_noise = max(params.noise_variance - MIN_NOISE_VARIANCE, 1e-9)
    kernel = [*params.inverse_squared_lengthscales, params.output_scale, excess_noise]
    variances = [params.point_variance, params.seed_variance] if effects else []
    mode = np.log([*kernel, *variances])

    def value_and_grad(log_params: Array) -> tuple[float, Array]:
        return negative_log_posterior(log_params, sq_distances, y, (), effects, noise_rate)

    step = 1e-3
    steps = step * np.eye(len(mode))
    hessian = np.array(
        [(value_and_grad(mode + s)[1] - value_and_grad(mode - s)[1]) / (2 * step) for s in steps]
    )
    eigenvalues, eigenvectors = np.linalg.eigh((hessian + hessian.T) / 2)
    scales = 1 / np.sqrt(np.maximum(eigenvalues, MIN_CURVATURE))
    normal = np.random.default_rng(0).normal(size=(num_samples, len(mode)))
    samples = np.clip(mode + normal * scales @ eigenvectors.T, -20.0, 8.0)
    log_weights = np.array(
        [
            z @ z / 2 - value_and_grad(log_params)[0]
            for z, log_params in zip(normal, samples, strict=True)
        ]
    )
    weights = np.exp(log_weights - log_weights.max())
    num_kernel_params = len(kernel)
    return [
        (
            float(weight),
            GaussianProcess(
                KernelParams.from_log_params(
                    log_params[:num_kernel_params], log_params[num_kernel_params:]
                ),
                gp.column_to_dimension,
                x,
                y,
                replicates=gp.replicates,
            ),
        )
        for weight, log_params in zip(weights / weights.sum(), samples, strict=True)
    ]


def point_means(x: Array, y: Array) -> Array:
    """Return for each run the mean of its point, so that no point is chosen for a lucky run."""
    _, labels = np.unique(x, axis=0, return_inverse=True)
    return np.asarray((np.bincount(labels, y) / np.bincount(labels))[labels])


def subsample(y: Array, max_points: int) -> Labels:
    """Return the indices of at most `max_points` points: half the best, half the latest others."""
    order = np.argsort(y, kind="stable")
    best, rest = order[: max_points // 2], np.sort(order[max_points // 2 :])
    return np.concatenate([best, rest[-(max_points - len(best)) :]])
