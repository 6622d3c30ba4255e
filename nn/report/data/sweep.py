"""A sweep as plain JSON, read incrementally from its directory."""

from __future__ import annotations

import math
import platform
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from pathlib import Path
from typing import TypedDict

from nn.config.schema import HYPERPARAMETERS
from nn.errors import UserError
from nn.io.coerce import sum_known, to_finite_float, to_mapping, to_text, to_texts
from nn.io.files import SETTLING_SECONDS, FileStamp, is_locked, read_regular_file
from nn.io.serialization import JsonObject
from nn.report.data.run import format_reproduce_command
from nn.report.data.running_time import (
    Interval,
    RunningTime,
    parse_time,
    read_sessions,
    to_timestamp,
    trial_intervals,
)
from nn.report.data.thinning import minmax_downsample
from nn.report.paths import display_path, strip_folder
from nn.runs.history import HistoryReader
from nn.runs.reader import (
    MIN_STALE_SECONDS,
    IncrementalReader,
    modified_timestamp,
    process_status,
    read_config,
    read_json,
)
from nn.sweeps.distributions import InvLogUniform, LogNormal, LogUniform, LogUniformValues
from nn.sweeps.schema import Metric
from nn.sweeps.shared_study import heartbeat_key
from nn.sweeps.space import Point
from nn.sweeps.trials import (
    ENDED_STATES,
    ParamImportances,
    SweepTrials,
    SweepTrialsReader,
    TrialUserAttrs,
    best_value,
)

TRIAL_STATES = ("finished", "pruned", "diverged", "failed", "running")
TRIAL_SCORES = ("val/accuracy", "test/accuracy", "val/loss", "test/loss")
DEFAULT_METRIC = Metric(name="val/accuracy", goal="maximize")
"""Ranks the trials of a sweep that defines no metric."""
LOG_DISTRIBUTIONS = (LogUniform, LogUniformValues, InvLogUniform, LogNormal)
"""Distributions whose parameters are plotted on a logarithmic axis."""
SWEEP_FILES = ("sweep.yaml", "settings.json")
"""Files that do not change; a sweep directory is read again if they do."""
MIN_IMPORTANCE_GROWTH = 1.1
"""Factor by which the number of finished trials grows before importances are computed again."""
MAX_CURVE_POINTS = 200
"""Points of a trial's learning curve in a record, after downsampling."""
START_SECONDS = 60.0
"""Seconds that a trial may take from its proposal to the start of its run."""


class TrialRecord(TypedDict):
    """A trial with the results of its run."""

    number: int
    rank: int | None
    """By the objective, 1 for the best."""
    status: str
    """One of `TRIAL_STATES`, or interrupted, crashed, killed or stale."""
    reason: str
    """Why it failed."""
    params: Point
    """Empty while the point is incomplete."""
    value: float | None
    """The objective."""
    num_epochs: int
    epochs: list[float]
    curve: list[float | None]
    """The metric by epoch, downsampled to `MAX_CURVE_POINTS`."""
    elapsed_seconds: list[float]
    """Training time up to each of these epochs."""
    training_seconds: float | None
    scores: dict[str, float]
    """`TRIAL_SCORES` of the selected weights, as far as they are known."""
    started_at: float | None
    ended_at: float | None
    intervals: list[Interval]
    """Between which it ran."""
    seconds_until_end: float | None
    """The running time of the sweep, without pauses, at which it ended."""
    directory: str


class ParameterRecord(TypedDict):
    """A parameter of the search space."""

    name: str
    is_varied: bool
    """Whether it differs between trials."""
    is_log: bool
    """Whether it is sampled on a logarithmic scale."""


class SweepRecord(TypedDict):
    """A sweep without its trials."""

    path: str
    title: str
    name: str | None
    description: str | None
    status: str
    """Running, stopped or finished."""
    method: str
    metric: str
    goal: str
    target: float | None
    has_own_metric: bool
    """False if the sweep defines no metric, so that `DEFAULT_METRIC` ranks its trials."""
    max_trials: int | None
    """Trials to run: --count, run_cap, or the points of a grid; None if unlimited."""
    num_trials: int
    status_counts: dict[str, int]
    parameters: list[ParameterRecord]
    fixed_params: Point
    started_at: float
    running_seconds: float | None
    """Time during which at least one trial ran."""
    running_intervals: list[Interval]
    pauses: list[tuple[float, float]]
    """Each pause as (running time of the sweep, length), both in seconds."""
    training_seconds: float | None
    """Summed over all trials."""
    seed: float | None
    overrides: list[str]
    failures: dict[str, int]
    """Number of failed trials by their reason, most frequent first."""


