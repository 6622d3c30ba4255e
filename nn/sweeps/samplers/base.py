"""Base class of samplers, and the random and grid samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, count
from operator import is_not

import numpy as np
from optuna.trial import TrialState

from nn.sweeps.space import Point, PointKey, SearchSpace, point_key


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
    is_paused: bool = field(default=False, kw_only=True)
    """Whether a running trial waits at a rung until it is promoted, if ever."""


class Sampler(ABC):
    """Proposes points, by nothing but the seed and the earlier trials: a resume changes none.

    Several trials may be replicates of a point; `number` counts points.
    """

    uses_replicates = False
    """Whether it takes the trials of a point one by one, in place of their mean."""
    continues_paused = False
    """Whether it may propose the point of a paused trial, which then continues."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    @abstractmethod
    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Return the point with this number, given all trials of others by their numbers."""


class RandomSampler(Sampler):
    """Sampler that draws each point independently."""

    uses_replicates = True  # they have the same points, and no mean has to be computed

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self._tried = TriedKeys(space)

    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Draw a point that no other trial has."""
        self._tried.update(trials)
        rng = np.random.default_rng([self.seed, number])
        return self.space.sample_without(rng, self._tried.keys)


class GridSampler(Sampler):
    """Sampler that proposes each point once.

    A point is used if a trial has it, so trials may be missing or numbered in any order.
    """

    uses_replicates = True

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space, seed=0)
        self._points = space.grid()
        self._used = TriedKeys(space)
        self._first_unused = 0  # index of a point before which all are used

    @property
    def num_points(self) -> int:
        """Number of points, at most `sys.maxsize`."""
        return len(self._points)

    def has_unused_points(self, trials: Sequence[ObservedTrial]) -> bool:
        """Check whether there is a point that no trial has."""
        if self._used.update(trials):
            self._first_unused = 0
        while (
            self._first_unused < self.num_points
            and point_key(self._points[self._first_unused]) in self._used.keys
        ):
            self._first_unused += 1
        return self._first_unused < self.num_points

    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Return the first unused point; the caller checks that there is one."""
        self.has_unused_points(trials)
        return self._points[self._first_unused]


class TriedKeys:
    """Keys of the points that trials have, computed only for trials that have changed."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.keys: Counter[PointKey] = Counter()
        """How many trials have each point of the space."""
        self._trials: list[ObservedTrial] = []

    def update(self, trials: Sequence[ObservedTrial]) -> bool:
        """Bring the keys up to date with all trials; return whether any of them has vanished."""
        changed, previous = changed_indices(self._trials, trials), self._trials
        removed = [index for index in changed if index < len(previous)]
        removed += range(len(trials), len(previous))
        self.keys.update(self._keys_of(trials[index] for index in changed))
        has_vanished = False
        for key in self._keys_of(previous[index] for index in removed):
            self.keys[key] -= 1
            if not self.keys[key]:
                del self.keys[key]
                has_vanished = True
        self._trials = [*trials]
        return has_vanished

    def _keys_of(self, trials: Iterable[ObservedTrial]) -> Iterator[PointKey]:
        return (point_key(trial.point) for trial in trials if self.space.is_complete(trial.point))


def changed_indices(previous: Sequence[object], items: Sequence[object]) -> list[int]:
    """Return the indices of the items that are new or another object than before."""
    replaced = compress(count(), map(is_not, items, previous))
    return [*replaced, *range(len(previous), len(items))]
