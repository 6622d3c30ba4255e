"""Base class of samplers, and the random and grid samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from optuna.trial import TrialState

from nn.sweeps.space import Point, SearchSpace, point_key


@dataclass(frozen=True)
class ObservedTrial:
    """A trial as samplers see it: its point, and its values so far, all to be minimized."""

    number: int
    point: Point
    state: TrialState = TrialState.RUNNING
    value: float | None = None
    """Objective of a finished trial, pruned or not; None if it failed."""
    intermediate_values: Mapping[int, float] = field(default_factory=dict)
    """Metric by epoch, if the sweep needs it."""
    task: str = ""
    """The settings that all trials of the space have in common, as far as this one differs."""
    replicate: int = field(default=0, kw_only=True)
    """Index of the seed among those with which each point runs."""


class Sampler(ABC):
    """Proposes points, by nothing but the seed and the earlier trials: a resume changes none.

    Several trials may be replicates of a point; `number` counts points.
    """

    uses_replicates = False
    """Whether it takes the trials of a point one by one, in place of their mean."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    @abstractmethod
    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Return the point with this number, given all trials of others by their numbers."""


class RandomSampler(Sampler):
    """Sampler that draws each point independently."""

    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Draw a point that no other trial has."""
        rng = np.random.default_rng([self.seed, number])
        return self.space.sample_untried(rng, (trial.point for trial in trials))


class GridSampler(Sampler):
    """Sampler that proposes each point once.

    A point is used if a trial has it, so trials may be missing or numbered in any order.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space, seed=0)
        self._points = space.grid()
        self._used_keys: set[tuple[str, ...]] = set()
        self._first_unused = 0  # index of a point before which all are used

    @property
    def num_points(self) -> int:
        """Number of points, at most `sys.maxsize`."""
        return len(self._points)

    def has_unused_points(self, trials: Iterable[ObservedTrial]) -> bool:
        """Check whether there is a point that no trial has."""
        self._used_keys.update(
            point_key(trial.point) for trial in trials if self.space.is_complete(trial.point)
        )
        while (
            self._first_unused < self.num_points
            and point_key(self._points[self._first_unused]) in self._used_keys
        ):
            self._first_unused += 1
        return self._first_unused < self.num_points

    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Return the first unused point; the caller checks that there is one."""
        self.has_unused_points(trials)
        return self._points[self._first_unused]
