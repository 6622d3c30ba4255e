"""Base class of this library's Optuna samplers, and the random and grid samplers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.space import OptunaParams, OptunaValue, Point, SearchSpace, point_key


class Sampler(BaseSampler):
    """Sampler that proposes all parameters of a trial jointly, in `sample_relative`."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters, so that none is sampled independently."""
        return self.space.optuna_distributions

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> OptunaValue:
        """Sample one parameter at random, as Optuna requires; all are proposed jointly already."""
        sampler = optuna.samplers.RandomSampler(self.seed)
        value: OptunaValue = sampler.sample_independent(
            study, trial, param_name, param_distribution
        )
        return value


class RandomSampler(Sampler):
    """Sampler whose proposals depend only on the seed, the trial number and earlier trials."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> OptunaParams:
        """Draw a point that no earlier trial has."""
        tried = [
            self.space.from_optuna(other.params)
            for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and self.space.is_complete(other.params)
        ]
        rng = np.random.default_rng([self.seed, trial.number])
        return self.space.to_optuna(self.space.sample_untried(rng, tried))


class GridSampler(Sampler):
    """Sampler that proposes each point once.

    A point is used if a trial has it, so trials may be missing or numbered in any order.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space, seed=0)
        self._points = space.grid()
        self._used_keys: set[tuple[str, ...]] = set()
        self._seen_trial_numbers: set[int] = set()
        self._first_unused = 0  # index of a point before which all are used

    @property
    def num_points(self) -> int:
        """Number of points, at most `sys.maxsize`."""
        return len(self._points)

    def has_unused_points(self, trials: Iterable[FrozenTrial]) -> bool:
        """Check whether there is a point that no trial has."""
        self._update_used_keys(trials)
        return self._first_unused < self.num_points

    def next_unused_point(self, trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> Point | None:
        """Return the first unused point consistent with the params that a trial already has."""
        self._update_used_keys(trials)
        for index in range(self._first_unused, self.num_points):
            point = self._points[index]
            is_consistent = trial.params.items() <= self.space.to_optuna(point).items()
            if is_consistent and point_key(point) not in self._used_keys:
                return point
        return None

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> OptunaParams:
        """Propose the next unused point, or nothing if none is left."""
        point = self.next_unused_point(trial, study.get_trials(deepcopy=False))
        return {} if point is None else self.space.to_optuna(point)

    def _update_used_keys(self, trials: Iterable[FrozenTrial]) -> None:
        for trial in trials:
            if trial.number not in self._seen_trial_numbers and self.space.is_complete(
                trial.params
            ):
                self._seen_trial_numbers.add(trial.number)
                self._used_keys.add(point_key(self.space.from_optuna(trial.params)))
        while (
            self._first_unused < self.num_points
            and point_key(self._points[self._first_unused]) in self._used_keys
        ):
            self._first_unused += 1
