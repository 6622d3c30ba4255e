"""Read sweeps back from their directories, also while they run; trials that have ended once."""

from __future__ import annotations

import math
import platform
import time
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TypedDict

from pydantic import JsonValue

from nn.errors import UserError
from nn.io.coerce import is_count, parse_time, sum_known, to_finite_float, to_text, to_timestamp
from nn.io.files import SETTLING_SECONDS, FileStamp, is_locked
from nn.io.serialization import JsonObject
from nn.runs.history import HistoryReader, minmax_downsample
from nn.runs.reader import (
    MIN_STALE_SECONDS,
    IncrementalReader,
    Interval,
    modified_timestamp,
    process_status,
    read_json,
    read_sessions,
)
from nn.sweeps.outcome import best_value
from nn.sweeps.schema import Metric
from nn.sweeps.shared_study import heartbeat_key
from nn.sweeps.space import Point
from nn.sweeps.trial_record import ENDED_STATES, TrialUserAttrs
from nn.sweeps.trials import SUMMARY_SCORES, SweepTrials
from nn.sweeps.trials_reader import SweepTrialsReader

FINAL_STATES = (*ENDED_STATES, "failed")
VALUE_STATES = ("finished", "pruned", "paused")
"""States of trials whose best value so far counts."""
DEFAULT_METRIC = Metric(name="val/accuracy", goal="maximize")
"""Ranks the trials of a sweep that defines no metric."""
SWEEP_FILES = ("sweep.yaml", "settings.json")
"""A sweep directory is read again if they change, which they hardly ever do."""
MAX_CURVE_POINTS = 200
"""Points of a trial's learning curve, after downsampling."""
START_SECONDS = 60.0
"""Seconds that a trial may take from its proposal to the start of its run."""
MIN_PAUSE_SECONDS = 5.0
"""Shorter gaps count as running time: proposing a point, starting a process."""


class SavedTrial(TypedDict):
    """A trial with the results of its run, as plain JSON."""

    number: int
    status: str
    """One of `FINAL_STATES`, or paused, running, interrupted, crashed, killed or stale."""
    reason: str
    """Why it failed."""
    params: Point
    """Empty while the point is incomplete."""
    seed: int | None
    """Of the run; None if it is not known. If its study is elsewhere, the number of its replicate.
    """
    value: float | None
    """The objective; of a trial that has not ended, its best value when it was paused last."""
    num_epochs: int
    epochs: list[float]
    curve: list[float | None]
    """The metric by epoch, downsampled to `MAX_CURVE_POINTS`."""
    elapsed_seconds: list[float]
    """Training time up to each of these epochs."""
    training_seconds: float | None
    scores: dict[str, float]
    """`SUMMARY_SCORES` of the selected weights, as far as they are known."""
    started_at: float | None
    ended_at: float | None
    intervals: list[Interval]
    """Between which it ran."""
    directory: str


@dataclass(frozen=True, kw_only=True)
class _TrialState:
    """State and parameters of a trial, without the results of its run."""

    is_recorded: bool  # in the study
    status: str
    machine: str  # that runs it: its host, a hyphen and a number
    started_at: float | None
    ended_at: float | None = None
    params: Point
    seed: int | None
    reason: str = ""
    value: float | None = None


class _TrialFiles:
    """Reads the files of a trial's run, and with each update only what is new."""

    def __init__(self, folder: Path, metric: str) -> None:
        self.state: _TrialState | None = None
        self.history = HistoryReader(folder, (metric, "seconds"))
        self.summary: JsonObject = {}
        self._folder = folder
        self._summary_stamp: FileStamp | None = None

    def update(self) -> bool:
        """Read what is new and return whether there was anything; damage counts as empty."""
        has_changed = False
        with suppress(UserError):
            has_changed = self.history.update()
        stamp = FileStamp.of(self._folder / "summary.json")
        if stamp != self._summary_stamp:
            self._summary_stamp, self.summary, has_changed = stamp, {}, True
            with suppress(UserError):
                self.summary = read_json(self._folder, "summary.json")
        return has_changed


