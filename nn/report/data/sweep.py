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
from nn.report.data.points import PointRecord, TrialRecord, group_points
from nn.report.data.run import format_reproduce_command
from nn.report.paths import display_path, strip_folder
from nn.runs.reader import Interval, modified_timestamp, read_config
from nn.runs.seeds import SEED
from nn.sweeps.distributions import InvLogUniform, LogNormal, LogUniform, LogUniformValues
from nn.sweeps.importance import ParamImportances
from nn.sweeps.points import PointRecommendation
from nn.sweeps.reader import FINAL_STATES, RunningTime, SavedSweep
from nn.sweeps.space import Point
from nn.sweeps.trial_record import ENDED_STATES

LOG_DISTRIBUTIONS = (LogUniform, LogUniformValues, InvLogUniform, LogNormal)
"""Distributions whose parameters are plotted on a logarithmic axis."""
MIN_IMPORTANCE_GROWTH = 1.1
"""Factor by which the number of finished trials grows before importances are computed again."""
MIN_RECOMMENDATION_GROWTH = 1.02
"""The same for the recommendation, while the sweep is running."""


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
    num_seeds: int
    """Seeds of the point that has most of them; 1 if trials differ in more than their seed."""
    num_ended: int
    """Trials that have a result or have failed."""
    status_counts: dict[str, int]
    parameters: list[ParameterRecord]
    """Without a `seed` that differs between trials."""
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
    constants: Point
    """Values that the command line has given to parameters with a single one."""
    paused_epochs: dict[int, int]
    """Number of paused trials by the epoch at which they are."""
    failures: dict[str, int]
    """Number of failed trials by their reason, most frequent first."""


class RecommendationRecord(TypedDict):
    """Which point is probably the best of those tried, given the noise; points by number."""

    number: int
    mean: float
    """Posterior mean of its objective."""
    contenders: list[int]
    """Points statistically indistinguishable from it, the most probable first."""
    probability_best: dict[int, float]
    """Of all points that have a result."""


class SweepDetails(TypedDict):
    """The slow or large part of a sweep."""

    importances: dict[str, float]
    """Share of the objective's variance that each parameter explains (fANOVA), largest first."""
    num_importance_trials: int
    """Points behind the estimate, a part of all if they are many."""
    importance_basis: str
    """Which points these are: finished ones, or those that have some number of epochs."""
    recommendation: RecommendationRecord | None
    sweep_yaml: str
    reproduce_commands: list[str]
    """Of the finished trials of the best point, one per seed."""
    recommended_commands: list[str]
    """The same of the recommended point, if that is another."""


