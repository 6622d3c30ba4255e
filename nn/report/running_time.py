"""The time in which trials of a sweep ran, without the pauses between a stop and a resume."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

Interval = tuple[datetime, datetime]

SHORTEST_PAUSE = 5.0
"""Seconds; shorter gaps are part of the work: proposing a point, starting a process."""


class RunningTime:
    """The union of the intervals in which trials ran, as one clock that stands still in pauses."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._spans: list[Interval] = []
        for start, end in sorted(intervals):
            if self._spans and _seconds(self._spans[-1][1], start) < SHORTEST_PAUSE:
                begun, until = self._spans[-1]
                self._spans[-1] = begun, max(until, end)
            else:
                self._spans.append((start, end))
        self._starts = [start for start, _ in self._spans]
        self._before = list(accumulate((_seconds(*span) for span in self._spans), initial=0.0))

    @property
    def total(self) -> float | None:
        """Seconds in which at least one trial ran."""
        return self._before[-1] if self._spans else None

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """Where each pause lies on this clock, and how many seconds it lasted."""
        ends = [end for _, end in self._spans]
        gaps = zip(self._before[1:], ends, self._starts[1:], strict=False)
        return [(at, _seconds(end, start)) for at, end, start in gaps]

    def at(self, moment: datetime) -> float:
        """Seconds of running time until a moment."""
        place = bisect_right(self._starts, moment) - 1
        if place < 0:
            return 0.0
        start, end = self._spans[place]
        return self._before[place] + _seconds(start, min(moment, end))


def sessions(summary: Mapping[str, Any]) -> list[Interval]:
    """Read when each session of a run began and ended, in local time like Optuna's."""
    try:
        return [
            (_local(start), _local(end)) for start, end in summary.get("seconds/sessions") or []
        ]
    except (TypeError, ValueError):
        return []


def intervals(
    began: datetime | None, ended: datetime | None, worked: Sequence[Interval]
) -> list[Interval]:
    """Give the intervals in which a trial ran: from its start to its end, without its pauses."""
    if began is None:
        return []
    starts = [start for start, _ in worked] or [began]
    ends = [end for _, end in worked]
    if ended is not None:
        ends[-1:] = [ended]
    moments = [began, *(moment for pair in zip(starts, ends, strict=False) for moment in pair)]
    if moments != sorted(moments):  # of another clock
        starts, ends = [began], [ended] if ended is not None else []
    if _seconds(began, starts[0]) < SHORTEST_PAUSE:
        starts[0] = began
    return list(zip(starts, ends, strict=False))


def _local(moment: Any) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=None)


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()
