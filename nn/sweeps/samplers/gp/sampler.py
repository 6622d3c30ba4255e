"""Sampler of `method: bayes`: proposes the point of highest expected improvement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from nn.sweeps.samplers.base import Sampler
from nn.sweeps.samplers.gp.acquisition import maximize_acquisition
from nn.sweeps.samplers.gp.gaussian_process import GaussianProcess, fit_gp
from nn.sweeps.samplers.gp.unit_cube import UnitCube
from nn.sweeps.space import OptunaParams, Point, SearchSpace
from nn.sweeps.trials import TrialUserAttrs
from nn.types import Array

N_STARTUP_TRIALS = 8
"""Trials that cover the space evenly, with a Sobol sequence, before the process is used."""

LINEAR_QUANTILE = 0.8
"""Quantile of the objective up to which `normalize_objective` is close to linear."""


class TransformedPoint(NamedTuple):
    """Point of a trial, and its coordinates in the unit cube (columns)."""

    point: Point
    x: Array


class GPSampler(Sampler):
    """Sampler whose proposals depend on nothing but the seed and the results of earlier trials."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self.cube = UnitCube(space)
        self._trial_points: dict[int, TransformedPoint] = {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> OptunaParams:
        """Propose the most promising point that was not tried, as long as one is left."""
        if not self.cube.dimensions:
            return self.space.to_optuna(self.cube.constants)
        other_trials = [
            other
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and self.space.is_complete(other.params)
        ]
        for other in other_trials:
            if other.number not in self._trial_points:  # compute each only once, since it is slow
                point = self.space.from_optuna(other.params)
                self._trial_points[other.number] = TransformedPoint(
                    point, self.cube.transform(point)
                )
        rng = np.random.default_rng([self.seed, trial.number])
        proposal = self._propose_untried(other_trials, trial.number, study.direction, rng)
        if proposal is None:
            tried = [self._trial_points[other.number].point for other in other_trials]
            proposal = self.space.sample_untried(rng, tried)
        return self.space.to_optuna(proposal)

    def _propose_untried(
        self,
        other_trials: Sequence[FrozenTrial],
        trial_number: int,
        direction: StudyDirection,
        rng: np.random.Generator,
    ) -> Point | None:
        tried = {self._trial_points[other.number].x.tobytes() for other in other_trials}
        gp = self._fit_gp(other_trials, direction) if trial_number >= N_STARTUP_TRIALS else None
        if gp is None:
            point = self._sobol_point(trial_number)
            return None if self.cube.transform(point).tobytes() in tried else point
        for x in maximize_acquisition(self.cube, gp, rng):
            point = self.cube.inverse_transform(x)
            if self.cube.transform(point).tobytes() not in tried:
                return point
        return None

    def _sobol_point(self, trial_number: int) -> Point:
        """Return a point of a Sobol sequence that is shifted by an offset drawn from the seed."""
        sobol = qmc.Sobol(len(self.cube.dimensions), scramble=False).fast_forward(trial_number + 1)
        shift = np.random.default_rng(self.seed).random(len(self.cube.dimensions))
        return self.cube.ppf((sobol.random()[0] + shift) % 1)

    def _fit_gp(
        self, other_trials: Sequence[FrozenTrial], direction: StudyDirection
    ) -> GaussianProcess | None:
        """Fit the process to finished trials, and impute running ones (kriging believer)."""
        finished_trials = [other for other in other_trials if other.state != TrialState.RUNNING]
        running_trials = [other for other in other_trials if other.state == TrialState.RUNNING]
        sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
        values = sign * np.array([objective_value(other) for other in finished_trials])
        if not np.isfinite(values).any():
            return None
        x, dimensions = self._stack_x(finished_trials), self.cube.column_to_dimension
        gp = fit_gp(x, normalize_objective(values), dimensions)
        return gp.fantasize(self._stack_x(running_trials)) if running_trials else gp

    def _stack_x(self, trials: Sequence[FrozenTrial]) -> Array:
        return np.array([self._trial_points[trial.number].x for trial in trials])


def objective_value(trial: FrozenTrial) -> float:
    """Return the objective of a finished trial, pruned or not; NaN if it failed."""
    value = TrialUserAttrs.of(trial).objective
    if value is None and trial.state == TrialState.COMPLETE:
        value = trial.value
    return math.nan if value is None or not math.isfinite(value) else float(value)


def normalize_objective(values: Array) -> Array:
    """Replace failed trials by the worst value, and transform all to mean 0 and variance 1.

    High values are compressed by a logarithm: they may lie far above the rest, and their exact
    height does not matter for finding the minimum.
    """
    values = np.clip(np.where(np.isfinite(values), values, np.nanmax(values)), -1e300, 1e300)
    above_best = values - values.min()
    scale = max(np.quantile(above_best, LINEAR_QUANTILE), 1e-9 * above_best.max()) or 1.0
    compressed = np.log1p(above_best / scale)
    centered = compressed - compressed.mean()
    return np.asarray(centered / (centered.std() or 1.0))