class SweepReader(SavedSweep):
    """Reads a sweep's directory, and with each update only what is new in it."""

    def _reset(self) -> None:
        super()._reset()
        self._importance, self._num_importance_trials = ParamImportances({}, 0), 0
        self._recommendation: RecommendationRecord | None = None
        self._num_recommendation_trials = 0

    def record(self) -> SweepRecord:
        """Return the sweep without its trials."""
        sweep, running_time, trials = self.study.sweep, self._running_time, self.trial_records()
        counts = Counter(trial["status"] for trial in trials)
        failures = Counter(trial["reason"] for trial in trials if trial["status"] == "failed")
        paused = Counter(t["num_epochs"] for t in trials if t["status"] == "paused")
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
            "num_seeds": max([1, *(point["num_seeds"] for point in self._point_records)]),
            "num_ended": sum(counts[state] for state in FINAL_STATES),
            "status_counts": dict(counts),
            "parameters": [
                {
                    "name": name,
                    "is_varied": name in self.varied_params,
                    "is_log": isinstance(distribution, LOG_DISTRIBUTIONS),
                }
                for name, distribution in self.study.space.parameters.items()
                if name != SEED or name not in self.varied_params
            ],
            "fixed_params": {k: v for k, v in first.items() if k not in self.varied_params},
            "started_at": modified_timestamp(self.path, "sweep.yaml"),
            "running_seconds": running_time.total_seconds,
            "running_intervals": running_time.intervals,
            "pauses": running_time.pauses,
            "training_seconds": sum_known(trial["training_seconds"] for trial in trials) or None,
            "seed": to_finite_float(self.settings.get("seed")),
            "overrides": to_texts(self.settings.get("overrides")),
            "constants": to_mapping(self.settings.get("constants")),
            "paused_epochs": dict(sorted(paused.items())),
            "failures": dict(failures.most_common()),
        }

    def trial_records(self) -> list[TrialRecord]:
        """Return all trials by number."""
        return self._trial_records

    def details(self) -> SweepDetails:
        """Return what is slow to compute: importances take a second with many trials."""
        statuses = Counter(trial["status"] for trial in self.trials.values())
        num_finished = statuses["finished"] + statuses["paused"]
        num_ended = sum(statuses[state] for state in FINAL_STATES)
        min_ended = self._num_recommendation_trials * (
            MIN_RECOMMENDATION_GROWTH if self.is_running else 1
        )
        if num_ended > min_ended:
            self._recommendation, self._num_recommendation_trials = self._recommend(), num_ended
        if num_finished > MIN_IMPORTANCE_GROWTH * self._num_importance_trials:
            self._importance = self.study.get_param_importances()
            self._num_importance_trials = num_finished
        recommended = self._recommendation and next(
            (p for p in self._point_records if p["number"] == self._recommendation["number"]), None
        )
        has_other = recommended is not None and recommended["rank"] != 1
        sweep_yaml = read_regular_file(self.path, "sweep.yaml", 2**20)
        return {
            "recommendation": self._recommendation,
            "importances": dict(self._importance.shares),
            "num_importance_trials": self._importance.num_trials,
            "importance_basis": self._importance.basis,
            "sweep_yaml": sweep_yaml.decode("utf-8", "replace"),
            "reproduce_commands": self.reproduce_commands(),
            "recommended_commands": self.reproduce_commands(recommended) if has_other else [],
        }

    def _recommend(self) -> RecommendationRecord | None:
        found: PointRecommendation | None = None
        # the points and results of a damaged sweep may be anything
        with suppress(ArithmeticError, LookupError, ValueError):
            found = self.study.recommend()
        if found is None:
            return None
        return {
            "number": found.best,
            "mean": found.estimates[found.best].mean,
            "contenders": [*found.contenders],
            "probability_best": {n: each.probability_best for n, each in found.estimates.items()},
        }

    @cached_property
    def _ranks(self) -> dict[int, int]:
        """The rank of each trial that has an objective value by its number, best first.

        Trials that have not ended, such as paused ones, come after the others.
        """
        sign = self.metric.minimization_sign
        values = [
            (trial["status"] not in ENDED_STATES, sign * trial["value"], number)
            for number, trial in self.trials.items()
            if trial["value"] is not None
        ]
        return {number: rank for rank, (*_, number) in enumerate(sorted(values), 1)}

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
            record: TrialRecord = {
                **trial,
                "reason": reason,
                "rank": self._ranks.get(number),
                "seconds_until_end": seconds,
            }
            records.append(record)
        return records

    def point_records(self) -> list[PointRecord]:
        """Return the points by the number of their first trial, ranked by their means.

        If no point has several seeds, each trial is a point of its own.
        """
        return self._point_records

    @cached_property
    def _point_records(self) -> list[PointRecord]:
        return group_points(self.trial_records(), self.metric.minimization_sign)

    def best_settings(self) -> JsonObject:
        """Return the options and hyperparameters of the best point, as far as they are known."""
        config = self._best_config
        hyperparameters = {key: config[key] for key in HYPERPARAMETERS if key in config}
        return to_mapping(config.get("choices")) | hyperparameters

    def reproduce_commands(self, point: PointRecord | None = None) -> list[str]:
        """Return the shell commands that repeat the finished trials of a point, or of the best."""
        point = point or self._best_point
        return [
            format_reproduce_command(self.study.get_trial_dir(number), self._best_config)
            for number in (point["trials"] if point else [])
            if self.trials[number]["status"] == "finished"
        ]

    @property
    def _best_point(self) -> PointRecord | None:
        return next((point for point in self._point_records if point["rank"] == 1), None)

    @cached_property
    def _best_config(self) -> JsonObject:
        """The configuration of the best point; empty if its run is damaged or elsewhere."""
        if best := self._best_point:
            with suppress(UserError):
                return read_config(self.study.get_trial_dir(best["number"]))
        return {}
