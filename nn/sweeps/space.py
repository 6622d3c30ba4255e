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

from nn.errors import as_typed
from nn.sweeps.distributions import (
    Computed,
    Distribution,
    IntUniform,
    InvLogUniform,
    LogNormal,
    LogUniform,
    LogUniformValues,
    QUniform,
)

Point = dict[str, Any]
LISTED = 10**6
"""A space of more points than this is not gone through."""
MAX_CATEGORIES = 10**4
"""A range with more steps than this is a range to Optuna too, not a list of its values."""


class Space:
    """All parameters of a sweep; a point of it is a value for each."""

    def __init__(self, parameters: Mapping[str, Distribution]) -> None:
        self.parameters = dict(sorted(parameters.items()))
        self.optuna = {name: _for_optuna(each) for name, each in self.parameters.items()}
        self.categories = {
            name: {as_typed(value): value for value in self.parameters[name].values_in_order()}
            for name, each in self.optuna.items()
            if isinstance(each, CategoricalDistribution)
        }
        """The values that stand behind the texts that Optuna keeps, by parameter."""

    @property
    def size(self) -> float:
        """How many points there are."""
        if not all(each.discrete for each in self.parameters.values()):
            return math.inf
        return math.prod(each.count for each in self.parameters.values())

    def grid(self) -> Computed[Point]:
        """All points, in W&B's order: the last parameter changes first."""
        values = {name: each.values_in_order() for name, each in self.parameters.items()}
        counts = {name: each.count for name, each in self.parameters.items()}

        def point(number: int) -> Point:
            chosen = {}
            for name in reversed(values):
                number, place = divmod(number, counts[name])
                chosen[name] = values[name][place]
            return {name: chosen[name] for name in values}

        return Computed(math.prod(counts.values()), point)

    def draw(self, rng: np.random.Generator, tried: Iterable[Point]) -> Point:
        """Draw a point that has not been tried, as long as there is one."""
        known = {point_key(point) for point in tried}
        for _ in range(100):
            point = {name: each.at(rng.random()) for name, each in self.parameters.items()}
            if point_key(point) not in known:
                return point
        if self.size <= LISTED:
            values = (each.values_in_order() for each in self.parameters.values())
            points = (dict(zip(self.parameters, each, strict=True)) for each in product(*values))
            left = [each for each in points if point_key(each) not in known]
            if left:
                return left[int(rng.integers(len(left)))]
        return point

    def is_complete(self, params: Mapping[str, Any]) -> bool:
        """Whether there is a value for each parameter, and for nothing else."""
        return params.keys() == self.optuna.keys()

    def known_to_optuna(self, point: Point) -> dict[str, Any]:
        """Write a point as Optuna keeps it: what is no number as the text of a command line.

        Rounding may have led out of a range, which Optuna does not let a value leave.
        """
        known = {}
        for name, each in self.optuna.items():
            value = point[name]
            if isinstance(each, CategoricalDistribution):
                value = as_typed(value)
            elif isinstance(each, FloatDistribution):
                value = min(max(value, each.low), each.high)
            known[name] = value
        return known

    def from_optuna(self, known: Mapping[str, Any]) -> Point:
        """Read a point that Optuna has kept or proposed."""
        point = {}
        for name, each in self.parameters.items():
            value = known[name]
            if name in self.categories:
                value = self.categories[name][value]
            point[name] = each.near(value)
        return point


def words(point: Point) -> list[str]:
    """Write a point as overrides."""
    return [f"{name}={_quoted(value)}" for name, value in point.items()]


def quoted(text: str) -> str:
    """Write a text as an override's value that is not taken for anything else."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(value: Any) -> str:
    if isinstance(value, str) and not all(sign.isalnum() or sign in "_-./" for sign in value):
        return quoted(value)
    return repr(value) if isinstance(value, float) else as_typed(value)


def point_key(point: Point) -> tuple[str, ...]:
    """Return what tells a point from others of the same space."""
    return tuple(as_typed(value) for value in point.values())


def _for_optuna(each: Distribution) -> BaseDistribution:
    if isinstance(each, IntUniform):
        return IntDistribution(each.min, each.max)
    if each.discrete and not (isinstance(each, QUniform) and each.count > MAX_CATEGORIES):
        return CategoricalDistribution([as_typed(value) for value in each.values_in_order()])
    logarithmic = isinstance(each, LogUniform | LogUniformValues | InvLogUniform | LogNormal)
    low, high = each.unrounded(0.0), each.unrounded(1.0)
    return FloatDistribution(low, high, log=logarithmic)
