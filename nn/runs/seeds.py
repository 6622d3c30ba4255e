"""Runs that differ in their seed only: groups, means with their spread, paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import JsonValue

from nn.errors import format_value
from nn.types import Array

T = TypeVar("T")

SEED = "seed"
"""Name of the setting in which the runs of a group differ."""
CONFIDENCE = 0.95
"""Probability with which an interval contains the true difference."""


@dataclass(frozen=True)
class SeedGroup:
    """Runs whose settings are equal but for the seed."""

    settings: Mapping[str, JsonValue]
    """Without the seed."""
    seeds: dict[int, str]
    """Seed of each run, by the run's index."""

    def by_seed(self, values: Mapping[int, T | None] | Sequence[T | None]) -> dict[str, T]:
        """Return the known values of these runs by seed, of runs with the same seed the last."""
        known = ((seed, values[index]) for index, seed in self.seeds.items())
        return {seed: value for seed, value in known if value is not None}


def group_by_seed(runs: Sequence[Mapping[str, JsonValue]]) -> list[SeedGroup]:
    """Group runs by all of their settings but the seed, in the order of their first runs."""
    groups: dict[str, SeedGroup] = {}
    for index, settings in enumerate(runs):
        others = {name: value for name, value in settings.items() if name != SEED}
        group = groups.setdefault(repr(sorted(others.items())), SeedGroup(others, {}))
        group.seeds[index] = format_value(settings.get(SEED))
    return [*groups.values()]


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation, which a single value does not have."""
    return mean(values), stdev(values) if len(values) > 1 else None


class MeanCurve(NamedTuple):
    """Mean of curves and their sample standard deviation, NaN where there is only one of them."""

    x: Array
    mean: Array
    std: Array


def average_curves(
    curves: Sequence[tuple[Sequence[float], Sequence[float | None]]],
) -> MeanCurve:
    """Average curves, each (x, y), at all of their x, with linear interpolation between points."""
    arrays = [np.array(curve, np.float64) for curve in curves]
    known = [each[:, np.isfinite(each).all(0)] for each in arrays]
    known = [each for each in known if each.size]
    grid = np.unique(np.concatenate([[], *(x for x, _ in known)]))
    interpolated = [np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in known]
    rows = np.reshape(interpolated, (len(known), len(grid)))
    count = np.isfinite(rows).sum(0)
    mean = np.nansum(rows, 0) / count
    squares = np.nansum((rows - mean) ** 2, 0)
    std = np.sqrt(np.where(count > 1, squares, np.nan) / np.maximum(count - 1, 1))
    return MeanCurve(grid, mean, std)


@dataclass(frozen=True)
class PairedDifference:
    """Difference between two settings in a score, over the seeds that both have."""

    means: tuple[float, float]
    difference: float
    """Second minus first."""
    interval: tuple[float, float] | None
    """Of the difference, by Student's t-test for pairs; None for a single pair."""
    num_seeds: int


def compare_paired(
    first: Mapping[str, float], second: Mapping[str, float]
) -> PairedDifference | None:
    """Compare the scores of two settings by seed; None if they have no seed in common.

    With common seeds, what a seed does to both settings alike, such as its split of the data, does
    not count as noise.
    """
    from scipy.special import stdtrit

    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return None
    difference, std = mean_and_std([second[seed] - first[seed] for seed in seeds])
    interval = None
    if std is not None:
        quantile = float(stdtrit(len(seeds) - 1, (1 + CONFIDENCE) / 2))
        margin = quantile * std / math.sqrt(len(seeds))
        interval = difference - margin, difference + margin
    means = mean(first[seed] for seed in seeds), mean(second[seed] for seed in seeds)
    return PairedDifference(means, difference, interval, len(seeds))
