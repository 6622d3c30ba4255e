"""Sampler of `method: bayes`: proposes the point of highest expected improvement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from optuna.trial import TrialState
from scipy.stats import qmc
from threadpoolctl import ThreadpoolController

from nn.sweeps.asha import Rungs
from nn.sweeps.samplers.base import ObservedTrial, Sampler
from nn.sweeps.samplers.gp.acquisition import LogExpectedImprovement, maximize_acquisition
from nn.sweeps.samplers.gp.curves import extrapolate, rung_values
from nn.sweeps.samplers.gp.fit import fit_gp, subsample
from nn.sweeps.samplers.gp.gaussian_process import GaussianProcess
from nn.sweeps.samplers.gp.objective import (
    PriorTask,
    estimate_seed_effects,
    fit_normalized_gp,
    has_failed_replicate,
    is_accident,
    normalize_objective,
)
from nn.sweeps.samplers.gp.unit_cube import UnitCube
from nn.sweeps.schema import Metric
from nn.sweeps.space import Point, SearchSpace
from nn.types import Array, Labels

N_STARTUP_TRIALS = 8
"""Trials that cover the space evenly, with a Sobol sequence, before the process is used."""
MAX_PRIOR_POINTS = 200
"""Maximum number of points of all prior tasks together."""


class GPSampler(Sampler):
    """Sampler by Bayesian optimization with a Gaussian process."""

    uses_replicates = True

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        metric: Metric | None = None,
        prior_tasks: Sequence[PriorTask] = (),
        rungs: Rungs | None = None,
    ) -> None:
        super().__init__(space, seed)
        self.metric, self.rungs, self.continues_paused = metric, rungs, rungs is not None
        self.cube = UnitCube(space)
        self._thread_pools = ThreadpoolController()
        self._prior_gps = self._fit_prior_gps(prior_tasks)
        self._edited_gps: tuple[list[ObservedTrial], list[GaussianProcess]] = [], []
        self._trial_x: dict[int, Array] = {}  # coordinates of the trials' points

    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Propose the most promising point: one that was not tried, or that of a paused trial."""
        if not self.cube.dimensions:
            return self.cube.constants
        prior_gps = [*self._prior_gps, *self._fit_edited_gps(trials)]
        trials = [trial for trial in trials if not trial.task]
        for trial in trials:
            if trial.number not in self._trial_x:  # compute each only once, since it is slow
                is_inside = self.space.contains(trial.point)
                to_x = self.cube.transform if is_inside else self.cube.extrapolate
                self._trial_x[trial.number] = to_x(trial.point)
        rng = np.random.default_rng([self.seed, number])
        with self._thread_pools.limit(limits=1):  # more only wait for each other and for workers
            point = self._propose_best(number, trials, prior_gps, rng)
        return point or self.space.sample_untried(rng, (trial.point for trial in trials))

    def _propose_best(
        self,
        number: int,
        trials: Sequence[ObservedTrial],
        prior_gps: Sequence[GaussianProcess],
        rng: np.random.Generator,
    ) -> Point | None:
        tried = {self._trial_x[trial.number].tobytes() for trial in trials}
        num_prior_trials = 1 if prior_gps else 0  # and all of the sequence if it is poor
        num_points = sum(trial.replicate == 0 for trial in trials)
        gp, is_startup = None, num_points < N_STARTUP_TRIALS + num_prior_trials
        if not is_startup or prior_gps:
            gp = self._fit_gp(trials, prior_gps)
        if gp is None or (is_startup and not gp.priors):
            point = self._sobol_point(number - num_prior_trials)
            return None if self.cube.transform(point).tobytes() in tried else point
        candidates = map(self.cube.inverse_transform, maximize_acquisition(self.cube, gp, rng))
        untried = (x for x in candidates if self.cube.transform(x).tobytes() not in tried)
        return self._choose_paused_or_new(trials, next(untried, None), gp)

    def _choose_paused_or_new(
        self, trials: Sequence[ObservedTrial], new_point: Point | None, gp: GaussianProcess
    ) -> Point | None:
        """Return the point of the highest expected improvement per epoch that is left to train.

        All epochs are left of a new point. Of a paused trial fewer are, but what it has shown
        leaves less room for improvement. This continues promising trials that their rank at an
        early rung would hold back.
        """
        paused = [trial for trial in trials if trial.is_paused and self.space.contains(trial.point)]
        if self.rungs is None or not paused:
            return new_point
        num_epochs, points = self.rungs.epochs[-1], [trial.point for trial in paused]
        trained = [max(trial.intermediate_values, default=0) for trial in paused]
        if new_point is not None:
            points, trained = [*points, new_point], [*trained, 0]
        x = np.array([self.cube.transform(point) for point in points])
        epochs_left = np.maximum(num_epochs - np.array(trained), 1)
        values = LogExpectedImprovement(gp).evaluate(x) - np.log(epochs_left)
        return points[int(values.argmax())]

    def _sobol_point(self, trial_number: int) -> Point:
        """Return a point of a Sobol sequence that is shifted by an offset drawn from the seed."""
        sobol = qmc.Sobol(len(self.cube.dimensions), scramble=False).fast_forward(trial_number + 1)
        shift = np.random.default_rng(self.seed).random(len(self.cube.dimensions))
        return self.cube.ppf((sobol.random()[0] + shift) % 1)

    def _fit_gp(
        self, trials: Sequence[ObservedTrial], prior_gps: Sequence[GaussianProcess]
    ) -> GaussianProcess | None:
        """Fit the process to finished trials; open ones have its mean (kriging believer).

        With rungs, trials that have reached one are fitted with their extrapolated value, and those
        of them that run also count as if they had ended with the mean, since they soon will. Before
        there are any values, only the first trial relies on the prior tasks. With
        `impute_while_running`, running trials are fitted with the value that it gives them.
        """
        curve_values = self._extrapolate_curves(trials)
        imputes_running = self.metric and self.metric.impute_while_running not in (None, "false")

        def is_fitted(trial: ObservedTrial) -> bool:
            is_imputed = imputes_running and trial.state == TrialState.RUNNING
            return (
                trial.state.is_finished()
                or trial.number in curve_values
                or bool(is_imputed and not trial.replicate)
            )

        fitted_trials = [trial for trial in trials if is_fitted(trial)]
        open_trials = [
            trial
            for trial in trials
            if not is_fitted(trial)
            or (self.rungs and trial.state == TrialState.RUNNING and not trial.is_paused)
        ]
        values = np.array(
            [curve_values.get(trial.number, self._value_to_fit(trial)) for trial in fitted_trials],
            float,
        )
        if not np.isfinite(values).any() and (trials or not prior_gps):
            return None
        x, dimensions = self._stack_x(fitted_trials), self.cube.column_to_dimension
        replicates = _stack_replicates(fitted_trials)
        is_failed = has_failed_replicate(x, replicates, values)
        values[is_failed] = math.nan
        is_last = is_failed | np.isfinite(values)  # which a failed run is not that was retried
        x, replicates, values = x[is_last], replicates[is_last], values[is_last]
        values -= estimate_seed_effects(x, replicates, values)[replicates]
        believed = is_accident(x, values, dimensions)
        open_x = np.vstack([x[believed], self._stack_x(open_trials)])
        open_replicates = np.concatenate([replicates[believed], _stack_replicates(open_trials)])
        x, replicates, values = x[~believed], replicates[~believed], values[~believed]
        gp = fit_normalized_gp(x, values, dimensions, prior_gps, replicates)
        return gp.fantasize(open_x, open_replicates) if len(open_x) else gp

    def _extrapolate_curves(self, trials: Sequence[ObservedTrial]) -> dict[int, float]:
        """Return the values at the last rung of trials that have shown some at lower ones only."""
        if self.rungs is None:
            return {}
        imputes_pruned = self.metric and self.metric.impute
        trials = [trial for trial in trials if not trial.replicate]
        values = extrapolate(rung_values(trials, self.rungs))
        return {
            trial.number: float(value)
            for trial, value in zip(trials, values, strict=True)
            if math.isfinite(value)
            and (
                trial.state == TrialState.RUNNING
                or (trial.state == TrialState.PRUNED and not imputes_pruned)
            )
        }

    def _value_to_fit(self, trial: ObservedTrial) -> float:
        """Return the value of a trial; NaN if it has none, or if it is to be the worst.

        `impute` is for trials that did not finish, as in W&B, where a pruned run is a killed one.
        """
        is_running, metric = trial.state == TrialState.RUNNING, self.metric
        strategy = metric and (metric.impute_while_running if is_running else metric.impute)
        if strategy is None or trial.state == TrialState.COMPLETE:
            return math.nan if trial.value is None else trial.value
        epochs = sorted(trial.intermediate_values.items())
        values = [value for _, value in epochs if math.isfinite(value)]
        if strategy == "worst" or not values:
            return math.nan
        return values[-1] if strategy == "latest" else min(values)

    def _stack_x(self, trials: Sequence[ObservedTrial]) -> Array:
        rows = [self._trial_x[trial.number] for trial in trials]
        return np.array(rows).reshape(-1, len(self.cube.column_to_dimension))

    def _fit_edited_gps(self, trials: Sequence[ObservedTrial]) -> list[GaussianProcess]:
        """Fit a process to the trials of each task before the sweep was edited."""
        ended_trials = [trial for trial in trials if trial.task and trial.state.is_finished()]
        if ended_trials != self._edited_gps[0]:
            tasks: dict[str, list[ObservedTrial]] = {}
            for trial in ended_trials:
                tasks.setdefault(trial.task, []).append(trial)
            prior_tasks = [
                PriorTask([trial.point for trial in task], [*map(self._value_to_fit, task)])
                for task in tasks.values()
            ]
            self._edited_gps = ended_trials, self._fit_prior_gps(prior_tasks)
        return self._edited_gps[1]

    def _fit_prior_gps(self, prior_tasks: Sequence[PriorTask]) -> list[GaussianProcess]:
        """Fit a process to each prior task whose values differ."""
        gps = []
        for task in prior_tasks:
            y = normalize_objective(np.array(task.values, float))
            if self.cube.dimensions and y.any():
                indices = subsample(y, max(MAX_PRIOR_POINTS // len(prior_tasks), 1))
                x = np.array([self.cube.extrapolate(task.points[index]) for index in indices])
                gps.append(fit_gp(x, y[indices], self.cube.column_to_dimension))
        return gps


def _stack_replicates(trials: Sequence[ObservedTrial]) -> Labels:
    return np.array([trial.replicate for trial in trials], int)
