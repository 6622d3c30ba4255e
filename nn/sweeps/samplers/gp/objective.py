"""Objective values: of prior tasks, and their normalization for the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nn.sweeps.replication import robust_seed_effects
from nn.sweeps.space import Point
from nn.types import Array, Labels

LINEAR_QUANTILE = 0.8
"""Quantile of the objective up to which `normalize_objective` is close to linear."""


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
        return np.asarray(self.scale * self.std * np.exp(self.mean + self.std * y))


def normalize_objective(values: Array) -> Array:
    """Replace failed trials by the worst value, and normalize all."""
    return fit_normalization(values)[0]


def fit_normalization(values: Array) -> tuple[Array, Normalization]:
    """Return the values as `normalize_objective` does, and the transform that they went through."""
    finite_values = values[np.isfinite(values)]
    if not len(finite_values):
        return np.zeros(len(values)), Normalization(0.0, 1.0, 0.0, 1.0)
    values = np.clip(np.where(np.isfinite(values), values, finite_values.max()), -1e300, 1e300)
    above_best = values - values.min()
    scale = max(np.quantile(above_best, LINEAR_QUANTILE), 1e-9 * above_best.max()) or 1.0
    compressed = np.log1p(above_best / scale)
    mean = compressed.mean()
    centered = compressed - mean
    std = centered.std() or 1.0
    return np.asarray(centered / std), Normalization(*map(float, (values.min(), scale, mean, std)))


def has_failed_replicate(x: Array, replicates: Labels, values: Array) -> NDArray[np.bool_]:
    """Check for each run whether its point (n, columns) has a replicate that only failed (NaN).

    All runs of such a point count as failed: otherwise, the distance of the worst value from the
    others would be taken for noise.
    """
    _, points = np.unique(x, axis=0, return_inverse=True)
    _, pairs = np.unique(np.stack([points, replicates]), axis=1, return_inverse=True)
    is_failed_pair = np.bincount(pairs, np.isfinite(values)) == 0
    failed_points = points[is_failed_pair[pairs]]
    return np.isin(points, failed_points)


def estimate_seed_effects(x: Array, replicates: Labels, values: Array) -> Array:
    """Return `robust_seed_effects` of runs, to be removed before a logarithm compresses values."""
    _, points = np.unique(x, axis=0, return_inverse=True)
    table = np.full((points.max(initial=-1) + 1, replicates.max(initial=0) + 1), np.nan)
    table[points, replicates] = values
    return robust_seed_effects(table)
