"""Where a Gaussian process expects to improve on the best point seen, and how much."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import minimize
from scipy.special import erfcx
from scipy.stats import qmc

from nn.sweeps.samplers.gp.gaussian_process import Surface
from nn.sweeps.samplers.gp.unit_cube import Cube
from nn.types import Array

ALL = 4096
"""A space of so many points is gone through; in a larger one the search climbs."""
SPREAD, NEAR = (4, 256), (4, 64)
"""Groups and points in each: all over the space, and around the best. Each sends one climber."""
STEPS = 20


class Improvement:
    """The logarithm of how much a point is expected to improve on the best.

    The best is the lowest mean at a point seen, for the lowest value may be noise.
    """

    def __init__(self, surface: Surface) -> None:
        self.surface, self.best = surface, float(surface.expected.min())

    def at(self, rows: Array) -> Array:
        """The criterion at some points."""
        mean, deviation = self.surface.posterior(rows)
        return log_improvement((self.best - mean) / deviation)[0] + np.log(deviation)

    def slope(self, row: Array) -> tuple[float, Array]:
        """The criterion at one point, and its gradient."""
        mean, deviation, by_mean, by_deviation = self.surface.slopes(row)
        z = (self.best - mean) / deviation
        value, slope = log_improvement(np.array(z))
        gradient = (by_deviation - slope * (by_mean + z * by_deviation)) / deviation
        return float(value) + math.log(deviation), gradient


def log_improvement(z: Array) -> tuple[Array, Array]:
    """The logarithm of E[max(0, z + e)] for a standard normal e, and its derivative.

    Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization
    (2023): what underflows far below 0 is written by erfcx, and further down by its limit.
    """
    low = np.clip(z, -1e8, 5.0)
    mills = math.sqrt(math.pi / 2) * erfcx(-low / math.sqrt(2))  # distribution / density
    rest = np.where(low > -1e3, 1 + low * mills, 1 / np.square(np.minimum(low, -1)))
    value = np.log(rest) - np.square(z) / 2 - math.log(2 * math.pi) / 2
    high = np.maximum(z, 5.0)  # from where on nothing but z is left of the expectation
    return np.where(z > 5, np.log(high), value), np.where(z > 5, 1 / high, mills / rest)


def promising(cube: Cube, surface: Surface, rng: np.random.Generator) -> Iterator[Array]:
    """Go through points by their criterion, the highest first."""
    criterion = Improvement(surface)
    if cube.size <= ALL:
        rows = cube.everywhere()
    else:
        groups = _groups(cube, surface, rng)
        starts = (group[criterion.at(group).argmax()] for group in groups)
        rows = np.array([_climbed(cube, criterion, row) for row in starts])
        yield from rows[np.argsort(-criterion.at(rows), kind="stable")]
        rows = np.vstack(groups)
    yield from rows[np.argsort(-criterion.at(rows), kind="stable")]


def _groups(cube: Cube, surface: Surface, rng: np.random.Generator) -> list[Array]:
    """Points all over the space, and points at all distances from the best ones."""
    (groups, size), (best, around) = SPREAD, NEAR
    shares = qmc.Sobol(len(cube.axes), scramble=False).random(groups * size)
    spread = cube.spread((shares + rng.random(len(cube.axes))) % 1)
    found = np.split(spread[rng.permutation(len(spread))], groups)
    for row in surface.x[np.argsort(surface.expected, kind="stable")[:best]]:
        steps = rng.normal(size=(around, len(row))) * 10.0 ** rng.uniform(-3.5, -0.5, (around, 1))
        found.append(np.clip(row + np.where(cube.ranges, steps, 0.0), 0.0, 1.0))
    return found


def _climbed(cube: Cube, criterion: Improvement, row: Array) -> Array:
    """Go uphill: along the ranges by the gradient, then to the best listed value, and again."""
    for _ in range(STEPS):
        if cube.ranges.any():
            row = _uphill(criterion, row, cube.ranges)
        near = cube.neighbours(row)
        values = criterion.at(near)
        if values.max() <= values[0] + 1e-9:
            break
        row = near[values.argmax()]
    return row


def _uphill(criterion: Improvement, row: Array, ranges: Array) -> Array:
    def loss(part: Array) -> tuple[float, Array]:
        moved = row.copy()
        moved[ranges] = part
        value, gradient = criterion.slope(moved)
        return -value, -gradient[ranges]

    bounds = [(0.0, 1.0)] * int(ranges.sum())
    options = {"maxiter": 50}
    found = minimize(loss, row[ranges], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    row = row.copy()
    row[ranges] = found.x
    return row
