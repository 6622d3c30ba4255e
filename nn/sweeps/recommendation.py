"""Which tried point is really the best, given that every result is partly luck.

The recommended point has the lowest posterior mean of a Gaussian process, in which the results of
its neighbors count along with its own, and a lucky seed counts less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from optuna.trial import TrialState
from scipy.special import ndtr

from nn.errors import format_value
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.samplers.gp.fit import (
    MAX_FIT_POINTS,
    fit_gp,
    point_means,
    sample_gps,
    subsample,
)
from nn.sweeps.samplers.gp.gaussian_process import GaussianProcess, JointPosterior
from nn.sweeps.samplers.gp.objective import (
    estimate_seed_effects,
    fit_normalization,
    has_failed_replicate,
)
from nn.sweeps.samplers.gp.unit_cube import UnitCube
from nn.sweeps.schema import Metric
from nn.sweeps.space import SearchSpace
from nn.types import Array

SEED_PARAMETER = "seed"
"""A parameter of this name is not one of the point: its values are replicates."""
MIN_PROBABILITY = 0.05
"""Probability of being better that makes a point indistinguishable from the recommended one."""
NUM_SAMPLES = 4000
"""Samples of the posterior: the error of a probability of 5 % is then 0.3 %."""
NUM_PARAM_SAMPLES = 16
"""Samples of the kernel's parameters and the noise, if there are few runs."""
MAX_CANDIDATES = 500
"""Points with the best results; all others are too far behind to be estimated."""
MAX_SAMPLED_POINTS = 100
"""Points that can be the best; the probability of all others is 0."""
NOISE_RATE = 1.0
"""Rate of the prior of the noise: much noise costs a search little, but a wrong winner is luck."""
OWN_SHARE = 0.2
"""Share of the noise that is a point's own deviation, if one seed does not tell."""
MAX_RUNS = 600
"""Maximum number of runs to condition the posterior on, so that it takes half a second."""


@dataclass(frozen=True)
class PointEstimate:
    """Estimates of a tried point, in units of the metric."""

    number: int
    """Number of its first trial."""
    num_seeds: int
    mean: float
    """Posterior mean of the metric, averaged over the sweep's seeds."""
    std_error: float
    """Posterior standard deviation."""
    probability_best: float
    """Probability that it is the best of the tried points."""


@dataclass(frozen=True)
class Recommendation:
    """Estimates of tried points, in the order of their first trials.

    Of many, only the `MAX_CANDIDATES` with the best results are estimated.
    """

    points: Sequence[PointEstimate]
    best: int
    """Index of the recommended point."""
    contenders: Sequence[int]
    """Indices of points indistinguishable from it, the most probable first."""


def recommend(
    space: SearchSpace, metric: Metric, trials: Sequence[ObservedTrial]
) -> Recommendation | None:
    """Estimate the expected result of each tried point; return None if none has a result.

    A point with a failed replicate has failed, and one whose runs were all pruned is not
    recommended. Trials before an edit of the space are left out.
    """
    cube, runs = _separate_seeds(space, trials)
    if not runs:
        return None
    x, column_to_dimension = np.zeros((len(runs), 1)), np.zeros(1, int)
    if cube.dimensions:
        x = np.array([cube.extrapolate(run.point) for run in runs])
        column_to_dimension = cube.column_to_dimension
    values = np.array([math.nan if run.value is None else run.value for run in runs])
    replicates = np.array([run.replicate for run in runs])
    values[has_failed_replicate(x, replicates, values)] = math.nan
    is_candidate = np.isfinite(values) & [run.state == TrialState.COMPLETE for run in runs]
    if not is_candidate.any():
        return None
    seed_effects = estimate_seed_effects(x, replicates, values)
    mean_seed_effect = seed_effects[np.unique(replicates)].mean()
    y, normalization = fit_normalization(values - seed_effects[replicates])
    rows = subsample(point_means(x, y), MAX_RUNS)
    _, first_runs, labels = np.unique(
        x[is_candidate], axis=0, return_index=True, return_inverse=True
    )
    num_seeds = np.bincount(labels)
    order = np.argsort(first_runs)
    candidates = np.flatnonzero(is_candidate)[first_runs[order]]
    best_first = point_means(x, y)[candidates].argsort(kind="stable")
    kept = np.sort(best_first[:MAX_CANDIDATES])
    candidates, order = candidates[kept], order[kept]
    gp = fit_gp(
        x[rows], y[rows], column_to_dimension, replicates=replicates[rows], noise_rate=NOISE_RATE
    )
    posterior, gp_seed_effect = _joint_posterior(gp, x[candidates])
    means = posterior.mean + gp_seed_effect
    stds = np.sqrt(np.maximum(np.diag(posterior.covariance), 0.0))
    std_errors = stds * normalization.slope(means)
    probabilities = _probabilities_best(posterior)
    estimates = [
        PointEstimate(
            number=runs[run].number,
            num_seeds=int(num_seeds[label]),
            mean=metric.minimization_sign * float(mean + mean_seed_effect),
            std_error=float(std_error) if y.any() else math.nan,
            probability_best=float(probability),
        )
        for run, label, mean, std_error, probability in zip(
            candidates, order, normalization.inverse(means), std_errors, probabilities, strict=True
        )
    ]
    best = int(posterior.mean.argmin())
    return Recommendation(estimates, best, _contenders(posterior, best))


