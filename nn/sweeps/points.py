"""Points of a sweep: its trials grouped by what they run, in as many replicates as there are."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nn.errors import format_value
from nn.sweeps.asha import Rungs
from nn.sweeps.distributions import Constant
from nn.sweeps.editions import is_same_value
from nn.sweeps.samplers.base import ObservedTrial, changed_indices
from nn.sweeps.space import Point, SearchSpace
from nn.sweeps.trial_record import TrialRecord
from nn.types import Array

if TYPE_CHECKING:
    from nn.sweeps.recommendation import PointEstimate

Item = TypeVar("Item")


@dataclass(frozen=True)
class TriedPoint:
    """A point that was tried, and its runs with the sweep's seeds."""

    number: int
    """Number of its first trial."""
    first: TrialRecord
    """The first trial that was not lost."""
    records: Mapping[int, TrialRecord]
    """By replicate; of several, the last one with a result, else the last."""

    @property
    def point(self) -> Point:
        """The values of the parameters."""
        return self.first.point

    @property
    def is_pruned(self) -> bool:
        """Whether a run was pruned, or the user wants to end one."""
        return any(
            record.attrs.status == "pruned" or record.attrs.stop_requested
            for record in self.records.values()
        )

    @cached_property
    def trials(self) -> Mapping[int, FrozenTrial]:
        """The trials by replicate."""
        return {replicate: record.trial for replicate, record in self.records.items()}


@dataclass(frozen=True)
class RankedPoint:
    """A point with the mean of its results, in units of the metric."""

    point: TriedPoint
    mean: float
    """Comparable between points with different seeds."""
    std_error: float
    """NaN if the noise of a run cannot be estimated."""
    num_seeds: int


@dataclass(frozen=True)
class PointRecommendation:
    """The recommended point and others, by the numbers of their first trials."""

    best: int
    contenders: Sequence[int]
    """Points statistically indistinguishable from it, the most probable first."""
    estimates: Mapping[int, PointEstimate]


def group_by_point(records: Iterable[TrialRecord]) -> dict[int, TriedPoint]:
    """Group trials by point, by the number of its first trial.

    A trial whose point is not that of its group is a group of its own.
    """
    firsts: dict[int, TrialRecord] = {}
    groups: dict[int, dict[int, TrialRecord]] = {}
    for record in records:
        attrs = record.attrs
        number = record.number if attrs.replicate_of is None else attrs.replicate_of
        is_queued = record.is_queued and number in firsts
        if not is_queued and not record.is_complete:
            continue
        if not is_queued and firsts.setdefault(number, record).point != record.point:
            number = record.number
            firsts[number] = record
        replicates = groups.setdefault(number, {})
        previous = replicates.get(attrs.replicate)
        if previous is None or record.precedence >= previous.precedence:
            replicates[attrs.replicate] = record
    return {number: TriedPoint(number, firsts[number], groups[number]) for number in firsts}


def replicate_values(points: Sequence[TriedPoint], num_replicates: int) -> Array:
    """Return the results of points (points, replicates), in at least `num_replicates` columns."""
    rows, replicates, records = _list_runs(points)
    values = np.full((len(points), max([num_replicates - 1, *replicates]) + 1), math.nan)
    values[rows, replicates] = [record.result for record in records]
    return values


def is_replicate_open(points: Sequence[TriedPoint], num_replicates: int) -> NDArray[np.bool_]:
    """Return which replicates are queued or running, in the shape of `replicate_values`."""
    rows, replicates, records = _list_runs(points)
    is_open = np.zeros((len(points), max([num_replicates - 1, *replicates]) + 1), bool)
    is_open[rows, replicates] = [not record.is_finished for record in records]
    return is_open


def _list_runs(points: Sequence[TriedPoint]) -> tuple[list[int], list[int], list[TrialRecord]]:
    """Return the index of the point, the replicate and the trial of each run that counts."""
    return (
        [row for row, point in enumerate(points) for _ in point.records],
        [replicate for point in points for replicate in point.records],
        [record for point in points for record in point.records.values()],
    )


