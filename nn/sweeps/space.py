"""Search space of a sweep: points with W&B's semantics, and their representation in Optuna."""

from __future__ import annotations

import math
import sys
from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple, TypeAlias, TypeGuard

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import JsonValue

from nn.config.overrides import to_overrides
from nn.errors import format_value
from nn.sweeps.distributions import (
    Distribution,
    IntUniform,
    LazySequence,
    ParameterValue,
    QUniform,
    is_number,
)

Point: TypeAlias = dict[str, ParameterValue]
"""A value for each parameter, as the sweep file means them."""
OptunaValue: TypeAlias = int | float | str
OptunaParams: TypeAlias = dict[str, OptunaValue]
"""A point as Optuna stores it, with categories as text."""
PointKey: TypeAlias = tuple[str, ...]
MAX_ENUMERATED_POINTS = 10**6
"""Larger spaces are not enumerated to find an untried point."""
MAX_CATEGORIES = 10**4
"""A quantized range with more steps is a float distribution in Optuna, not a categorical one."""


class SearchSpace:
    """All parameters of a sweep, sorted by name; a point has one value for each."""

    def __init__(self, parameters: Mapping[str, Distribution]) -> None:
        self.parameters = dict(sorted(parameters.items()))
        self.optuna_distributions = {
            name: _to_optuna_distribution(distribution)
            for name, distribution in self.parameters.items()
        }
        self.category_values: dict[str, dict[OptunaValue, ParameterValue]] = {
            name: {format_value(value): value for value in self.parameters[name].list_values()}
            for name, distribution in self.optuna_distributions.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        """Values by the text that Optuna stores for them, for each categorical parameter."""

    @property
    def num_points(self) -> float:
        """Number of points, infinite if a parameter is continuous."""
        if not all(distribution.is_discrete for distribution in self.parameters.values()):
            return math.inf
        return math.prod(distribution.num_values for distribution in self.parameters.values())

    def grid(self) -> LazySequence[Point]:
        """Return all points lazily, in W&B's order: the last parameter varies fastest."""
        values = {
            name: distribution.list_values() for name, distribution in self.parameters.items()
        }
        counts = {name: distribution.num_values for name, distribution in self.parameters.items()}

        def point_at(index: int) -> Point:
            chosen = {}
            for name in reversed(values):
                index, value_index = divmod(index, counts[name])
                chosen[name] = values[name][value_index]
            return {name: chosen[name] for name in values}

        return LazySequence(math.prod(counts.values()), point_at)

    def sample_untried(self, rng: np.random.Generator, tried: Iterable[Point]) -> Point:
        """Draw a point that has not been tried, or any point if none is left."""
        tried_keys = {point_key(point) for point in tried if self.is_complete(point)}
        return self.sample_without(rng, tried_keys)

    def sample_without(self, rng: np.random.Generator, tried_keys: Container[PointKey]) -> Point:
        """Draw a point whose key is not among those of tried points, or any if none is left.

        Rejection sampling comes first; a small space is enumerated when that fails.
        """
        for _ in range(100):
            point = {
                name: distribution.ppf(rng.random())
                for name, distribution in self.parameters.items()
            }
            if point_key(point) not in tried_keys:
                return point
        if self.num_points <= MAX_ENUMERATED_POINTS:
            untried = [other for other in self.grid() if point_key(other) not in tried_keys]
            if untried:
                return untried[int(rng.integers(len(untried)))]
        return point

    def contains(self, point: Mapping[str, ParameterValue]) -> bool:
        """Check whether a point has a possible value for each parameter, and no other values."""
        if not self.is_complete(point):
            return False
        point = {name: point[name] for name in self.parameters}
        try:
            return point_key(self.from_optuna(self.to_optuna(point))) == point_key(point)
        except (KeyError, ValueError, TypeError, OverflowError):
            return False

    def is_complete(self, names: Iterable[str]) -> bool:
        """Check whether names are exactly those of the parameters of this space."""
        return self.optuna_distributions.keys() == set(names)

    def to_optuna(self, point: Point) -> OptunaParams:
        """Convert a point to the params that Optuna stores.

        Raises:
            TypeError: A value is not a number, but its distribution is one of numbers.
        """
        return {
            name: _to_optuna_value(distribution, point[name])
            for name, distribution in self.optuna_distributions.items()
        }

    def from_optuna(self, params: Mapping[str, OptunaValue]) -> Point:
        """Convert params that Optuna stored or proposed to a point.

        Raises:
            KeyError, TypeError: The params are not those of a point of this space.
        """
        point: Point = {}
        for name, distribution in self.parameters.items():
            value = params[name]
            if name in self.category_values:
                point[name] = self.category_values[name][value]
            elif isinstance(value, str):
                raise TypeError(name)
            else:
                point[name] = distribution.round(value)
        return point


class FixedOverrides(NamedTuple):
    """Overrides that all trials have in common, which stand before and after those of the point."""

    before: list[str]
    after: list[str]

    def add_point(self, point: Point, seed: int | None = None) -> tuple[str, ...]:
        """Return the overrides of the trial that runs a point, with a seed other than theirs."""
        seed_override = () if seed is None else (f"seed={seed}",)
        return (*self.before, *to_overrides(point), *self.after, *seed_override)


def is_point(value: JsonValue) -> TypeGuard[Point]:
    """Check whether untrusted JSON is a point, of whatever space."""
    return isinstance(value, dict) and all(
        all(map(_is_scalar, item)) if isinstance(item, list) else _is_scalar(item)
        for item in value.values()
    )


def _is_scalar(value: JsonValue) -> bool:
    if is_number(value):
        return abs(value) <= sys.float_info.max  # which NaN is not
    return value is None or isinstance(value, str | bool)


def point_key(point: Point) -> PointKey:
    """Return a hashable key that is unique among the points of one space."""
    return tuple(format_value(value) for value in point.values())


def _to_optuna_distribution(distribution: Distribution) -> BaseDistribution:
    if isinstance(distribution, IntUniform):
        return IntDistribution(distribution.min, distribution.max)
    if distribution.is_discrete and not (
        isinstance(distribution, QUniform) and distribution.num_values > MAX_CATEGORIES
    ):
        return CategoricalDistribution(
            [format_value(value) for value in distribution.list_values()]
        )
    low, high = distribution.unrounded_ppf(0.0), distribution.unrounded_ppf(1.0)
    return FloatDistribution(low, high, log=distribution.is_log)


def _to_optuna_value(distribution: BaseDistribution, value: ParameterValue) -> OptunaValue:
    if isinstance(distribution, CategoricalDistribution):
        return format_value(value)
    if not is_number(value) or not math.isfinite(value):
        raise TypeError(value)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    # rounding to a multiple of q may exceed the bounds, which Optuna enforces
    return min(max(value, distribution.low), distribution.high)