def _joint_posterior(gp: GaussianProcess, x: Array) -> tuple[JointPosterior, float]:
    """Return the posterior at points and the mean effect of seeds, for uncertain parameters."""
    weighted_gps = [(1.0, gp)]
    if len(gp.x_train) <= MAX_FIT_POINTS:
        weighted_gps = sample_gps(gp, NUM_PARAM_SAMPLES, NOISE_RATE)
    weights = np.array([weight for weight, _ in weighted_gps])
    gps = [_split_noise(gp) for _, gp in weighted_gps]
    posteriors = [gp.joint_posterior(x) for gp in gps]
    means = np.array([posterior.mean for posterior in posteriors])
    mean = weights @ means
    covariance = (means - mean).T @ (weights[:, None] * (means - mean))
    for weight, posterior in zip(weights, posteriors, strict=True):
        covariance += weight * posterior.covariance
    seed_effect = float(weights @ [gp.mean_seed_effect for gp in gps])
    return JointPosterior(mean, covariance), seed_effect


def _split_noise(gp: GaussianProcess) -> GaussianProcess:
    """Split the noise by an assumption if there is one seed only."""
    params = gp.kernel_params
    if params.seed_variance:
        return gp
    own_variance = OWN_SHARE * params.noise_variance
    params = replace(
        params, noise_variance=params.noise_variance - own_variance, point_variance=own_variance
    )
    return GaussianProcess(params, gp.column_to_dimension, gp.x_train, gp.y_train)


def _separate_seeds(
    space: SearchSpace, trials: Sequence[ObservedTrial]
) -> tuple[UnitCube, list[ObservedTrial]]:
    """Return the last finished run of each replicate, with the number of the point's first trial.

    If the sweep file has a parameter `seed`, its values are the replicates.
    """
    runs: dict[tuple[str, int], ObservedTrial] = {}
    first_numbers: dict[str, int] = {}
    seeds: dict[str, int] = {}
    for trial in trials:
        if trial.task:
            continue
        point, replicate = dict(trial.point), trial.replicate
        if SEED_PARAMETER in point:
            replicate = seeds.setdefault(format_value(point.pop(SEED_PARAMETER)), len(seeds))
        key = " ".join(f"{name}={format_value(point[name])}" for name in sorted(point))
        number = first_numbers.setdefault(key, trial.number)
        if trial.state.is_finished():
            runs[key, replicate] = replace(trial, number=number, point=point, replicate=replicate)
    parameters = {
        name: distribution
        for name, distribution in space.parameters.items()
        if name != SEED_PARAMETER
    }
    return UnitCube(SearchSpace(parameters)), list(runs.values())


def _probabilities_best(posterior: JointPosterior) -> Array:
    """Return the probability that each point is the best, from samples of the joint posterior."""
    stds = np.sqrt(np.maximum(np.diag(posterior.covariance), 0.0))
    likely = np.argsort(posterior.mean - stds, kind="stable")[:MAX_SAMPLED_POINTS]
    samples = np.random.default_rng(0).multivariate_normal(
        posterior.mean[likely],
        posterior.covariance[np.ix_(likely, likely)],
        NUM_SAMPLES,
        check_valid="ignore",  # rounding may make it indefinite
        method="eigh",
    )
    probabilities = np.zeros(len(posterior.mean))
    probabilities[likely] = np.bincount(samples.argmin(1), minlength=len(likely)) / NUM_SAMPLES
    return probabilities


def _contenders(posterior: JointPosterior, best: int) -> list[int]:
    """Return the points that may well be better than the recommended one."""
    mean, covariance = posterior
    variances = np.diag(covariance) + covariance[best, best] - 2 * covariance[best]
    gaps = (mean - mean[best]) / np.sqrt(np.maximum(variances, 1e-12))
    is_contender = ndtr(-gaps) >= MIN_PROBABILITY
    is_contender[best] = False
    return [int(index) for index in np.argsort(gaps, kind="stable") if is_contender[index]]
