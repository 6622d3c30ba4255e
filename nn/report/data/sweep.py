"""A sweep as plain JSON, read incrementally from its directory."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import cached_property
from typing import TypedDict

from nn.config.schema import HYPERPARAMETERS
from nn.errors import UserError
from nn.io.coerce import sum_known, to_finite_float, to_mapping, to_texts
from nn.io.files import read_regular_file
from nn.io.serialization import JsonObject
from nn.report.data.run import format_reproduce_command
from nn.report.paths import display_path, strip_folder
from nn.runs.reader import Interval, modified_timestamp, read_config
from nn.sweeps.distributions import InvLogUniform, LogNormal, LogUniform, LogUniformValues
from nn.sweeps.importance import ParamImportances
from nn.sweeps.reader import FINAL_STATES, RunningTime, SavedSweep, SavedTrial
from nn.sweeps.space import Point

LOG_DISTRIBUTIONS = (LogUniform, LogUniformValues, InvLogUniform, LogNormal)
"""Distributions whose parameters are plotted on a logarithmic axis."""
MIN_IMPORTANCE_GROWTH = 1.1
"""Factor by which the number of finished trials grows before importances are computed again."""


class TrialRecord(SavedTrial):
    """A trial with its place among the others."""

    rank: int | None
    """By the objective, 1 for the best."""
    seconds_until_end: float | None
    """The running time of the sweep, without pauses, at which it ended."""


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
    num_ended: int
    """Trials that have a result or have failed."""
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


class SweepReader(SavedSweep):
    """Reads a sweep's directory, and with each update only what is new in it."""

    def _reset(self) -> None:
        super()._reset()
        self._importance, self._num_importance_trials = ParamImportances({}, 0), 0

    def record(self) -> SweepRecord:
        """Return the sweep without its trials."""
        sweep, running_time, trials = self.study.sweep, self._running_time, self.trial_records()
        counts = Counter(trial["status"] for trial in trials)
        failures = Counter(trial["reason"] for trial in trials if trial["status"] == "failed")
        first = trials[0]["params"] if trials else {}
        return {
            "path": display_path(self.path),
            "title": sweep.name or self.path.absolute().name,
            "name": sweep.name,
            "description": sweep.description,
            "status": self.status,
            "method": sweep.method,
            "metric": self.metric.name,
            "goal": self.metric.goal,
            "target": self.metric.target,
            "has_own_metric": sweep.metric is not None,
            "max_trials": self.max_trials,
            "num_trials": len(trials),
            "num_ended": sum(counts[state] for state in FINAL_STATES),
            "status_counts": dict(counts),
            "parameters": [
                {
                    "name": name,
                    "is_varied": name in self.varied_params,
                    "is_log": isinstance(distribution, LOG_DISTRIBUTIONS),
                }
                for name, distribution in self.study.space.parameters.items()
            ],
            "fixed_params": {k: v for k, v in first.items() if k not in self.varied_params},
            "started_at": modified_timestamp(self.path, "sweep.yaml"),
            "running_seconds": running_time.total_seconds,
            "running_intervals": running_time.intervals,
            "pauses": running_time.pauses,
            "training_seconds": sum_known(trial["training_seconds"] for trial in trials) or None,
            "seed": to_finite_float(self.settings.get("seed")),
            "overrides": to_texts(self.settings.get("overrides")),
            "failures": dict(failures.most_common()),
        }

    def trial_records(self) -> list[TrialRecord]:
        """Return all trials by number."""
        return self._trial_records

    def details(self) -> SweepDetails:
        """Return what is slow to compute: importances take a second with many trials."""
        num_finished = sum(trial["status"] == "finished" for trial in self.trials.values())
        if num_finished > MIN_IMPORTANCE_GROWTH * self._num_importance_trials:
            self._importance = self.study.get_param_importances()
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
        values = [(sign * t["value"], n) for n, t in self.trials.items() if t["value"] is not None]
        return {number: rank for rank, (_, number) in enumerate(sorted(values), 1)}

    @cached_property
    def _running_time(self) -> RunningTime:
        return RunningTime(i for trial in self.trials.values() for i in trial["intervals"])

    @cached_property
    def _trial_records(self) -> list[TrialRecord]:
        records: list[TrialRecord] = []
        for number in sorted(self.trials):
            trial, seconds = self.trials[number], None
            if trial["ended_at"] is not None and trial["intervals"]:
                seconds = self._running_time.seconds_at(trial["ended_at"])
            reason = strip_folder(trial["reason"], self.path) if trial["reason"] else ""
            rank = self._ranks.get(number)
            records.append({**trial, "reason": reason, "rank": rank, "seconds_until_end": seconds})
        return records

    def best_settings(self) -> JsonObject:
        """Return the options and hyperparameters of the best trial, as far as they are known."""
        config = self._best_config
        hyperparameters = {key: config[key] for key in HYPERPARAMETERS if key in config}
        return to_mapping(config.get("choices")) | hyperparameters

    def reproduce_command(self) -> str | None:
        """Return the shell command that repeats the best trial's run if that has finished."""
        best = next(iter(self._ranks), None)
        if best is None or self.trials[best]["status"] != "finished":
            return None
        return format_reproduce_command(self.study.get_trial_dir(best), self._best_config)

    @cached_property
    def _best_config(self) -> JsonObject:
        """The configuration of the best trial; empty if its run is damaged or elsewhere."""
        with suppress(UserError, StopIteration):
            return read_config(self.study.get_trial_dir(next(iter(self._ranks))))
        return {}
