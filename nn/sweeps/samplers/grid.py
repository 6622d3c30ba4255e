"""Grid search in W&B's order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.samplers.base import Sampler
from nn.sweeps.space import Point, SearchSpace, point_key


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
    ) -> dict[str, Any]:
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