class SweepDetails(TypedDict):
    """The slow or large part of a sweep."""

    importances: dict[str, float]
    """Share of the objective's variance that each parameter explains (fANOVA), largest first."""
    num_importance_trials: int
    """Trials behind the estimate, a part of the finished ones if they are many."""
    sweep_yaml: str
    reproduce_command: str | None
    """Of the best trial if that has finished."""


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """State and parameters of a trial, without the results of its run."""

    is_recorded: bool  # in the study
    status: str
    machine: str  # that runs it: its host, a hyphen and a number
    started_at: float | None
    ended_at: float | None = None
    params: Point
    reason: str = ""
    value: float | None = None


class _TrialFiles:
    """Reads the files of a trial's run, and with each update only what is new."""

    def __init__(self, folder: Path, metric: str) -> None:
        self.trial: _Trial | None = None
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


class SweepReader(IncrementalReader):
    """Reads a sweep's directory, and with each update only what is new in it.

    Trials come from the study, and if it does not have them, since machines share one elsewhere,
    from their run directories.

    Raises:
        UserError: The directory is not that of a sweep, or damaged.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._stamps: dict[str, FileStamp | None] = {}
        self._is_lock_held: bool | None = None
        self.update()

    def update(self) -> bool:
        """Read what is new and return whether anything has changed.

        Trials that have ended are read once.

        Raises:
            UserError: The directory is not that of a sweep any more, or damaged.
        """
        is_lock_held = is_locked(self.path / ".lock")
        stamps = {name: FileStamp.of(self.path / name) for name in SWEEP_FILES}
        has_changed = stamps != self._stamps or is_lock_held is not self._is_lock_held
        if stamps != self._stamps:
            self._study_reader = SweepTrialsReader(self.path)
            self._reset()
            self._stamps = stamps
            changed = set(range(len(self._study.trials)))
        else:
            changed = self._study_reader.update()
            if self._study_reader.sweep_trials is not self._study:  # the study was replaced
                self._reset()
                has_changed = True
        self._is_lock_held = is_lock_held
        vars(self).pop("_user_attrs", None)
        for number in sorted(changed | self._open_trials.keys() | {*self._find_unrecorded()}):
            trial = self._read_trial(number)
            if trial != self._trials.get(number):
                has_changed = True
                self._trials[number] = trial
                for name, value in trial["params"].items():
                    if self._first_values.setdefault(name, repr(value)) != repr(value):
                        self._varied_names.add(name)
        if has_changed:
            self._record_change()
        return has_changed

    def _reset(self) -> None:
        """Forget all trials."""
        self._study: SweepTrials = self._study_reader.sweep_trials
        self.metric = self._study.sweep.metric or DEFAULT_METRIC
        self._settings = read_json(self.path, "settings.json")
        self._trials: dict[int, TrialRecord] = {}
        self._open_trials: dict[int, _TrialFiles] = {}
        self._first_values: dict[str, str] = {}
        self._varied_names: set[str] = set()
        self._importance = ParamImportances({}, 0)
        self._num_importance_trials = 0
        self._trials_dir_mtime = 0
        self._beats: dict[str, tuple[int, float]] = {}

    @property
    def is_running(self) -> bool:
        """Whether the sweep or any trial of it is running."""
        return self._status == "running"

    @cached_property
    def _status(self) -> str:
        statuses = {trial["status"] for trial in self._trials.values()}
        if self._is_lock_held or "running" in statuses:
            return "running"
        if not statuses and not (self.path / ".lock").exists():  # the study is shared
            age = time.time() - modified_timestamp(self.path, "sweep.yaml")
            return "running" if age < START_SECONDS else "stopped"
        return "finished" if statuses and statuses <= {*TRIAL_STATES} else "stopped"

    def record(self) -> SweepRecord:
        """Return the sweep without its trials."""
        study, sweep, running_time = self._study, self._study.sweep, self._running_time
        trials = list(self._trials.values())
        counts = Counter(trial["status"] for trial in trials)
        failures = Counter(trial["reason"] for trial in trials if trial["status"] == "failed")
        first = self._trials[min(self._trials)]["params"] if trials else {}
        return {
            "path": display_path(self.path),
            "title": sweep.name or self.path.absolute().name,
            "name": sweep.name,
            "description": sweep.description,
            "status": self._status,
            "method": sweep.method,
            "metric": self.metric.name,
            "goal": self.metric.goal,
            "target": self.metric.target,
            "has_own_metric": sweep.metric is not None,
            "max_trials": self._max_trials(),
            "num_trials": len(trials),
            "status_counts": dict(counts),
            "parameters": [
                {
                    "name": name,
                    "is_varied": name in self._varied_names,
                    "is_log": isinstance(distribution, LOG_DISTRIBUTIONS),
                }
                for name, distribution in study.space.parameters.items()
            ],
            "fixed_params": {k: v for k, v in first.items() if k not in self._varied_names},
            "started_at": modified_timestamp(self.path, "sweep.yaml"),
            "running_seconds": running_time.total_seconds,
            "running_intervals": running_time.intervals,
            "pauses": running_time.pauses,
            "training_seconds": sum_known(trial["training_seconds"] for trial in trials) or None,
            "seed": to_finite_float(self._settings.get("seed")),
            "overrides": to_texts(self._settings.get("overrides")),
            "failures": dict(failures.most_common()),
        }

    def _max_trials(self) -> int | None:
        sweep, count = self._study.sweep, self._settings.get("max_trials")
        limit = count if type(count) is int and count > 0 else sweep.run_cap
        limits = [limit or math.inf]
        if sweep.method == "grid":
            limits.append(self._study.space.num_points)
        return int(min(limits)) if min(limits) < 2**53 else None

    def trial_records(self) -> list[TrialRecord]:
        """Return all trials by number."""
        return self._trial_records

    def details(self) -> SweepDetails:
        """Return what is slow to compute: importances take a second with many trials."""
        num_finished = sum(trial["status"] == "finished" for trial in self._trials.values())
        if num_finished > MIN_IMPORTANCE_GROWTH * self._num_importance_trials:
            self._importance = self._study.get_param_importances()
            self._num_importance_trials = num_finished
        sweep_yaml = read_regular_file(self.path, "sweep.yaml", 2**20)
        return {
            "importances": dict(self._importance.shares),
            "num_importance_trials": self._importance.num_trials,
            "sweep_yaml": sweep_yaml.decode("utf-8", "replace"),
            "reproduce_command": self.reproduce_command(),
        }

    @cached_property
    def _ranks(self) -> dict[int, int]:
        """The rank of each trial that has an objective value by its number, best first."""
        sign = self.metric.minimization_sign
        values = [(sign * t["value"], n) for n, t in self._trials.items() if t["value"] is not None]
        return {number: rank for rank, (_, number) in enumerate(sorted(values), 1)}

    @cached_property
    def _running_time(self) -> RunningTime:
        return RunningTime(i for trial in self._trials.values() for i in trial["intervals"])

    @cached_property
    def _trial_records(self) -> list[TrialRecord]:
        records: list[TrialRecord] = []
        for number in sorted(self._trials):
            trial, seconds = self._trials[number], None
            if trial["ended_at"] is not None and trial["intervals"]:
                seconds = self._running_time.seconds_at(trial["ended_at"])
            rank = self._ranks.get(number)
            records.append({**trial, "rank": rank, "seconds_until_end": seconds})
        return records

    def best_settings(self) -> JsonObject:
        """Return the options and hyperparameters of the best trial, as far as they are known."""
        config = self._best_config
        hyperparameters = {key: config[key] for key in HYPERPARAMETERS if key in config}
        return to_mapping(config.get("choices")) | hyperparameters

    def reproduce_command(self) -> str | None:
        """Return the shell command that repeats the best trial's run if that has finished."""
        best = next(iter(self._ranks), None)
        if best is None or self._trials[best]["status"] != "finished":
            return None
        return format_reproduce_command(self._study.get_trial_dir(best), self._best_config)

    @cached_property
    def _best_config(self) -> JsonObject:
        """The configuration of the best trial; empty if its run is damaged or elsewhere."""
        for best in islice(self._ranks, 1):
            with suppress(UserError):
                return read_config(self._study.get_trial_dir(best))
        return {}

    def _find_unrecorded(self) -> list[int]:
        """Return the new trials in the sweep's directory that its study does not have."""
        trials_dir = self.path / "trials"
        stamp = FileStamp.of(trials_dir)
        if self._is_lock_held or stamp is None or stamp.mtime_ns == self._trials_dir_mtime:
            return []  # the lock is that of a sweep whose study is here
        if time.time() - stamp.mtime_ns / 1e9 > SETTLING_SECONDS:
            self._trials_dir_mtime = stamp.mtime_ns
        known, num_recorded = self._trials, len(self._study.trials)
        with suppress(OSError):
            numbers = [int(path.name) for path in trials_dir.iterdir() if path.name.isdecimal()]
            return [n for n in numbers if n >= num_recorded and n not in known]
        return []

    def _read_trial(self, number: int) -> TrialRecord:
        """Read a trial and its run, which may be missing or damaged."""
        folder = self._study.get_trial_dir(number)
        files = self._open_trials.pop(number, None) or _TrialFiles(folder, self.metric.name)
        has_changed = files.update()
        trial = self._recorded_trial(number) or self._unrecorded_trial(number, folder)
        has_changed |= trial != files.trial
        files.trial, summary, status, value = trial, files.summary, trial.status, trial.value
        if status == "running":
            ended = to_text(summary.get("status"))
            status = ended or self._process_status(folder, trial.machine, trial.started_at)
            if trial.is_recorded or ended not in ENDED_STATES:
                self._open_trials[number] = files
            known = self._trials.get(number)
            if known and not has_changed and known["status"] == status:
                return known
        elif status in ENDED_STATES and summary.get("status") != status:
            summary = {}  # of an earlier attempt, if another machine took the trial over
        curve, seconds = (files.history.column(key) for key in (self.metric.name, "seconds"))
        if value is None and status in ("finished", "pruned"):
            value = best_value(self.metric, curve, summary)
        elapsed = list(accumulate(value or 0.0 for value in seconds))
        total_seconds = to_finite_float(summary.get("seconds"))
        if total_seconds is None:
            total_seconds = sum_known(seconds) or None
        started_at, ended_at, sessions = trial.started_at, trial.ended_at, read_sessions(summary)
        if ended_at is None and sessions and status in ENDED_STATES:
            ended_at = sessions[-1][1]
        kept = minmax_downsample([curve], MAX_CURVE_POINTS)
        return {
            "number": number,
            "rank": None,
            "status": status,
            "reason": strip_folder(trial.reason, self.path) if trial.reason else "",
            "params": trial.params,
            "value": value,
            "num_epochs": len(curve),
            "epochs": [files.history.epochs[index] for index in kept],
            "curve": [curve[index] for index in kept],
            "elapsed_seconds": [elapsed[index] for index in kept],
            "training_seconds": total_seconds,
            "scores": {
                name: score
                for name in TRIAL_SCORES
                if (score := to_finite_float(summary.get(name))) is not None
            },
            "started_at": started_at,
            "ended_at": ended_at,
            "intervals": trial_intervals(started_at, ended_at, sessions),
            "seconds_until_end": None,
            "directory": f"trials/{folder.name}",
        }

    def _recorded_trial(self, number: int) -> _Trial | None:
        """Return what the study says about a trial; None if it does not have it."""
        if number >= len(self._study.trials):
            return None
        trial = self._study.trials[number]
        attrs = TrialUserAttrs.of(trial)
        status = to_text(trial.user_attrs.get("status", "running"))
        # a trial that is being proposed has none yet
        machine = attrs.machine if "machine" in trial.user_attrs else f"{platform.node()}-"
        is_complete = self._study.space.is_complete(trial.params)
        return _Trial(
            is_recorded=True,
            status=status if status in TRIAL_STATES else "failed",
            machine=str(machine or ""),
            started_at=to_timestamp(trial.datetime_start),
            ended_at=to_timestamp(trial.datetime_complete),
            params=self._study.get_point(number) if is_complete else {},
            reason=str(attrs.reason or ""),
            value=to_finite_float(attrs.objective),
        )

    def _unrecorded_trial(self, number: int, folder: Path) -> _Trial:
        """Return what a trial's directory says about it."""
        environment: JsonObject = {}
        point: Point | None = None
        with suppress(UserError):  # a file is a link
            environment = read_json(folder, "environment.json")
            point = self._study.read_recorded_point(number)
        return _Trial(
            is_recorded=False,
            status="running",
            machine=f"{to_text(environment.get('host')) or platform.node()}-",
            started_at=parse_time(environment.get("started_at")),
            params=point or {},
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
        host, beats = machine.rpartition("-")[0], self._user_attrs.get(heartbeat_key(machine))
        has_started = (folder / "config.yaml").exists()  # which is written while the lock is held
        is_trial_locked = is_locked(folder / ".lock")
        if is_trial_locked:
            return "running"
        if host != platform.node() and isinstance(beats, int):
            if self._beats.get(machine, (None, 0.0))[0] != beats:
                is_first, journal = machine not in self._beats, self._study_reader.journal
                seen_at = modified_timestamp(journal.parent, journal.name)
                self._beats[machine] = beats, seen_at if is_first else time.time()
            age = time.time() - self._beats[machine][1]
            return "running" if age < MIN_STALE_SECONDS else "stale"
        # machines share the study, or have it elsewhere
        is_shared = not self._study.trials or any(
            key.startswith(heartbeat_key("")) for key in self._user_attrs
        )
        if is_shared and host == platform.node() and not has_started:
            age = time.time() - (started_at or modified_timestamp(folder, "."))
            return "running" if age < START_SECONDS else "killed"
        return process_status(is_trial_locked, folder if folder.exists() else self.path, host)

    @cached_property
    def _user_attrs(self) -> JsonObject:
        """Attributes of the study, among them the heartbeats of machines."""
        return self._study.optuna_study.user_attrs
