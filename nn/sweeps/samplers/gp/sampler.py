"""W&B's `method: bayes`: each point is where a Gaussian process expects the most improvement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from nn.sweeps.samplers.base import Sampler
from nn.sweeps.samplers.gp.acquisition import promising
from nn.sweeps.samplers.gp.gaussian_process import Surface, fitted
from nn.sweeps.samplers.gp.unit_cube import Cube
from nn.sweeps.space import Point, Space
from nn.types import Array

FIRST = 8
"""So many trials fill the space evenly before any value is looked at."""

CALM = 0.8
"""So many of the values are nearly in proportion to what the process sees of them."""


class Bayes(Sampler):
    """Points that depend on the seed and on what came of the trials before, and on nothing else."""

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        self.cube = Cube(space)
        self.points: dict[int, Point] = {}
        self.rows: dict[int, Array] = {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose the most promising point that was not tried, as long as there is one."""
        if not self.cube.axes:
            return self.space.known_to_optuna(self.cube.fixed)
        others = [
            other
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and other.params.keys() == search_space.keys()
        ]
        for other in others:
            self._remember(other)
        rng = np.random.default_rng([self.seed, trial.number])
        point = self._untried(others, trial.number, study.direction, rng)
        if point is None:
            point = self.space.draw(rng, [self.points[other.number] for other in others])
        return self.space.known_to_optuna(point)

    def _remember(self, trial: FrozenTrial) -> None:
        """Know where a trial lies, which takes a while to find out."""
        if trial.number not in self.points:
            point = self.space.from_optuna(trial.params)
            self.points[trial.number], self.rows[trial.number] = point, self.cube.row(point)

    def _untried(
        self,
        others: Sequence[FrozenTrial],
        number: int,
        direction: StudyDirection,
        rng: np.random.Generator,
    ) -> Point | None:
        tried = {self.rows[other.number].tobytes() for other in others}
        surface = self._surface(others, direction) if number >= FIRST else None
        if surface is None:
            point = self._evenly(number)
            return None if self.cube.row(point).tobytes() in tried else point
        for row in promising(self.cube, surface, rng):
            point = self.cube.point(row)
            if self.cube.row(point).tobytes() not in tried:
                return point
        return None

    def _evenly(self, number: int) -> Point:
        """The points that fill the space, whatever comes of them: Sobol's, shifted by the seed."""
        sobol = qmc.Sobol(len(self.cube.axes), scramble=False).fast_forward(number + 1)
        shift = np.random.default_rng(self.seed).random(len(self.cube.axes))
        return self.cube.drawn((sobol.random()[0] + shift) % 1)

    def _surface(self, others: Sequence[FrozenTrial], direction: StudyDirection) -> Surface | None:
        """What is known from the trials that have ended; of the others the mean is believed."""
        ended = [other for other in others if other.state != TrialState.RUNNING]
        running = [other for other in others if other.state == TrialState.RUNNING]
        sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
        values = sign * np.array([value_of(other) for other in ended])
        if not np.isfinite(values).any():
            return None
        surface = fitted(self._where(ended), standard(values), self.cube.groups)
        return surface.believing(self._where(running)) if running else surface

    def _where(self, trials: Sequence[FrozenTrial]) -> Array:
        return np.array([self.rows[trial.number] for trial in trials])


def value_of(trial: FrozenTrial) -> float:
    """The objective of a trial that has ended, also early; of one that has failed there is none."""
    value = trial.user_attrs.get("objective")
    if value is None and trial.state == TrialState.COMPLETE:
        value = trial.value
    return math.nan if value is None or not math.isfinite(value) else float(value)


def standard(values: Array) -> Array:
    """Count failed trials as the worst, and bring all values to mean 0 and variance 1.

    The bad ones, far above the others as they may be, draw together on the way: how they rise is
    nothing that has to be known to find the lowest.
    """
    values = np.clip(np.where(np.isfinite(values), values, np.nanmax(values)), -1e300, 1e300)
    above = values - values.min()
    drawn = np.log1p(above / (max(np.quantile(above, CALM), 1e-9 * above.max()) or 1.0))
    apart = drawn - drawn.mean()
    return np.asarray(apart / (apart.std() or 1.0))
