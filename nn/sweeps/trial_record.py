"""One trial of a sweep: its user attributes, and what follows from it alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue

from nn.io.coerce import is_count, to_finite_float, to_mapping
from nn.sweeps.asha import Rungs
from nn.sweeps.space import Point, SearchSpace
from nn.types import Array

ENDED_STATES = ("finished", "pruned", "diverged")
"""Final states that a run's summary can have."""
MAX_REPLICATES = 1000


@dataclass(frozen=True, kw_only=True)
class TrialUserAttrs:
    """User attributes of an Optuna trial, by the names under which they are stored."""

    status: str
    """How the run ended, or is going: finished, pruned, diverged, failed, paused or running."""
    reason: str | None
    objective: float | None
    machine: str | None
    """ID of the machine that runs the trial or ran it last."""
    failures: int
    """Number of failures with a cause outside the trial."""
    retriable: bool
    """Whether the last failure was one, and the trial is left open for a retry."""
    epochs: int | None
    """Epochs that it had when it ended or paused; None before, and in earlier versions."""
    pause_epoch: int | None
    """Rung at which it is to pause, or has."""
    stop_requested: bool
    """Whether the user wants to end the trial."""
    queued_point: Point
    """Parameter values with which the user queued the trial; the search proposes the others."""
    retry_of: int | None
    """Number of the trial whose point this one runs again."""
    replicate: int
    """Index of its seed among those of the sweep."""
    replicate_of: int | None
    """Number of the first trial of its point; None for that trial itself."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialUserAttrs:
        """Read the attributes of a trial, which may lack any of them."""
        attrs, first = trial.user_attrs, trial.user_attrs.get("replicate_of")
        return cls(
            status=attrs.get("status", trial.state.name.lower()),
            reason=attrs.get("reason"),
            objective=attrs.get("objective"),
            machine=attrs.get("machine"),
            failures=attrs.get("failures", 0),
            retriable=trial.state == TrialState.RUNNING and bool(attrs.get("retriable")),
            epochs=epochs if is_count(epochs := attrs.get("epochs")) else None,
            pause_epoch=epoch if is_count(epoch := attrs.get("pause_epoch")) else None,
            stop_requested=bool(attrs.get("stop_requested")),
            queued_point=to_mapping(attrs.get("queued_point")),
            retry_of=attrs.get("retry_of"),
            replicate=replicate if is_replicate(replicate := attrs.get("replicate")) else 0,
            replicate_of=first if is_count(first) and first < trial.number else None,
        )


class TrialRecord:
    """A trial as the last edition means it, and what follows from it alone.

    It is computed once: a trial that has changed gets a new record.
    """

    def __init__(self, trial: FrozenTrial, space: SearchSpace, sign: int) -> None:
        self.trial, self.number, self.attrs = trial, trial.number, TrialUserAttrs.of(trial)
        self._space, self._sign = space, sign
        self.is_queued = trial.state == TrialState.WAITING
        self.is_paused = is_paused(trial)
        self.is_running = (
            trial.state == TrialState.RUNNING and not self.attrs.retriable and not self.is_paused
        )
        """Whether a machine runs it, or claimed it before it died."""
        self.is_finished = trial.state.is_finished()
        has_point = trial.user_attrs.get("point") is not None or space.is_complete(trial.params)
        self.is_complete = has_point and not self.is_queued
        """Whether it has started and has a point; that of others was lost."""

    @cached_property
    def point(self) -> Point:
        """The values of its parameters as the sweep file means them; {} if lost.

        A trial of an earlier edition may lack parameters, have others, or lie outside the space.
        """
        point: Point | None = self.trial.user_attrs.get("point")
        if point is not None:
            return {name: point[name] for name in self._space.parameters if name in point} | point
        if self._space.is_complete(self.trial.params):  # written in format version 2
            return self._space.from_optuna(self.trial.params)
        return {}

    @cached_property
    def is_inside(self) -> bool:
        """Whether its point lies in the space."""
        return self._space.contains(self.point)

    @cached_property
    def result(self) -> float:
        """Objective to minimize: NaN without a result yet, infinity if it diverged or failed."""
        if not self.is_finished:
            return math.nan
        value = to_finite_float(self.attrs.objective)
        return math.inf if value is None else self._sign * value

    @cached_property
    def curve(self) -> list[float]:
        """The metric by epoch."""
        return [value for _, value in sorted(self.trial.intermediate_values.items())]

    @property
    def epochs_used(self) -> int | None:
        """Epochs of a trial that has ended or paused; None if they are not recorded."""
        return None if self.is_running or not self.is_complete else self.attrs.epochs

    def rung_values(self, rungs: Rungs) -> Array:
        """Return the best value to minimize at each rung that it has reached, else NaN.

        A trial that ended before its last epoch counts at all higher rungs, and one that diverged
        has infinity at the rung that it was to reach.
        """
        intermediate_values = self.trial.intermediate_values.items()
        by_epoch = {epoch: self._sign * value for epoch, value in intermediate_values}
        values = rungs.values(by_epoch, is_complete=self.attrs.status == "finished")
        if self.attrs.status == "diverged":
            values[np.flatnonzero(np.isnan(values))[:1]] = math.inf
        return values

    @property
    def precedence(self) -> int:
        """Rank among the trials of its replicate: a result is above a run, above a failure."""
        if self.attrs.status in ENDED_STATES:
            return 2
        return 0 if self.is_finished else 1


def is_paused(trial: FrozenTrial) -> bool:
    """Check whether a trial waits at a rung for its promotion."""
    return trial.state == TrialState.RUNNING and trial.user_attrs.get("status") == "paused"


def is_replicate(value: JsonValue) -> TypeGuard[int]:
    """Check whether a stored value is a number of replicates, or the index of one."""
    return is_count(value) and value <= MAX_REPLICATES
