"""Objective values: of prior tasks, and their normalization for the process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nn.sweeps.replication import robust_seed_effects
from nn.sweeps.samplers.gp.fit import MAX_TRAIN_POINTS, fit_gp, point_means, subsample
from nn.sweeps.samplers.gp.gaussian_process import GaussianProcess
from nn.sweeps.space import Point
from nn.types import Array, Labels

LINEAR_QUANTILES = (0.25, 0.8)
"""Quantiles of the objective up to which a normalization is close to linear.

With the lower one, the differences between good trials are not taken for noise where most others
are far worse. But it bends a smooth function so much that the search stays away from its minimum.
"""
LINEAR_QUANTILE = max(LINEAR_QUANTILES)
MIN_GAIN = 1.0
"""Minimum gain in the log density for which values are compressed more: less may be chance."""
MAX_TRAIN_RUNS = 400
"""Maximum number of runs that a proposal is based on, since its cost grows with their square."""
OUTLIER_DISTANCE = 100.0
"""Distance from the best value, in medians, beyond which a value is a gross outlier."""
MAX_VALUE = 1e300
"""Higher values are replaced by this, since their differences are infinite."""
MIN_OUTLIER_SHARE = 0.4
"""Expected share of outliers and failures around an outlier below which it is an accident."""
ACCIDENT_RATE = 1.0
"""Rate of the prior of the noise of whether a trial is an outlier: it may well be chance."""


@dataclass(frozen=True)
class PriorTask:
    """Trials of an earlier sweep, whose objective is related to that of this sweep, or not.

    A point may lack parameters, have others, or lie outside the space.
    """

    points: Sequence[Point]
    values: Sequence[float]
    """Objective to minimize at each point, on any scale; NaN if the trial failed."""


class Normalization(NamedTuple):
    """Transform of objective values to mean 0 and variance 1.

    High values are compressed by a logarithm: they may lie far above the rest, and their exact
    height does not matter for finding the minimum.
    """

    min: float
    scale: float
    mean: float
    std: float

    def inverse(self, y: Array) -> Array:
        """Return the objective of normalized values."""
        return np.asarray(self.min + self.scale * np.expm1(self.mean + self.std * y))

    def slope(self, y: Array) -> Array:
        """Return the derivative of `inverse`."""
        return np.asarray(np.exp(self.log_slope(y)))

    def log_slope(self, y: Array) -> Array:
        """Return the logarithm of `slope`, which may itself be too small for a number."""
        return np.asarray(math.log(self.scale) + math.log(self.std) + self.mean + self.std * y)


def normalize_objective(values: Array) -> Array:
    """Replace failed trials and gross outliers by the worst other value, and normalize all."""
    return fit_normalization(values)[0]


def fit_normalization(
    values: Array, linear_quantile: float = LINEAR_QUANTILE
) -> tuple[Array, Normalization]:
    """Return the values as `normalize_objective` does, and the transform that they went through."""
    above_best = _distances_from_best(values)
    worst = float(above_best.max(where=np.isfinite(above_best), initial=0.0))
    best = float(np.min(values, where=np.isfinite(values), initial=np.inf))
    if not worst:
        return np.zeros(len(values)), Normalization(best, 1.0, 0.0, 1.0)
    above_best = np.minimum(above_best, worst)
    scale = max(float(np.quantile(above_best[above_best > 0], linear_quantile)), 1e-9 * worst)
    compressed = np.log1p(above_best / scale)
    mean = compressed.mean()
    centered = compressed - mean
    std = centered.std()
    return np.asarray(centered / std), Normalization(best, scale, float(mean), float(std))


def fit_normalized_gp(
    x: Array,
    values: Array,
    column_to_dimension: Labels,
    prior_gps: Sequence[GaussianProcess],
    replicates: Labels,
) -> GaussianProcess:
    """Fit the process under the normalization by which values best predict each other.

    The measure is the leave-one-out density of the objective itself, which is comparable between
    normalizations: that of the normalized values, divided by the slope of `inverse`. See Snelson et
    al., Warped Gaussian processes (2004).
    """
    candidates: list[tuple[float, GaussianProcess]] = []
    for quantile in LINEAR_QUANTILES:
        y, normalization = fit_normalization(values, quantile)
        rows = np.sort(subsample(point_means(x, y) if replicates.any() else y, MAX_TRAIN_RUNS))
        gp = fit_gp(x[rows], y[rows], column_to_dimension, prior_gps, replicates[rows])
        log_slopes = normalization.log_slope(gp.y_train)
        density = gp.leave_one_out_log_density - float(log_slopes.sum())
        candidates.append((density + MIN_GAIN * (quantile == LINEAR_QUANTILE), gp))
    return max(candidates, key=itemgetter(0))[1]


def _distances_from_best(values: Array) -> Array:
    """Return how far values lie above the best, infinite for failed trials and gross outliers."""
    is_finite, values = np.isfinite(values), np.clip(values, -MAX_VALUE, MAX_VALUE)
    above_best = values - np.min(values, where=is_finite, initial=MAX_VALUE)
    usual = above_best[is_finite & (above_best > 0)]
    limit = OUTLIER_DISTANCE * np.median(usual) if len(usual) else 0.0
    return np.where(is_finite & (above_best <= limit), above_best, np.inf)


def is_accident(x: Array, values: Array, column_to_dimension: Labels) -> NDArray[np.bool_]:
    """Check for each gross outlier whether the trials near it had usual values.

    Trials that diverge for their settings do so together, and count as bad. What one shows alone
    says little about its settings but would hide what the others say: Martinez-Cantin et al.,
    Practical Bayesian optimization in the presence of outliers (2018).
    """
    is_outlier = np.isinf(_distances_from_best(values))
    result, latest = np.zeros(len(values), bool), slice(-MAX_TRAIN_POINTS, None)
    x, is_outlier = x[latest], is_outlier[latest]
    if is_outlier.any() and not is_outlier.all():
        share, std = is_outlier.mean(), is_outlier.std()
        y = (is_outlier - share) / std
        params = fit_gp(x, y, column_to_dimension, noise_rate=ACCIDENT_RATE).kernel_params
        gp = GaussianProcess(params, column_to_dimension, x, y)
        shares = share + std * gp.leave_one_out_mean
        result[latest] = is_outlier & (shares < MIN_OUTLIER_SHARE)
    return result & np.isfinite(values)


def has_failed_replicate(x: Array, replicates: Labels, values: Array) -> NDArray[np.bool_]:
    """Check for each run whether its point (n, columns) has a replicate that only failed (NaN).

    All runs of such a point count as failed: otherwise, the distance of the worst value from the
    others would be taken for noise.
    """
    if np.isfinite(values).all():
        return np.zeros(len(values), bool)
    _, points = np.unique(x, axis=0, return_inverse=True)
    _, pairs = np.unique(np.stack([points, replicates]), axis=1, return_inverse=True)
    is_failed_pair = np.bincount(pairs, np.isfinite(values)) == 0
    failed_points = points[is_failed_pair[pairs]]
    return np.isin(points, failed_points)


def estimate_seed_effects(x: Array, replicates: Labels, values: Array) -> Array:
    """Return `robust_seed_effects` of runs, to be removed before a logarithm compresses values."""
    if not replicates.any():
        return np.zeros(1)
    _, points = np.unique(x, axis=0, return_inverse=True)
    table = np.full((points.max(initial=-1) + 1, replicates.max(initial=0) + 1), np.nan)
    table[points, replicates] = values
    return robust_seed_effects(table)
