"""A sweep that is only a sampler and its trials."""

from __future__ import annotations

from collections.abc import Callable

from optuna.trial import TrialState

from nn.sweeps.samplers.base import ObservedTrial, Sampler
from nn.sweeps.space import Point


class InMemorySweep:
    """Ask a sampler for points, and tell it the values of a function there."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.space = sampler, sampler.space
        self.trials: list[ObservedTrial] = []

    def ask(self) -> Point:
        """Start a trial at the next point."""
        point = self.sampler.propose(len(self.trials), self.trials)
        self.trials.append(ObservedTrial(len(self.trials), point))
        return point

    def tell(self, value: float | None, state: TrialState = TrialState.COMPLETE) -> None:
        """End the last trial."""
        trial = self.trials.pop()
        self.trials.append(ObservedTrial(trial.number, trial.point, state, value))

    def run(self, function: Callable[[Point], float | None], count: int) -> list[Point]:
        """Finish trials at the next points; without a value they fail."""
        points = []
        for _ in range(count):
            points.append(self.ask())
            value = function(points[-1])
            is_failed = value is None or value != value
            self.tell(*((None, TrialState.FAIL) if is_failed else (value,)))
        return points
