"""The space that a sweep searches, point by point as W&B means it, and as Optuna knows it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nn.errors import format_value
from nn.sweeps.distributions import (
    Distribution,
    IntUniform,
    InvLogUniform,
    LazySequence,
    LogNormal,
    LogUniform,
    LogUniformValues,
    QUniform,
)

Point = dict[str, Any]
MAX_ENUMERATED_POINTS = 10**6
"""A space of more points than this is not gone through."""
MAX_CATEGORIES = 10**4
"""A range with more steps than this is a range to Optuna too, not a list of its values."""


class SearchSpace:
    """All parameters of a sweep; a point of it is a value for each."""

    def __init__(self, parameters: Mapping[str, Distribution]) -> None:
        self.parameters = dict(sorted(parameters.items()))
        self.optuna_distributions = {
            name: _to_optuna_distribution(distribution)
            for name, distribution in self.parameters.items()
        }
        self.category_values = {
            name: {format_value(value): value for value in self.parameters[name].list_values()}
            for name, distribution in self.optuna_distributions.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        """The values that stand behind the texts that Optuna keeps, by parameter."""

    @property
    def num_points(self) -> float:
        """How many points there are."""
        if not all(distribution.is_discrete for distribution in self.parameters.values()):
            return math.inf
        return math.prod(distribution.num_values for distribution in self.parameters.values())

    def grid(self) -> LazySequence[Point]:
        """All points, in W&B's order: the last parameter changes first."""
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
        """Draw a point that has not been tried, as long as there is one."""
        tried_keys = {point_key(point) for point in tried}
        for _ in range(100):
            point = {name: each.ppf(rng.random()) for name, each in self.parameters.items()}
            if point_key(point) not in tried_keys:
                return point
        if self.num_points <= MAX_ENUMERATED_POINTS:
            values = (each.list_values() for each in self.parameters.values())
            points = (dict(zip(self.parameters, each, strict=True)) for each in product(*values))
            untried = [each for each in points if point_key(each) not in tried_keys]
            if untried:
                return untried[int(rng.integers(len(untried)))]
        return point

    def is_complete(self, params: Mapping[str, Any]) -> bool:
        """Whether there is a value for each parameter, and for nothing else."""
        return params.keys() == self.optuna_distributions.keys()

    def to_optuna(self, point: Point) -> dict[str, Any]:
        """Write a point as Optuna keeps it: what is no number as the text of a command line.

        Rounding may have led out of a range, which Optuna does not let a value leave.
        """
        params = {}
        for name, distribution in self.optuna_distributions.items():
            value = point[name]
            if isinstance(distribution, CategoricalDistribution):
                value = format_value(value)
            elif isinstance(distribution, FloatDistribution):
                value = min(max(value, distribution.low), distribution.high)
            params[name] = value
        return params

    def from_optuna(self, params: Mapping[str, Any]) -> Point:
        """Read a point that Optuna has kept or proposed."""
        point = {}
        for name, distribution in self.parameters.items():
            value = params[name]
            if name in self.category_values:
                value = self.category_values[name][value]
            point[name] = distribution.round(value)
        return point


def to_overrides(point: Point) -> list[str]:
    """Write a point as overrides."""
    return [f"{name}={_format_override_value(value)}" for name, value in point.items()]


def quote(text: str) -> str:
    """Write a text as an override's value that is not taken for anything else."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _format_override_value(value: Any) -> str:
    if isinstance(value, str) and not all(char.isalnum() or char in "_-./" for char in value):
        return quote(value)
    return repr(value) if isinstance(value, float) else format_value(value)


def point_key(point: Point) -> tuple[str, ...]:
    """Return what tells a point from others of the same space."""
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
    is_log = isinstance(distribution, LogUniform | LogUniformValues | InvLogUniform | LogNormal)
    low, high = distribution.unrounded_ppf(0.0), distribution.unrounded_ppf(1.0)
    return FloatDistribution(low, high, log=is_log)
