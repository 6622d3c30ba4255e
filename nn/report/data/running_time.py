"""Times of runs and trials, and the time in which a sweep was running."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from itertools import accumulate, pairwise
from typing import TypeAlias

from pydantic import JsonValue

from nn.io.coerce import drop_none, to_list
from nn.io.serialization import JsonObject

MIN_PAUSE_SECONDS = 5.0
"""Shorter gaps count as running time: proposing a point, starting a process."""
MAX_TIMESTAMP = 2**33

Interval: TypeAlias = tuple[float, float]
"""Start and end as POSIX timestamps."""


class RunningTime:
    """A clock over the union of intervals, stopped in between."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self.intervals: list[Interval] = []  # disjoint, in order
        for start, end in sorted(intervals):
            if self.intervals and start - self.intervals[-1][1] < MIN_PAUSE_SECONDS:
                previous_start, previous_end = self.intervals[-1]
                self.intervals[-1] = previous_start, max(previous_end, end)
            else:
                self.intervals.append((start, end))
        self._starts = [start for start, _ in self.intervals]
        lengths = (end - start for start, end in self.intervals)
        self._seconds_before = list(accumulate(lengths, initial=0.0))

    @property
    def total_seconds(self) -> float | None:
        """The length of the union; None without intervals."""
        return self._seconds_before[-1] if self.intervals else None

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """Each pause as (seconds on this clock, length in seconds)."""
        gaps = [start - end for (_, end), (start, _) in pairwise(self.intervals)]
        return list(zip(self._seconds_before[1:], gaps, strict=False))

    def seconds_at(self, timestamp: float) -> float:
        """Return the running time up to a point in time."""
        index = bisect_right(self._starts, timestamp) - 1
        if index < 0:
            return 0.0
        start, end = self.intervals[index]
        return self._seconds_before[index] + min(timestamp, end) - start


def read_sessions(summary: JsonObject) -> list[Interval]:
    """Return (start, end) of each session of a run; empty if one of them is damaged.

    Their time zone is dropped, since Optuna's times have none.
    """
    intervals = []
    for session in to_list(summary.get("sessions")):
        try:
            times = [datetime.fromisoformat(str(time)) for time in to_list(session)]
            start, end = drop_none([to_timestamp(time.replace(tzinfo=None)) for time in times])
        except ValueError:
            return []
        intervals.append((start, end))
    return intervals


def trial_intervals(
    started_at: float | None, ended_at: float | None, sessions: list[Interval]
) -> list[Interval]:
    """Return the intervals in which a trial ran, from its start to its end without pauses."""
    if started_at is None:
        return []
    starts, ends = [start for start, _ in sessions] or [started_at], [end for _, end in sessions]
    if ended_at is not None:
        ends[-1:] = [ended_at]
    moments = [started_at, *(moment for pair in zip(starts, ends, strict=False) for moment in pair)]
    if moments != sorted(moments):  # recorded by machines whose clocks differ
        starts, ends = [started_at], [ended_at] if ended_at is not None else []
    if starts[0] - started_at < MIN_PAUSE_SECONDS:
        starts[0] = started_at
    return list(zip(starts, ends, strict=False))


def to_timestamp(moment: datetime | None) -> float | None:
    """Return a POSIX timestamp; None for times before 1970 or after 2242, which are damage."""
    try:
        timestamp = moment.timestamp() if moment else -1.0
    except (ValueError, OverflowError):  # of years near 1 and 9999
        return None
    return timestamp if 0 <= timestamp < MAX_TIMESTAMP else None


def parse_time(value: JsonValue) -> float | None:
    """Return an ISO 8601 time as a POSIX timestamp; None for anything else."""
    try:
        return to_timestamp(datetime.fromisoformat(str(value)))
    except ValueError:
        return None
