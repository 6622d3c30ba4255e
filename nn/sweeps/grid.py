"""All points of a grid, in W&B's order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.sampler import Sampler
from nn.sweeps.space import Point, Space, point_key


class GridSampler(Sampler):
    """Proposes each point once, whatever the numbers of the trials that hold the others."""

    def __init__(self, space: Space) -> None:
        super().__init__(space, seed=0)
        self._remaining = {point_key(point): point for point in space.grid()}
        self._seen: set[int] = set()
        self.size = len(self._remaining)

    def has_remaining(self, trials: Iterable[FrozenTrial]) -> bool:
        """Whether there is a point that no trial holds."""
        self._update(trials)
        return bool(self._remaining)

    def next_point(self, trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> Point | None:
        """Return the first point left that agrees with the parameters that a trial has."""
        self._update(trials)
        for point in self._remaining.values():
            if trial.params.items() <= self.space.known_to_optuna(point).items():
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
                self._remaining.pop(point_key(self.space.from_optuna(trial.params)), None)