class SavedSweep(IncrementalReader):
    """A sweep on disk; each update reads only what is new.

    Trials come from the study, and if it does not have them, since machines share one elsewhere,
    from their run directories.

    Raises:
        UserError: The directory is not that of a sweep, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = ""
        """Running, stopped or finished."""
        self._stamps: dict[str, FileStamp | None] = {}
        self._is_lock_held: bool | None = None
        self.update()

    def _reset(self) -> None:
        """Forget all trials."""
        self.study: SweepTrials = self._study_reader.sweep_trials
        self.metric = self.study.sweep.metric or DEFAULT_METRIC
        self.settings = read_json(self.path, "settings.json")
        self.trials: dict[int, SavedTrial] = {}
        self.varied_params: set[str] = set()
        """The parameters that differ between trials."""
        self._first_values: dict[str, str] = {}
        self._open_trials: dict[int, _TrialFiles] = {}
        self._trials_dir_mtime = 0
        self._beats: dict[str, tuple[int, float]] = {}

    def update(self) -> bool:
        """Read what is new and return whether anything has changed.

        Raises:
            UserError: The directory is not that of a sweep any more, or damaged.
        """
        self._is_lock_held = is_locked(self.path / ".lock")
        stamps = {name: FileStamp.of(self.path / name) for name in SWEEP_FILES}
        has_changed = stamps != self._stamps
        if has_changed:
            self._study_reader = SweepTrialsReader(self.path)
            self._reset()
            self._stamps = stamps
            changed = set(range(len(self.study.trials)))
        else:
            changed = self._study_reader.update()
            if self._study_reader.sweep_trials is not self.study:  # the study was replaced
                self._reset()
                has_changed = True
        changed -= {trial.number for trial in self.study.queued_trials}
        for number in sorted(changed | self._open_trials.keys() | {*self._find_unrecorded()}):
            trial = self._read_trial(number)
            if trial != self.trials.get(number):
                has_changed = True
                self.trials[number] = trial
                for name, value in trial["params"].items():
                    if self._first_values.setdefault(name, repr(value)) != repr(value):
                        self.varied_params.add(name)
        status = self._find_status()
        has_changed |= status != self.status
        self.status = status
        if has_changed:
            self._clear_cache()
        return has_changed

    @property
    def is_running(self) -> bool:
        """Whether the sweep or any trial of it is running."""
        return self.status == "running"

    @property
    def max_trials(self) -> int | None:
        """Trials to run: --count, run_cap, or the points of a grid; None if it is not known."""
        study, value = self.study, self.settings.get("max_trials")
        count = value if type(value) is int and value > 0 else None
        num_points = count or math.inf
        if study.sweep.method == "grid":
            num_points = min(num_points, study.space.num_points)
        run_cap = (None if count else study.sweep.run_cap) or math.inf
        limit = min(num_points * study.replicates, run_cap)
        if study.replicates > 1 and study.racing and limit != run_cap:
            return None
        return int(limit) if limit < 2**53 else None

    def _find_status(self) -> str:
        statuses = {trial["status"] for trial in self.trials.values()}
        if self._is_lock_held or "running" in statuses:
            return "running"
        if not statuses and not (self.path / ".lock").exists():  # the study is shared
            age = time.time() - modified_timestamp(self.path, "sweep.yaml")
            return "running" if age < START_SECONDS else "stopped"
        ended = statuses - {"paused"}  # a sweep leaves trials paused when it ends
        return "finished" if ended and ended.issubset(FINAL_STATES) else "stopped"

    def _find_unrecorded(self) -> list[int]:
        """Return the new trials in the sweep's directory that its study does not have."""
        trials_dir = self.path / "trials"
        stamp = FileStamp.of(trials_dir)
        if self._is_lock_held or stamp is None or stamp.mtime_ns == self._trials_dir_mtime:
            return []  # the lock is that of a sweep whose study is here
        if time.time() - stamp.mtime_ns / 1e9 > SETTLING_SECONDS:
            self._trials_dir_mtime = stamp.mtime_ns
        with suppress(OSError):
            numbers = [int(path.name) for path in trials_dir.iterdir() if path.name.isdecimal()]
            return [n for n in numbers if n >= len(self.study.trials) and n not in self.trials]
        return []

    def _read_trial(self, number: int) -> SavedTrial:
        """Read a trial and its run, which may be missing or damaged."""
        folder = self.study.get_trial_dir(number)
        files = self._open_trials.pop(number, None) or _TrialFiles(folder, self.metric.name)
        has_changed = files.update()
        state = self._recorded_state(number) or self._unrecorded_state(number, folder)
        has_changed |= state != files.state
        files.state, summary, status, value = state, files.summary, state.status, state.value
        if status == "running":
            ended = to_text(summary.get("status"))
            status = ended or self._process_status(folder, state.machine, state.started_at)
            if state.is_recorded or ended not in ENDED_STATES:
                self._open_trials[number] = files
            known = self.trials.get(number)
            if known and not has_changed and known["status"] == status:
                return known
        elif status in ENDED_STATES and summary.get("status") != status:
            summary = {}  # of an earlier attempt, if another machine took the trial over
        curve, seconds = (files.history.column(key) for key in (self.metric.name, "seconds"))
        if value is None and status in VALUE_STATES:
            value = best_value(self.metric, curve, summary)
        elapsed = list(accumulate(value or 0.0 for value in seconds))
        total_seconds = to_finite_float(summary.get("seconds"))
        if total_seconds is None:
            total_seconds = sum_known(seconds) or None
        started_at, ended_at, sessions = state.started_at, state.ended_at, read_sessions(summary)
        if ended_at is None and sessions and status in (*ENDED_STATES, "paused"):
            ended_at = sessions[-1][1]
        kept = minmax_downsample([curve], MAX_CURVE_POINTS)
        return {
            "number": number,
            "status": status,
            "reason": state.reason,
            "params": state.params,
            "seed": state.seed,
            "value": value,
            "num_epochs": len(curve),
            "epochs": [files.history.epochs[index] for index in kept],
            "curve": [curve[index] for index in kept],
            "elapsed_seconds": [elapsed[index] for index in kept],
            "training_seconds": total_seconds,
            "scores": {
                name: score
                for name in SUMMARY_SCORES
                if (score := to_finite_float(summary.get(name))) is not None
            },
            "started_at": started_at,
            "ended_at": ended_at,
            "intervals": trial_intervals(started_at, ended_at, sessions),
            "directory": f"trials/{folder.name}",
        }

    def _recorded_state(self, number: int) -> _TrialState | None:
        """Return what the study says about a trial; None if it does not have it."""
        if number >= len(self.study.trials):
            return None
        trial = self.study.trials[number]
        attrs = TrialUserAttrs.of(trial)
        status = to_text(trial.user_attrs.get("status", "running"))
        # a trial that is being proposed has none yet
        machine = attrs.machine if "machine" in trial.user_attrs else f"{platform.node()}-"
        return _TrialState(
            is_recorded=True,
            status=status if status in (*FINAL_STATES, "paused", "running") else "failed",
            machine=str(machine or ""),
            started_at=to_timestamp(trial.datetime_start),
            ended_at=to_timestamp(trial.datetime_complete),
            params=self.study.get_point(number),
            seed=self.study.get_seed(number),
            reason=str(attrs.reason or ""),
            value=to_finite_float(attrs.objective),
        )

    def _unrecorded_state(self, number: int, folder: Path) -> _TrialState:
        """Return what a trial's directory says about it."""
        environment: JsonObject = {}
        point: Point | None = None
        seed: JsonValue = None
        with suppress(UserError):  # a file is a link
            seed = self.study.read_trial_file(number).get("replicate")
            environment = read_json(folder, "environment.json")
            point = self.study.read_recorded_point(number)
        return _TrialState(
            is_recorded=False,
            status="running",
            machine=f"{to_text(environment.get('host')) or platform.node()}-",
            started_at=parse_time(environment.get("started_at")),
            params=point or {},
            seed=seed if is_count(seed) else None,
        )

    def _process_status(self, folder: Path, machine: str, started_at: float | None) -> str:
        """Return the status of a trial whose end is not on record.

        The sweep's lock decides, unless the study is shared: then only the trials' own locks are
        held.
        """
        if self._is_lock_held:
            return "running"
        if not machine:  # released by a sweep that was stopped
            return "interrupted"
        has_started = (folder / "config.yaml").exists()  # which is written while the lock is held
        is_trial_locked = is_locked(folder / ".lock")
        if is_trial_locked:
            return "running"
        user_attrs = self.study.optuna_study.user_attrs
        host, beats = machine.rpartition("-")[0], user_attrs.get(heartbeat_key(machine))
        if host != platform.node() and isinstance(beats, int):
            if self._beats.get(machine, (None, 0.0))[0] != beats:
                is_first, journal = machine not in self._beats, self._study_reader.journal
                seen_at = modified_timestamp(journal.parent, journal.name)
                self._beats[machine] = beats, seen_at if is_first else time.time()
            age = time.time() - self._beats[machine][1]
            return "running" if age < MIN_STALE_SECONDS else "stale"
        # machines share the study, or have it elsewhere
        is_shared = not self.study.trials or any(
            key.startswith(heartbeat_key("")) for key in user_attrs
        )
        if is_shared and host == platform.node() and not has_started:
            age = time.time() - (started_at or modified_timestamp(folder, "."))
            return "running" if age < START_SECONDS else "killed"
        return process_status(is_trial_locked, folder if folder.exists() else self.path, host)


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
