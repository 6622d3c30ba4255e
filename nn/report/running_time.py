"""The running time of a sweep, which excludes pauses between a stop and a resume."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate

from pydantic import JsonValue

from nn.io.serialization import JsonObject

Interval = tuple[datetime, datetime]

MIN_PAUSE_SECONDS = 5.0
"""Shorter gaps count as running time: proposing a point, starting a process."""


class RunningTime:
    """A clock over the union of all trials' intervals, stopped while no trial runs."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._intervals: list[Interval] = []
        for start, end in sorted(intervals):
            if (
                self._intervals
                and _seconds_between(self._intervals[-1][1], start) < MIN_PAUSE_SECONDS
            ):
                previous_start, previous_end = self._intervals[-1]
                self._intervals[-1] = previous_start, max(previous_end, end)
            else:
                self._intervals.append((start, end))
        self._starts = [start for start, _ in self._intervals]
        self._seconds_before = list(
            accumulate((_seconds_between(*span) for span in self._intervals), initial=0.0)
        )

    @property
    def total_seconds(self) -> float | None:
        """Seconds during which at least one trial ran; None without trials."""
        return self._seconds_before[-1] if self._intervals else None

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """Each pause as (seconds on this clock, length in seconds)."""
        ends = [end for _, end in self._intervals]
        gaps = zip(self._seconds_before[1:], ends, self._starts[1:], strict=False)
        return [(at, _seconds_between(end, start)) for at, end, start in gaps]

    def seconds_at(self, time: datetime) -> float:
        """Return the running time up to a point in time, in seconds."""
        index = bisect_right(self._starts, time) - 1
        if index < 0:
            return 0.0
        start, end = self._intervals[index]
        return self._seconds_before[index] + _seconds_between(start, min(time, end))


def read_sessions(summary: JsonObject) -> list[Interval]:
    """Return (start, end) of each session of a run, in naive local time as Optuna stores it."""
    sessions = summary.get("sessions")
    if not isinstance(sessions, list):
        return []
    try:
        return [_parse_session(session) for session in sessions]
    except ValueError:
        return []


def trial_intervals(
    started_at: datetime | None, ended_at: datetime | None, sessions: Sequence[Interval]
) -> list[Interval]:
    """Return the intervals in which a trial ran, from its start to its end without pauses."""
    if started_at is None:
        return []
    starts = [start for start, _ in sessions] or [started_at]
    ends = [end for _, end in sessions]
    if ended_at is not None:
        ends[-1:] = [ended_at]
    moments = [started_at, *(moment for pair in zip(starts, ends, strict=False) for moment in pair)]
    if moments != sorted(moments):  # recorded by machines whose clocks differ
        starts, ends = [started_at], [ended_at] if ended_at is not None else []
    if _seconds_between(started_at, starts[0]) < MIN_PAUSE_SECONDS:
        starts[0] = started_at
    return list(zip(starts, ends, strict=False))


def _parse_session(session: JsonValue) -> Interval:
    if not isinstance(session, list):
        raise ValueError(session)
    start, end = (datetime.fromisoformat(str(time)).replace(tzinfo=None) for time in session)
    return start, end


def _seconds_between(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()
