"""A sweep's running time counts the time in which trials ran, not pauses."""

from __future__ import annotations

from datetime import datetime

import pytest

from nn.runs.reader import read_sessions
from nn.sweeps.reader import RunningTime, trial_intervals

NOON = datetime(2026, 11, 21, 12).timestamp()


def seconds_after_noon(seconds):
    return NOON + seconds


def to_intervals(*pairs):
    return [(seconds_after_noon(start), seconds_after_noon(end)) for start, end in pairs]


@pytest.mark.parametrize(
    ("ran", "total", "pauses"),
    [
        ([], None, []),
        ([(0, 10)], 10, []),
        ([(0, 10), (0, 10), (5, 12)], 12, []),
        ([(0, 10), (11, 20)], 20, []),
        ([(0, 10), (110, 120)], 20, [(10, 100)]),
        ([(110, 120), (0, 10), (2, 4), (115, 125), (200, 201)], 26, [(10, 100), (25, 75)]),
        ([(0, 100), (10, 20), (90, 130)], 130, []),
    ],
)
def test_running_time_is_the_union_of_intervals_without_long_gaps(ran, total, pauses):
    time = RunningTime(to_intervals(*ran))
    assert time.total_seconds == total
    assert time.pauses == pauses


def test_times_within_a_pause_map_to_its_start():
    time = RunningTime(to_intervals((0, 10), (110, 120)))
    places = [
        time.seconds_at(seconds_after_noon(seconds))
        for seconds in (-5, 0, 4, 10, 60, 110, 115, 120, 300)
    ]
    assert places == [0, 0, 4, 10, 10, 10, 15, 20, 20]


@pytest.mark.parametrize(
    ("began", "ended", "worked", "expected"),
    [
        (0, 10, [], [(0, 10)]),
        (0, 10, [(1, 9)], [(0, 10)]),
        (0, 100, [(1, 9), (80, 98)], [(0, 9), (80, 100)]),
        (0, 100, [(70, 98)], [(70, 100)]),  # proposed, killed before it started, and run later
        (0, None, [(1, 9), (80, 98)], [(0, 9), (80, 98)]),  # stopped and not yet resumed
        (0, None, [], []),
        (None, None, [(1, 9)], []),
        (0, 10, [(-3600, -3590)], [(0, 10)]),  # recorded in another time zone
        (0, 10, [(5, 3), (2, 9)], [(0, 10)]),
    ],
)
def test_time_between_sessions_does_not_count(began, ended, worked, expected):
    moments = [None if each is None else seconds_after_noon(each) for each in (began, ended)]
    assert trial_intervals(*moments, to_intervals(*worked)) == to_intervals(*expected)


@pytest.mark.parametrize(
    "found",
    [None, 3, "no", [1], [["2026-11-21"]], [["x", "y"]], [[1, 2]], {"a": 1}, [[None, None]]],
)
def test_damaged_sessions_are_ignored(found):
    assert read_sessions({"sessions": found}) == []


def test_sessions_are_read_in_their_own_local_time():
    found = [["2026-11-21T12:00:00.000+05:00", "2026-11-21T12:00:09.000+05:00"]]
    assert read_sessions({"sessions": found}) == to_intervals((0, 9))
