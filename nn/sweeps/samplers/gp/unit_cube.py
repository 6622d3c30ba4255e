"""Transform of a search space to the unit cube, in which distances between points are meaningful.

A range is mapped by its CDF, so that a log-uniform one is linear in the logarithm. Listed numbers
are mapped in order to a line. Other values are one-hot encoded, all equally far from each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import product

import numpy as np

from nn.errors import format_value
from nn.sweeps.distributions import (
    Distribution,
    IntUniform,
    ParameterValue,
    Quantized,
    is_number,
)
from nn.sweeps.space import Point, SearchSpace
from nn.types import Array, Labels

MAX_ENUMERATED_NUMBERS = 64
"""More numbers than this are treated as a continuous range, not one by one."""


class Dimension:
    """Parameter, and the transform of its values to one column, or several for one-hot values."""

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution
        self.values = _enumerate_values(distribution)
        """Empty if continuous."""
        self.value_to_index = {format_value(value): i for i, value in enumerate(self.values)}
        numbers = [value for value in self.values if is_number(value)]
        self.numbers = numbers if len(numbers) == len(self.values) > 1 else []
        """The values if all are numbers."""
        self.is_log = distribution.is_log or _are_log_spaced(self.numbers)
        self.transformed_values = self._transform_values() if self.values else np.empty((0, 1))
        """Coordinates of the values: (values, columns)."""

    @property
    def is_continuous(self) -> bool:
        """Whether the values are a range, and not listed one by one."""
        return not self.values

    def _transform_values(self) -> Array:
        if isinstance(self.distribution, Quantized):
            return np.array([[self._cdf(value)] for value in self.values])
        if self.numbers:
            return _scale_to_unit_interval(self.numbers, self.numbers, self.is_log)[:, None]
        return np.eye(len(self.values)) / math.sqrt(2)  # any two are at distance 1

    @cached_property
    def _ppf_table(self) -> tuple[Array, Array]:
        probabilities = np.linspace(0.0, 1.0, 1025)
        values = [self.distribution.unrounded_ppf(probability) for probability in probabilities]
        return np.array(values), probabilities

    def _cdf(self, value: ParameterValue) -> float:
        assert isinstance(value, int | float)
        return float(np.interp(value, *self._ppf_table))

    def transform(self, value: ParameterValue) -> Array:
        """Return the coordinates of a value (columns)."""
        if self.is_continuous:
            return np.array([self._cdf(value)])
        return np.asarray(self.transformed_values[self.value_to_index[format_value(value)]])

    def extrapolate(self, value: ParameterValue) -> Array:
        """Return the coordinates of a value that may lie outside the space (columns).

        A number outside is placed outside the unit interval, at most at a distance of 1. A value
        that cannot be compared with those of the space is placed at the center.
        """
        if format_value(value) in self.value_to_index:
            return self.transform(value)
        is_range = self.is_continuous or isinstance(self.distribution, Quantized)
        if not (is_range or self.numbers) or not is_number(value) or not math.isfinite(value):
            return self.transformed_values.mean(0) if self.values else np.array([0.5])
        numbers = self._ppf_table[0] if is_range else self.numbers
        if is_range and numbers[0] <= value <= numbers[-1]:
            return np.array([self._cdf(value)])
        return np.clip(_scale_to_unit_interval([value], numbers, self.is_log), -1.0, 2.0)

    def inverse_transform(self, x: Array) -> ParameterValue:
        """Return the value at, or nearest to, coordinates (columns)."""
        if self.is_continuous:
            return self.distribution.ppf(float(x[0]))
        return self.values[int(((self.transformed_values - x) ** 2).sum(1).argmin())]

    def from_uniform(self, samples: Array) -> Array:
        """Map uniform samples (n) to coordinates (n, columns), all values equally likely."""
        if self.is_continuous:
            return samples[:, None]
        indices = (samples * len(self.values)).astype(int)
        return np.asarray(self.transformed_values[np.minimum(indices, len(self.values) - 1)])


class UnitCube:
    """All parameters that vary, with their columns concatenated."""

    def __init__(self, space: SearchSpace) -> None:
        self.dimensions: dict[str, Dimension] = {}
        self.constants: Point = {}
        for name, distribution in space.parameters.items():
            dimension = Dimension(distribution)
            if len(dimension.values) == 1:
                self.constants[name] = dimension.values[0]
            else:
                self.dimensions[name] = dimension
        widths = [dimension.transformed_values.shape[1] for dimension in self.dimensions.values()]
        ends = np.cumsum(widths, dtype=int)
        self.column_slices = list(map(slice, ends - widths, ends))
        self.column_to_dimension: Labels = np.repeat(np.arange(len(widths)), widths)
        """Index of the parameter of each column."""
        self.continuous_mask = np.repeat(
            [dimension.is_continuous for dimension in self.dimensions.values()], widths
        )
        """Whether each column is continuous."""
        self.num_points = math.prod(
            math.inf if dimension.is_continuous else len(dimension.values)
            for dimension in self.dimensions.values()
        )
        """Number of points, infinite if a parameter is continuous."""

    def transform(self, point: Point) -> Array:
        """Return the coordinates of a point (columns)."""
        return np.concatenate(
            [dimension.transform(point[name]) for name, dimension in self.dimensions.items()]
        )

    def extrapolate(self, point: Point) -> Array:
        """Return the coordinates of a point that may lack parameters or lie outside the space."""
        return np.concatenate(
            [
                dimension.extrapolate(point.get(name, math.nan))
                for name, dimension in self.dimensions.items()
            ]
        )

    def inverse_transform(self, x: Array) -> Point:
        """Return the point at, or nearest to, coordinates (columns)."""
        pairs = zip(self.dimensions.items(), self.column_slices, strict=True)
        return self.constants | {
            name: dimension.inverse_transform(x[columns]) for (name, dimension), columns in pairs
        }

    def ppf(self, probabilities: Array) -> Point:
        """Return the point of the given quantiles, one for each parameter."""
        pairs = zip(self.dimensions.items(), probabilities, strict=True)
        return self.constants | {
            name: dimension.distribution.ppf(float(probability))
            for (name, dimension), probability in pairs
        }

    def from_uniform(self, samples: Array) -> Array:
        """Map uniform samples (n, parameters) to coordinates (n, columns)."""
        pairs = zip(self.dimensions.values(), samples.T, strict=True)
        return np.hstack([dimension.from_uniform(column) for dimension, column in pairs])

    def all_points(self) -> Array:
        """Return every point of a discrete space (n, columns)."""
        values = [dimension.transformed_values for dimension in self.dimensions.values()]
        return np.array([np.concatenate(combination) for combination in product(*values)])

    def neighbors(self, x: Array) -> Array:
        """Return a point and all that differ from it in one discrete parameter (n, columns)."""
        blocks = [x[None]]
        for dimension, columns in zip(self.dimensions.values(), self.column_slices, strict=True):
            changed = np.repeat(x[None], len(dimension.values), 0)
            changed[:, columns] = dimension.transformed_values
            blocks.append(changed)
        return np.vstack(blocks)


def _enumerate_values(distribution: Distribution) -> list[ParameterValue]:
    """Return the values of a discrete parameter, or none if they are many numbers."""
    if isinstance(distribution, IntUniform):
        is_small = distribution.max - distribution.min < MAX_ENUMERATED_NUMBERS
        return list(distribution.list_values()) if is_small else []
    if isinstance(distribution, Quantized):
        first, last = (round(distribution.unrounded_ppf(p) / distribution.q) for p in (0.0, 1.0))
        multiples = range(first, last + 1) if last - first < MAX_ENUMERATED_NUMBERS else []
        return [distribution.round(multiple * distribution.q) for multiple in multiples]
    return list(distribution.list_values()) if distribution.is_discrete else []


def _are_log_spaced(numbers: Sequence[float]) -> bool:
    """Check whether the logarithms of numbers are spaced more evenly than the numbers."""
    if not numbers or min(numbers) <= 0:
        return False
    spread, log_spread = (
        np.diff(np.sort(_scale_to_unit_interval(numbers, numbers, is_log))).std()
        for is_log in (False, True)
    )
    return bool(log_spread < spread)


def _scale_to_unit_interval(
    values: Sequence[float], numbers: Sequence[float] | Array, is_log: bool
) -> Array:
    """Scale values such that the numbers span [0, 1], by their logarithms if `is_log`."""
    scaled, ends = np.array(values, float), np.array([min(numbers), max(numbers)], float)
    if is_log:
        scaled, ends = np.log(np.maximum(scaled, 1e-300)), np.log(ends)
    return np.asarray((scaled - ends[0]) / max(ends[1] - ends[0], 1e-300))
