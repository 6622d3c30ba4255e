"""All points of a grid, in W&B's order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.samplers.base import Sampler
from nn.sweeps.space import Point, Space, point_key


class GridSampler(Sampler):
    """Proposes each point once, whatever the numbers of the trials that hold the others."""

    def __init__(self, space: Space) -> None:
        super().__init__(space, seed=0)
        self._points = space.grid()
        self._held: set[tuple[str, ...]] = set()
        self._seen: set[int] = set()
        self._first = 0  # all points before this one are held

    @property
    def size(self) -> int:
        """The number of points."""
        return len(self._points)

    def has_remaining(self, trials: Iterable[FrozenTrial]) -> bool:
        """Whether there is a point that no trial holds."""
        self._update(trials)
        return self._first < self.size

    def next_point(self, trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> Point | None:
        """Return the first point left that agrees with the parameters that a trial has."""
        self._update(trials)
        for number in range(self._first, self.size):
            point = self._points[number]
            agrees = trial.params.items() <= self.space.known_to_optuna(point).items()
            if agrees and point_key(point) not in self._held:
                return point
        return None

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose the next point."""
        point = self.next_point(trial, study.get_trials(deepcopy=False))
        return {} if point is None else self.space.known_to_optuna(point)

    def _update(self, trials: Iterable[FrozenTrial]) -> None:
        for trial in trials:
            if trial.number not in self._seen and self.space.is_complete(trial.params):
                self._seen.add(trial.number)
                self._held.add(point_key(self.space.from_optuna(trial.params)))
        while self._first < self.size and point_key(self._points[self._first]) in self._held:
            self._first += 1
