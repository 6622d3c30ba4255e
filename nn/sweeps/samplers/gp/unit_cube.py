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

from nn.errors import format_value
from nn.sweeps.distributions import Distribution, IntUniform, Quantized
from nn.sweeps.space import Point, SearchSpace
from nn.types import Array, Labels

MAX_ENUMERATED_NUMBERS = 64
"""More numbers than this are not gone through one by one but searched as a range."""


class Dimension:
    """A parameter that varies, and where its values lie: each at a row of one or more columns."""

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution
        self.values = _enumerate_values(distribution)
        """None of a range."""
        self.value_to_index = {
            format_value(value): index for index, value in enumerate(self.values)
        }
        self.transformed_values = self._transform_values() if self.values else np.empty((0, 1))
        """Where the values lie: (values, columns)."""

    def _transform_values(self) -> Array:
        if isinstance(self.distribution, Quantized):
            return np.array([[self._cdf(value)] for value in self.values])
        if len(self.values) > 1 and all(type(value) in (int, float) for value in self.values):
            return _scale_to_unit_interval(self.values)[:, None]
        return np.eye(len(self.values)) / math.sqrt(2)  # any two of them are 1 apart

    @cached_property
    def _ppf_table(self) -> tuple[Array, Array]:
        probabilities = np.linspace(0.0, 1.0, 1025)
        return np.array(
            [self.distribution.unrounded_ppf(probability) for probability in probabilities]
        ), probabilities

    def _cdf(self, value: float) -> float:
        return float(np.interp(value, *self._ppf_table))

    def transform(self, value: Any) -> Array:
        """Where a value lies."""
        if self.values:
            return np.asarray(self.transformed_values[self.value_to_index[format_value(value)]])
        return np.array([self._cdf(value)])

    def inverse_transform(self, x: Array) -> Any:
        """The value that lies there or nearest to it."""
        if self.values:
            return self.values[int(((self.transformed_values - x) ** 2).sum(1).argmin())]
        return self.distribution.ppf(float(x[0]))

    def from_uniform(self, samples: Array) -> Array:
        """Where the values lie at shares of all values: (shares, columns)."""
        if self.values:
            indices = (samples * len(self.transformed_values)).astype(int)
            return np.asarray(
                self.transformed_values[np.minimum(indices, len(self.transformed_values) - 1)]
            )
        return samples[:, None]


class UnitCube:
    """All parameters that vary, their columns side by side."""

    def __init__(self, space: SearchSpace) -> None:
        dimensions = {
            name: Dimension(distribution) for name, distribution in space.parameters.items()
        }
        self.dimensions = {
            name: dimension for name, dimension in dimensions.items() if len(dimension.values) != 1
        }
        self.constants = {
            name: dimension.values[0]
            for name, dimension in dimensions.items()
            if len(dimension.values) == 1
        }
        widths = [dimension.transformed_values.shape[1] for dimension in self.dimensions.values()]
        ends = np.cumsum(widths, dtype=int)
        self.column_slices = [
            slice(end - width, end) for end, width in zip(ends, widths, strict=True)
        ]
        self.column_to_dimension: Labels = np.repeat(np.arange(len(widths)), widths)
        """The parameter to which each column belongs."""
        self.continuous_mask = np.repeat(
            [not dimension.values for dimension in self.dimensions.values()], widths
        )
        """Which columns are ranges."""
        self.num_points = math.prod(
            len(dimension.values) or math.inf for dimension in self.dimensions.values()
        )
        """How many points there are."""

    def transform(self, point: Point) -> Array:
        """Where a point lies."""
        return np.concatenate(
            [dimension.transform(point[name]) for name, dimension in self.dimensions.items()]
        )

    def inverse_transform(self, x: Array) -> Point:
        """The point that lies there or nearest to it."""
        pairs = zip(self.dimensions.items(), self.column_slices, strict=True)
        return self.constants | {
            name: dimension.inverse_transform(x[columns]) for (name, dimension), columns in pairs
        }

    def ppf(self, probabilities: Array) -> Point:
        """The point at shares of the distributions' probabilities."""
        pairs = zip(self.dimensions.items(), probabilities, strict=True)
        return self.constants | {
            name: dimension.distribution.ppf(float(probability))
            for (name, dimension), probability in pairs
        }

    def from_uniform(self, samples: Array) -> Array:
        """Where points lie whose parameters are at shares of all values: (points, columns)."""
        pairs = zip(self.dimensions.values(), samples.T, strict=True)
        return np.hstack([dimension.from_uniform(column) for dimension, column in pairs])

    def all_points(self) -> Array:
        """Every point of a space without ranges."""
        combinations = product(
            *(dimension.transformed_values for dimension in self.dimensions.values())
        )
        return np.array([np.concatenate(combination) for combination in combinations])

    def neighbors(self, x: Array) -> Array:
        """A point and all that differ from it in one parameter whose values are listed."""
        blocks = [x[None]]
        for dimension, columns in zip(self.dimensions.values(), self.column_slices, strict=True):
            changed = np.repeat(x[None], len(dimension.values), 0)
            changed[:, columns] = dimension.transformed_values
            blocks.append(changed)
        return np.vstack(blocks)


def _enumerate_values(distribution: Distribution) -> list[Any]:
    """List the values of a parameter, if they are few or no numbers."""
    if isinstance(distribution, IntUniform):
        is_small = distribution.max - distribution.min < MAX_ENUMERATED_NUMBERS
        return list(distribution.list_values()) if is_small else []
    if isinstance(distribution, Quantized):
        first, last = (
            round(distribution.unrounded_ppf(probability) / distribution.q)
            for probability in (0.0, 1.0)
        )
        multiples = range(first, last + 1) if last - first < MAX_ENUMERATED_NUMBERS else []
        return [distribution.round(multiple * distribution.q) for multiple in multiples]
    return list(distribution.list_values()) if distribution.is_discrete else []


def _scale_to_unit_interval(numbers: Sequence[float]) -> Array:
    """Lay numbers on a line from 0 to 1, by their logarithms if that spaces them more evenly."""
    scales = [np.array(numbers, float)]
    if min(numbers) > 0:
        scales.append(np.log(scales[0]))
    candidates = [(scale - scale.min()) / max(np.ptp(scale), 1e-300) for scale in scales]
    return min(candidates, key=lambda line: float(np.diff(np.sort(line)).std()))
