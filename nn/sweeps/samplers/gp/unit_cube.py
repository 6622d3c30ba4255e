"""A sweep's space as a cube of side 1, in which distances between points mean something.

A range runs evenly over its distribution's probability, so that a logarithmic one is even in the
logarithm. Listed numbers lie in order on a line. Other values lie all equally far from each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from nn.errors import as_typed
from nn.sweeps.distributions import Distribution, IntUniform, Quantized
from nn.sweeps.space import Point, Space
from nn.types import Array, Labels

LISTED = 64
"""More numbers than this are not gone through one by one but searched as a range."""


class Axis:
    """A parameter that varies, and where its values lie: each at a row of one or more columns."""

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution
        self.values = _values(distribution)
        """None of a range."""
        self.places = {as_typed(value): place for place, value in enumerate(self.values)}
        self.rows = self._rows() if self.values else np.empty((0, 1))
        """Where the values lie: (values, columns)."""

    def _rows(self) -> Array:
        if isinstance(self.distribution, Quantized):
            return np.array([[self._share(value)] for value in self.values])
        if len(self.values) > 1 and all(type(value) in (int, float) for value in self.values):
            return _even(self.values)[:, None]
        return np.eye(len(self.values)) / math.sqrt(2)  # any two of them are 1 apart

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        shares = np.linspace(0.0, 1.0, 1025)
        return np.array([self.distribution.unrounded(share) for share in shares]), shares

    def _share(self, value: float) -> float:
        return float(np.interp(value, *self._table))

    def row(self, value: Any) -> Array:
        """Where a value lies."""
        if self.values:
            return np.asarray(self.rows[self.places[as_typed(value)]])
        return np.array([self._share(value)])

    def value(self, row: Array) -> Any:
        """The value that lies there or nearest to it."""
        if self.values:
            return self.values[int(((self.rows - row) ** 2).sum(1).argmin())]
        return self.distribution.at(float(row[0]))

    def spread(self, shares: Array) -> Array:
        """Where the values lie at shares of all values: (shares, columns)."""
        if self.values:
            places = (shares * len(self.rows)).astype(int)
            return np.asarray(self.rows[np.minimum(places, len(self.rows) - 1)])
        return shares[:, None]


class Cube:
    """All parameters that vary, their columns side by side."""

    def __init__(self, space: Space) -> None:
        axes = {name: Axis(each) for name, each in space.parameters.items()}
        self.axes = {name: axis for name, axis in axes.items() if len(axis.values) != 1}
        self.fixed = {name: axis.values[0] for name, axis in axes.items() if len(axis.values) == 1}
        widths = [axis.rows.shape[1] for axis in self.axes.values()]
        ends = np.cumsum(widths, dtype=int)
        self.columns = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]
        self.groups: Labels = np.repeat(np.arange(len(widths)), widths)
        """The parameter to which each column belongs."""
        self.ranges = np.repeat([not axis.values for axis in self.axes.values()], widths)
        """Which columns are ranges."""
        self.size = math.prod(len(axis.values) or math.inf for axis in self.axes.values())
        """How many points there are."""

    def row(self, point: Point) -> Array:
        """Where a point lies."""
        return np.concatenate([axis.row(point[name]) for name, axis in self.axes.items()])

    def point(self, row: Array) -> Point:
        """The point that lies there or nearest to it."""
        pairs = zip(self.axes.items(), self.columns, strict=True)
        return self.fixed | {name: axis.value(row[columns]) for (name, axis), columns in pairs}

    def drawn(self, shares: Array) -> Point:
        """The point at shares of the distributions' probabilities."""
        pairs = zip(self.axes.items(), shares, strict=True)
        return self.fixed | {name: axis.distribution.at(float(at)) for (name, axis), at in pairs}

    def spread(self, shares: Array) -> Array:
        """Where points lie whose parameters are at shares of all values: (points, columns)."""
        pairs = zip(self.axes.values(), shares.T, strict=True)
        return np.hstack([axis.spread(at) for axis, at in pairs])

    def everywhere(self) -> Array:
        """Every point of a space without ranges."""
        rows = product(*(axis.rows for axis in self.axes.values()))
        return np.array([np.concatenate(each) for each in rows])

    def neighbours(self, row: Array) -> Array:
        """A point and all that differ from it in one parameter whose values are listed."""
        found = [row[None]]
        for axis, columns in zip(self.axes.values(), self.columns, strict=True):
            changed = np.repeat(row[None], len(axis.values), 0)
            changed[:, columns] = axis.rows
            found.append(changed)
        return np.vstack(found)


def _values(distribution: Distribution) -> list[Any]:
    """List the values of a parameter, if they are few or no numbers."""
    if isinstance(distribution, IntUniform):
        few = distribution.max - distribution.min < LISTED
        return list(distribution.values_in_order()) if few else []
    if isinstance(distribution, Quantized):
        first, last = (round(distribution.unrounded(end) / distribution.q) for end in (0.0, 1.0))
        numbers = range(first, last + 1) if last - first < LISTED else []
        return [distribution.near(number * distribution.q) for number in numbers]
    return list(distribution.values_in_order()) if distribution.discrete else []


def _even(numbers: Sequence[float]) -> Array:
    """Lay numbers on a line from 0 to 1, by their logarithms if that spaces them more evenly."""
    scales = [np.array(numbers, float)]
    if min(numbers) > 0:
        scales.append(np.log(scales[0]))
    lines = [(each - each.min()) / max(np.ptp(each), 1e-300) for each in scales]
    return min(lines, key=lambda line: float(np.diff(np.sort(line)).std()))
