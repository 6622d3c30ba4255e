"""Replicates: runs of a point with several seeds, their means, and which points get more of them.

All points use the same seeds, so that an effect of a seed on all points alike cancels when they are
compared. Points race in rungs, as in asynchronous successive halving (Li et al., A System
for Massively Parallel Hyperparameter Tuning, 2020), but a rung drops a point only if the noise of
its runs does not explain that others came out better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, ndtri

from nn.types import Array, IntArray

SECOND_RUNG = 3
"""Seeds of the second rung; with fewer, the noise of a run cannot be estimated."""
SEARCH_REDUCTION = 3
"""While the search goes on, one point of this many in a rung is promoted."""
MAX_Z = 2.0
"""Bad luck, in standard errors, that is granted to a point before it is dropped.

It is chosen by simulation: of points that lead by a standard deviation of a run, racing drops less
than 10 % even if all others are equally good, which is the hardest case.
"""
MAX_VALUE = 1e150
"""Higher results are replaced by this, since their squares are infinite."""
VARIANCE_CONFIDENCE = 0.9
"""Confidence that the noise of runs is not higher than assumed, when few runs tell it."""
MIN_COMMON_POINTS = 5
"""Points with two seeds that it takes to estimate the difference of their effects."""


@dataclass(frozen=True)
class PointEstimates:
    """Estimates of points from results that are the sum of a point, a seed and noise."""

    means: Array
    """Results averaged over all seeds, also those that a point lacks (points); NaN if unknown."""
    std_errors: Array
    """Standard errors from the noise of all points together (points); NaN if unknown."""
    num_seeds: IntArray
    """Number of results of each point."""
    seed_effects: Array
    """How much higher results are with each seed, 0 on average (replicates)."""
    noise_std: float
    """Standard deviation of the noise; NaN if no point tells it."""


def estimate_points(values: Array) -> PointEstimates:
    """Estimate the additive model of points and seeds by least squares.

    The means are comparable even if one point happened to run with the seeds that give low results.

    Args:
        values: Results (points, replicates); NaN if missing, infinite if failed. A point with a
            failed replicate has an infinite mean and says nothing about the others.
    """
    values = _clip(values)
    is_failed = np.asarray(np.isinf(values).any(1))
    is_present = np.isfinite(values) & ~is_failed[:, None]
    counts = is_present.sum(1)
    shares = is_present / np.maximum(counts, 1)[:, None]  # of each replicate in its point's mean
    results = np.where(is_present, values, 0.0)
    own_means = (shares * results).sum(1)
    centered = np.where(is_present, results - own_means[:, None], 0.0)
    information = np.diag(is_present.sum(0)) - is_present.T @ shares
    covariance = np.linalg.pinv(information.astype(float), hermitian=True)
    effects = covariance @ centered.sum(0)
    contrasts = shares - 1 / max(values.shape[1], 1)
    residuals = centered - np.where(is_present, effects - (shares @ effects)[:, None], 0.0)
    degrees_of_freedom = int((counts - 1)[counts > 0].sum()) - np.linalg.matrix_rank(information)
    noise_std = math.nan
    if degrees_of_freedom > 0:
        noise_std = math.sqrt((residuals**2).sum() / degrees_of_freedom)
    variances = 1 / np.maximum(counts, 1) + ((contrasts @ covariance) * contrasts).sum(1)
    return PointEstimates(
        means=np.where(
            is_failed, np.inf, np.where(counts > 0, own_means - contrasts @ effects, np.nan)
        ),
        std_errors=np.where(counts > 0, noise_std * np.sqrt(variances), np.nan),
        num_seeds=np.isfinite(values).sum(1),
        seed_effects=effects,
        noise_std=noise_std,
    )


def robust_seed_effects(values: Array) -> Array:
    """Return the median difference of each seed's results from the first one's (replicates).

    Unlike least squares, it does not depend on the bad points, whose noise is often much higher;
    it is 0 for a seed that has run with few points.
    """
    values, effects = _clip(values), np.zeros(values.shape[1])
    for replicate in range(1, values.shape[1]):
        differences = values[:, replicate] - values[:, 0]
        differences = differences[np.isfinite(differences)]
        if len(differences) >= MIN_COMMON_POINTS:
            effects[replicate] = np.median(differences)
    return effects


def _clip(values: Array) -> Array:
    return np.where(np.isinf(values), np.inf, np.clip(values, -MAX_VALUE, MAX_VALUE))


def rungs(num_replicates: int, racing: bool = True) -> tuple[int, ...]:
    """Return the numbers of seeds at which points are compared; the last is that of the winner."""
    if not racing:
        return (num_replicates,)
    return (*(n for n in (1, SECOND_RUNG) if n < num_replicates), num_replicates)


def choose_promotion(
    values: Array, is_open: NDArray[np.bool_], rungs: Sequence[int], more_points: bool = False
) -> int | None:
    """Return the index of the point whose next replicate should run now, None if there is none.

    Points are compared on the seeds of a rung, which all points there have, and those in the
    highest rung come first. The choice depends on nothing else, so a resume makes the same one.

    Args:
        values: Results (points, replicates) to minimize; NaN if missing, infinite if failed.
        is_open: Whether each replicate is queued or running.
        rungs: Numbers of seeds, ascending.
        more_points: Whether the search will propose further points, so that most of the runs
            should be left to them.
    """
    num_started = np.where(is_open, 1, ~np.isnan(values)).sum(1)
    values = _clip(values)
    for point, target in _iter_promotable(values, rungs, more_points):
        if num_started[point] < target:
            return point
    return None


def _iter_promotable(
    values: Array, rungs: Sequence[int], more_points: bool
) -> Iterator[tuple[int, int]]:
    """Yield the points that may have the seeds of a rung, and their number, most urgent first."""
    noise_std = _noise_std(values[:, : rungs[min(1, len(rungs) - 1)]])
    for num_seeds, target in reversed([*zip((0, *rungs), rungs, strict=False)]):
        means = values[:, :num_seeds].mean(1) if num_seeds else np.zeros(len(values))
        is_failed = np.asarray(np.isinf(values).any(1))
        members = np.flatnonzero(~np.isnan(means))
        ranked = members[np.argsort(means[members], kind="stable")]
        if num_seeds:
            num_points = int((~np.isnan(values[:, : rungs[0]])).all(1).sum())
            if more_points:  # a new point is worth more than another seed of one clearly behind
                num_kept = _num_close(means[ranked], MAX_Z * math.sqrt(2 / num_seeds) * noise_std)
                num_kept = min(num_kept, len(ranked) // SEARCH_REDUCTION)
            else:
                num_kept = _num_contenders(means[ranked], num_points, num_seeds, noise_std)
            ranked = ranked[:num_kept]
        yield from ((int(point), target) for point in ranked if not is_failed[point])


def _num_close(means: Array, max_gap: float) -> int:
    return int((means <= means.min(initial=math.inf) + max_gap).sum())


def _num_contenders(means: Array, num_points: int, num_seeds: int, noise_std: float) -> int:
    """Return how many of the points in a rung, sorted by their means, can still be the best.

    Suppose that a point leads all others by a standard deviation of a run, but that its own mean is
    `MAX_Z` standard errors too high. Then `share` of all points are expected to come out better,
    those that an earlier rung dropped included, and the luckiest of them by `max_gap`. A point
    behind either is dropped.
    """
    share = float(ndtr(MAX_Z - math.sqrt(num_seeds)))
    luckiest = -float(ndtri(1 / (num_points + 1)))
    gap_in_stds = (MAX_Z + luckiest) / math.sqrt(num_seeds) - 1
    max_gap = noise_std * gap_in_stds if gap_in_stds > 0 else 0.0
    return min(math.ceil(share * num_points), _num_close(means, max_gap))


def _noise_std(values: Array) -> float:
    """Return an upper confidence limit of the noise of runs, infinite if it cannot be estimated.

    It is what remains of the complete rows after the effects of points and seeds.
    """
    values = values[np.isfinite(values).all(1)]
    num_points, num_seeds = values.shape
    degrees_of_freedom = (num_points - 1) * (num_seeds - 1)
    if degrees_of_freedom <= 0:
        return math.inf
    residuals = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return math.sqrt((residuals**2).sum() / chdtri(degrees_of_freedom, VARIANCE_CONFIDENCE))