class TrialIndex:
    """The trials of a study, by state and by point; only those that have changed are read again.

    Args:
        space: Space of the last edition.
        sign: 1 if the metric is minimized, else -1.
        read: Returns a stored trial as the last edition means it.
    """

    def __init__(
        self, space: SearchSpace, sign: int, read: Callable[[FrozenTrial], FrozenTrial]
    ) -> None:
        self.space, self.sign, self._read = space, sign, read
        self.records: list[TrialRecord] = []
        self._stored_trials: list[FrozenTrial] = []
        self.queued: set[int] = set()
        """Numbers of the trials that start before the search proposes any."""
        self.running: set[int] = set()
        self.paused: set[int] = set()
        self.complete: set[int] = set()
        self._replicate_numbers: list[int] = []  # trials that are not the first of their points
        self._roots: list[int] = []  # first trial of the family of each trial
        self._families: dict[int, list[int]] = {}
        """Trials that refer to each other by `replicate_of`, by the number of the first."""
        self.epochs_used = 0
        """Epochs of the trials that have ended or paused, as far as they are recorded."""
        self.without_epochs: set[int] = set()
        """Numbers of the other complete trials."""
        self._changed: set[int] = set()  # trials that changed since the points were grouped
        self._points: _ByNumber[TriedPoint] = _ByNumber()
        self._observed_trials: _ByNumber[ObservedTrial] = _ByNumber()
        self._rungs: Rungs | None = None
        self._changed_at_rungs: set[int] = set()  # trials that changed since the table was read
        self._rung_values: Array = np.empty((0, 0))
        self._rung_flags: NDArray[np.bool_] = np.empty((0, 2), bool)
        """Whether each trial is in the table, and whether it is paused."""

    def update(self, stored_trials: list[FrozenTrial]) -> list[int]:
        """Read the trials that are new or changed, and return their numbers."""
        changed = changed_indices(self._stored_trials, stored_trials)
        records = [
            TrialRecord(self._read(stored_trials[number]), self.space, self.sign)
            for number in changed
        ]
        self._stored_trials = stored_trials
        has_moved = False
        for number, record in zip(changed, records, strict=True):
            self.epochs_used += record.epochs_used or 0
            if number == len(self.records):
                self.records.append(record)
                self._link(record)
            else:
                self.epochs_used -= self.records[number].epochs_used or 0
                has_moved |= record.attrs.replicate_of != self.records[number].attrs.replicate_of
                self.records[number] = record
            for numbers, is_member in (
                (self.queued, record.is_queued),
                (self.running, record.is_running),
                (self.paused, record.is_paused),
                (self.complete, record.is_complete),
                (self.without_epochs, record.is_complete and record.epochs_used is None),
            ):
                (numbers.add if is_member else numbers.discard)(number)
        self._changed.update(changed)
        self._changed_at_rungs.update(changed)
        if has_moved:
            self._replicate_numbers, self._roots, self._families = [], [], {}
            for record in self.records:
                self._link(record)
            self._changed.update(range(len(self.records)))
        return changed

    def _link(self, record: TrialRecord) -> None:
        """Add a trial to the family of the one that it is a replicate of."""
        number, first = record.number, record.attrs.replicate_of
        root = number if first is None else self._roots[first]
        self._roots.append(root)
        self._families.setdefault(root, []).append(number)
        if first is not None:
            self._replicate_numbers.append(number)

    def select(self, numbers: Iterable[int]) -> list[FrozenTrial]:
        """Return trials by their numbers, in ascending order."""
        return [self.records[number].trial for number in sorted(numbers)]

    def count_points(self, before: int | None = None) -> int:
        """Count the trials that are the first of their points, perhaps only those before one."""
        end = len(self.records) if before is None else before
        return end - bisect_left(self._replicate_numbers, end)

    @property
    def points(self) -> list[TriedPoint]:
        """The points that have been tried, in the order of their first trials."""
        self._group_changed()
        return self._points.to_list()

    @property
    def observed_trials(self) -> list[ObservedTrial]:
        """The trials that count and have a point, as samplers see them."""
        self._group_changed()
        return self._observed_trials.to_list()

    def read_rungs(self, rungs: Rungs) -> tuple[list[TrialRecord], Array, NDArray[np.bool_]]:
        """Return the trials of the space with the first seed.

        Also return their best values at the rungs (trials, rungs), and which of them are paused.
        """
        if rungs != self._rungs:
            self._rungs, self._changed_at_rungs = rungs, {*range(len(self.records))}
            self._rung_values = np.empty((0, len(rungs.epochs)))
            self._rung_flags = np.empty((0, 2), bool)
        added = len(self.records) - len(self._rung_values)
        self._rung_values = np.pad(self._rung_values, ((0, added), (0, 0)))
        self._rung_flags = np.pad(self._rung_flags, ((0, added), (0, 0)))
        for number in self._changed_at_rungs:
            record = self.records[number]
            is_member = record.is_complete and not record.attrs.replicate and record.is_inside
            self._rung_flags[number] = is_member, record.is_paused
            if is_member:
                self._rung_values[number] = record.rung_values(rungs)
        self._changed_at_rungs.clear()
        members = np.flatnonzero(self._rung_flags[:, 0])
        records = [self.records[number] for number in members.tolist()]
        return records, self._rung_values[members], self._rung_flags[members, 1]

    def _group_changed(self) -> None:
        """Group the families again that have changed."""
        families = [
            self._families[root] for root in sorted({self._roots[n] for n in self._changed})
        ]
        groups = [group_by_point(self.records[n] for n in family) for family in families]
        for family, points in zip(families, groups, strict=True):
            observed = {
                record.number: self.observe(record, point, replicate)
                for point in points.values()
                for replicate, record in point.records.items()
            }
            for number in family:
                self._points.set(number, points.get(number))
                self._observed_trials.set(number, observed.get(number))
        self._changed.clear()

    def observe(self, record: TrialRecord, point: TriedPoint, replicate: int) -> ObservedTrial:
        """Return a trial of a point as samplers see it."""
        objective = record.attrs.objective if record.is_finished else None
        if objective is not None and not math.isfinite(objective):
            objective = None
        return ObservedTrial(
            number=record.number,
            point=point.point,
            state=TrialState.RUNNING if record.is_queued else record.trial.state,
            value=None if objective is None else self.sign * objective,
            intermediate_values={
                epoch: self.sign * value
                for epoch, value in record.trial.intermediate_values.items()
            },
            replicate=replicate,
            is_paused=record.is_paused,
            task=self._describe_task(point.point),
        )

    def _describe_task(self, point: Point) -> str:
        """Return the settings of a point that differ from those of all points of the space."""
        return ", ".join(
            f"{name}: {format_value(value)}"
            for name, value in point.items()
            if name not in self.space.parameters
            or (
                isinstance(constant := self.space.parameters[name], Constant)
                and not is_same_value(constant.value, value)
            )
        )


class _ByNumber(Generic[Item]):
    """Items in the order of their numbers."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._items: list[Item] = []

    def set(self, number: int, item: Item | None) -> None:
        """Set the item with a number, or remove it."""
        index = bisect_left(self._numbers, number)
        end = index + (self._numbers[index : index + 1] == [number])
        self._numbers[index:end] = [] if item is None else [number]
        self._items[index:end] = [] if item is None else [item]

    def to_list(self) -> list[Item]:
        """Return the items, which later changes leave as they are."""
        return self._items.copy()
