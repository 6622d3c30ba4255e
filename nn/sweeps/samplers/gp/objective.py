"""Objective values: of prior tasks, and their normalization for the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nn.sweeps.space import Point
from nn.types import Array

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


def normalize_objective(values: Array) -> Array:
    """Replace failed trials by the worst value, and transform all to mean 0 and variance 1.

    High values are compressed by a logarithm: they may lie far above the rest, and their exact
    height does not matter for finding the minimum.
    """
    finite_values = values[np.isfinite(values)]
    if not len(finite_values):
        return np.zeros(len(values))
    values = np.clip(np.where(np.isfinite(values), values, finite_values.max()), -1e300, 1e300)
    above_best = values - values.min()
    scale = max(np.quantile(above_best, LINEAR_QUANTILE), 1e-9 * above_best.max()) or 1.0
    compressed = np.log1p(above_best / scale)
    centered = compressed - compressed.mean()
    return np.asarray(centered / (centered.std() or 1.0))
