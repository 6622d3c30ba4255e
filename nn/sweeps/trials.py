"""Read-only view of a sweep's trials, and the results in their run directories."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue
from threadpoolctl import threadpool_limits

from nn.errors import UserError, format_value
from nn.io.coerce import drop_none, extract_column, is_count, to_finite_float, to_mapping
from nn.io.files import atomic_write
from nn.io.paths import TRIAL_FILE, relpath
from nn.io.serialization import JsonObject
from nn.runs.history import read_history
from nn.runs.reader import read_json
from nn.sweeps.distributions import Constant
from nn.sweeps.editions import (
    EDITIONS_KEY,
    EditedTrials,
    Edition,
    edition_index,
    is_same_value,
    load_editions,
)
from nn.sweeps.importance import ParamImportances, get_param_importances
from nn.sweeps.replication import PointEstimates, estimate_points
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.schema import Metric, SweepConfig
from nn.sweeps.space import Point, SearchSpace, is_point
from nn.types import Array

if TYPE_CHECKING:
    from nn.sweeps.recommendation import PointEstimate

Control = Literal["running", "paused", "stopped"]
"""State of a sweep that `sweep.py pause`, `resume` and `stop` set."""
CONTROL_KEY = "control"
"""User attribute of the study with its `Control`."""
STUDY_NAME = "sweep"
"""Name of the study in a sweep's own study.log."""
SWEEP_FORMAT_VERSION = 3
"""Format version of a sweep directory, in settings.json; version 1 did not record it."""
READABLE_FORMAT_VERSIONS = (2, SWEEP_FORMAT_VERSION)
"""In version 2, the points of trials were the params of the Optuna study."""
REPLICATES_KEY, RACING_KEY = "replicates", "racing"
"""User attributes of the study: the number of seeds of each point, and whether points race."""
FIRST_SEED_KEY = "first_seed"
"""User attribute of the study: the seed of replicate 0 of all points."""
MAX_REPLICATES = 1000
STOP_REASON = "stopped on request"
"""Why a trial was pruned that `sweep.py stop` ended."""
ENDED_STATES = ("finished", "pruned", "diverged")
"""Final states that a run's summary can have."""
SUMMARY_SCORES = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
"""Scores that trials.csv copies from a run's summary."""


class SweepTrials:
    """Read-only view of a sweep's trials in its Optuna study."""

    def __init__(self, sweep: SweepConfig, sweep_dir: Path, optuna_study: Study) -> None:
        self.sweep, self.sweep_dir, self.optuna_study = sweep, sweep_dir, optuna_study
        self.space = SearchSpace(sweep.parameters)
        self.editions: list[Edition] = []
        """The original sweep and its edits; empty if it was never edited."""
        self.trials: list[FrozenTrial] = []
        """The trials as the last edition means them."""
        self.stored_trials: list[FrozenTrial] = []
        self.load_trials()

    def load_trials(self) -> None:
        """Read the study's trials, whether it is paused, and its last edition if that is new."""
        user_attrs = self.optuna_study.user_attrs
        editions, control = user_attrs.get(EDITIONS_KEY, []), user_attrs.get(CONTROL_KEY)
        self.control: Control = control if control in ("paused", "stopped") else "running"
        replicates, first_seed = user_attrs.get(REPLICATES_KEY), user_attrs.get(FIRST_SEED_KEY)
        self.replicates = replicates if _is_replicate(replicates) and replicates else 1
        """Number of seeds that a point has at most."""
        self.racing = user_attrs.get(RACING_KEY) is not False
        self.first_seed = first_seed if is_count(first_seed) else None
        self.stored_trials = self.optuna_study.get_trials(deepcopy=False)
        self._points: list[TriedPoint] | None = None
        try:
            if len(editions) > len(self.editions):
                self.editions = load_editions(editions)
                self._edited_trials = EditedTrials(self.editions)
                self.use_edition(self.editions[-1])
        except (TypeError, ValueError, UserError):
            raise UserError(
                f"{relpath(self.sweep_dir)}: the study's editions are damaged."
            ) from None
        self.trials = self.stored_trials
        if self.editions:
            self.trials = [self._edited_trials.read(trial) for trial in self.stored_trials]

    def use_edition(self, edition: Edition) -> None:
        """Use the sweep file of an edition for whatever is read and proposed from now on."""
        self.sweep = edition.sweep
        self.space = SearchSpace(edition.sweep.parameters)

    def get_edition(self, number: int) -> Edition | None:
        """Return the edition that proposed a trial; None if the sweep was never edited."""
        if not self.editions:
            return None
        index = edition_index(self.stored_trials[number])
        return self.editions[min(index, len(self.editions) - 1)]

    @property
    def complete_trials(self) -> list[FrozenTrial]:
        """The trials that have started and have a point; that of others was lost."""
        return [
            trial
            for trial in self.trials
            if trial.state != TrialState.WAITING
            and (trial.user_attrs.get("point") is not None or self.space.is_complete(trial.params))
        ]

    def get_point(self, number: int) -> Point:
        """Return the values of a trial's parameters as the sweep file means them; {} if lost.

        A trial of an earlier edition may lack parameters, have others, or lie outside the space.
        """
        trial = self.trials[number]
        point: Point | None = trial.user_attrs.get("point")
        if point is not None:
            return {name: point[name] for name in self.space.parameters if name in point} | point
        if self.space.is_complete(trial.params):  # written in format version 2
            return self.space.from_optuna(trial.params)
        return {}

    @property
    def points(self) -> list[TriedPoint]:
        """The points that have been tried, in the order of their first trials."""
        if self._points is None:
            self._points = self._group_trials()
        return self._points

    def _group_trials(self) -> list[TriedPoint]:
        """Group the trials by point; a trial whose point is not that of its group is its own."""
        points: dict[int, Point] = {}
        trials: dict[int, dict[int, FrozenTrial]] = {}
        complete_numbers = {trial.number for trial in self.complete_trials}
        for trial in self.trials:
            attrs, point = TrialUserAttrs.of(trial), self.get_point(trial.number)
            number = trial.number if attrs.replicate_of is None else attrs.replicate_of
            is_queued = trial.state == TrialState.WAITING and number in points
            if not is_queued and trial.number not in complete_numbers:
                continue
            if not is_queued and points.setdefault(number, point) != point:
                number = trial.number
                points[number] = point
            replicates = trials.setdefault(number, {})
            previous = replicates.get(attrs.replicate)
            if previous is None or _precedence(trial) >= _precedence(previous):
                replicates[attrs.replicate] = trial
        return [TriedPoint(number, points[number], trials[number]) for number in sorted(points)]

    def replicate_values(self, points: Sequence[TriedPoint]) -> Array:
        """Return the objectives to minimize (points, replicates) of trials that have ended.

        NaN stands for trials without a result yet, infinity for those that diverged or failed.
        """
        sign = self.sweep.metric.minimization_sign if self.sweep.metric else 1
        last = max((max(point.trials) for point in points), default=0)
        values = np.full((len(points), max(self.replicates, last + 1)), math.nan)
        for row, point in zip(values, points, strict=True):
            for replicate, trial in point.trials.items():
                if trial.state.is_finished():
                    value = to_finite_float(TrialUserAttrs.of(trial).objective)
                    row[replicate] = math.inf if value is None else sign * value
        return values

    @property
    def observed_trials(self) -> list[ObservedTrial]:
        """The trials that count and have a point, as samplers see them."""
        trials = [
            self._observe(point.trials[replicate], point, replicate)
            for point in self.points
            for replicate in sorted(point.trials)
        ]
        return sorted(trials, key=lambda trial: trial.number)

    @property
    def observed_points(self) -> list[ObservedTrial]:
        """The points as trials, each with the mean of its objectives; without one if any failed."""
        if all(point.trials.keys() == {0} for point in self.points):
            return self.observed_trials
        observed = []
        means = self.estimate_points().means
        for point, mean in zip(self.points, means, strict=True):
            state = TrialState.RUNNING if math.isnan(mean) else TrialState.COMPLETE
            if math.isinf(mean):
                state = TrialState.FAIL
            value = float(mean) if math.isfinite(mean) else None
            first = self._observe(point.trials[min(point.trials)], point, 0)
            observed.append(replace(first, number=point.number, state=state, value=value))
        return observed

    def estimate_points(self) -> PointEstimates:
        """Estimate the mean to minimize of each point over the seeds that any point has had."""
        values = self.replicate_values(self.points)
        return estimate_points(values[:, ~np.isnan(values).all(0)])

    def _observe(self, trial: FrozenTrial, point: TriedPoint, replicate: int) -> ObservedTrial:
        sign = self.sweep.metric.minimization_sign if self.sweep.metric else 1
        objective = TrialUserAttrs.of(trial).objective
        if objective is not None and not math.isfinite(objective):
            objective = None
        is_queued = trial.state == TrialState.WAITING
        return ObservedTrial(
            number=trial.number,
            point=point.point,
            state=TrialState.RUNNING if is_queued else trial.state,
            value=None if objective is None else sign * objective,
            intermediate_values={
                epoch: sign * value for epoch, value in trial.intermediate_values.items()
            },
            replicate=replicate,
            task=self._describe_task(point.point),
        )

    def get_seed(self, number: int) -> int | None:
        """Return the seed of a trial's run, None if it is not known."""
        seed = self.get_point(number).get("seed", self.first_seed)
        replicate = TrialUserAttrs.of(self.trials[number]).replicate
        return seed + replicate if is_count(seed) else None

    @property
    def queued_trials(self) -> list[FrozenTrial]:
        """The trials that start before the search proposes any, in this order."""
        return [trial for trial in self.trials if trial.state == TrialState.WAITING]

    def is_stop_requested(self, number: int) -> bool:
        """Return whether the user wants to end a trial."""
        return self.control == "stopped" or TrialUserAttrs.of(self.trials[number]).stop_requested

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

    def get_recorded_point(self, number: int) -> Point:
        """Return the point with which a trial was proposed, whatever the edition was then."""
        if not self.editions:
            return self.get_point(number)
        return self._edited_trials.get_recorded_point(self.stored_trials[number]) or {}

    def get_trial_dir(self, number: int) -> Path:
        """Return the run directory of a trial; it exists only on the machine that ran it."""
        return self.sweep_dir / "trials" / f"{number:04}"

    def read_trial_file(self, number: int) -> JsonObject:
        """Read the record of a trial in its directory."""
        return read_json(self.get_trial_dir(number), TRIAL_FILE)

    def read_recorded_point(self, number: int) -> Point | None:
        """Return the point recorded in a trial's directory, or None if it is of another sweep."""
        record = self.read_trial_file(number)
        parameters = record.get("parameters")
        if record.get("number") != number or not is_point(parameters):
            return None
        return parameters if self.find_edition(parameters) is not None else None

    def find_edition(self, point: Point) -> int | None:
        """Return the index of the last edition whose space contains a point; None if none does.

        A point that the user queued may lie outside, but has the parameters of its edition.
        """
        spaces = [SearchSpace(edition.sweep.parameters) for edition in self.editions]
        spaces = spaces or [self.space]
        for is_match in (SearchSpace.contains, SearchSpace.is_complete):
            indices = [index for index, space in enumerate(spaces) if is_match(space, point)]
            if indices:
                return indices[-1]
        return None

    def rank_trials(self) -> list[FrozenTrial]:
        """Return the trials that have an objective, best first."""
        sign = self.sweep.metric.minimization_sign if self.sweep.metric else 1
        objectives = {
            trial.number: sign * objective
            for trial in self.trials
            if (objective := TrialUserAttrs.of(trial).objective) is not None
        }
        return [self.trials[number] for number in sorted(objectives, key=objectives.__getitem__)]

    def rank_points(self) -> list[RankedPoint]:
        """Return the points that have a mean, best first among those with equally many seeds."""
        sign = self.sweep.metric.minimization_sign if self.sweep.metric else 1
        estimates = self.estimate_points()
        columns = estimates.means, estimates.std_errors, estimates.num_seeds
        ranked = [
            RankedPoint(point, sign * float(mean), float(std_error), int(num_seeds))
            for point, mean, std_error, num_seeds in zip(self.points, *columns, strict=True)
            if math.isfinite(mean)
        ]
        return sorted(ranked, key=lambda each: (-each.num_seeds, sign * each.mean))

    def recommend(self) -> PointRecommendation | None:
        """Estimate from the results of all points which one is the best; None without results."""
        from nn.sweeps.recommendation import recommend  # imports much of SciPy

        metric = self.sweep.metric
        with threadpool_limits(1):  # more threads only wait for each other
            found = recommend(self.space, metric, self.observed_trials) if metric else None
        if found is None:
            return None
        points = {trial.number: point for point in self.points for trial in point.trials.values()}
        numbers = [points[estimate.number].number for estimate in found.points]
        return PointRecommendation(
            numbers[found.best],
            [numbers[index] for index in found.contenders],
            dict(zip(numbers, found.points, strict=True)),
        )

    @property
    def failed_trials(self) -> list[FrozenTrial]:
        """The failed trials, including those that `--resume` would retry.

        Those that the user has queued again are left out.
        """
        retried = {TrialUserAttrs.of(trial).retry_of for trial in self.trials}
        return [
            trial
            for trial in self.complete_trials
            if TrialUserAttrs.of(trial).status == "failed" and trial.number not in retried
        ]

    def get_param_importances(self) -> ParamImportances:
        """Estimate how much of the objective's variance each parameter explains."""
        return get_param_importances(self.space, self.observed_points)

    def write_trials_csv(self) -> None:
        """Write trials.csv: one row per trial with its run's scores; unknown cells are empty."""
        points = {
            trial.number: self.get_recorded_point(trial.number) | self.get_point(trial.number)
            for trial in self.complete_trials
        }
        param_names = list(
            dict.fromkeys([*self.space.parameters, *chain.from_iterable(points.values())])
        )
        seed_name = [] if "seed" in param_names else ["seed"]
        score_names = [*SUMMARY_SCORES, "epochs_trained", "seconds"]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        header = ["number", "replicate_of", "replicate", *seed_name, "state", "reason", "objective"]
        writer.writerow([*header, *score_names, *param_names, "folder"])
        for trial in self.complete_trials:
            record, trial_dir = TrialUserAttrs.of(trial), self.get_trial_dir(trial.number)
            summary, point = read_summary(trial, trial_dir), points[trial.number]
            location = str(trial_dir.relative_to(self.sweep_dir))
            if not trial_dir.exists():  # the trial ran on another machine: HOST:DIRECTORY
                location = f"{(record.machine or '').rpartition('-')[0]}:{location}"
            results = [summary.get(key) for key in (*SUMMARY_SCORES, "epochs", "seconds")]
            writer.writerow(
                [
                    *(trial.number, record.replicate_of, record.replicate),
                    *(self.get_seed(trial.number) for _ in seed_name),
                    *(record.status, record.reason, record.objective),
                    *(None if to_finite_float(value) is None else value for value in results),
                    *(point.get(name, "") for name in param_names),
                    location,
                ]
            )
        atomic_write(self.sweep_dir / "trials.csv", buffer.getvalue().encode())


@dataclass(frozen=True)
class TriedPoint:
    """A point that was tried, and its runs with the sweep's seeds."""

    number: int
    """Number of its first trial."""
    point: Point
    trials: Mapping[int, FrozenTrial]
    """By replicate; of several, the last one with a result, else the last."""


@dataclass(frozen=True)
class RankedPoint:
    """A point with the mean of its results, in units of the metric."""

    point: TriedPoint
    mean: float
    """Comparable between points with different seeds."""
    std_error: float
    """NaN if nothing tells the noise of a run."""
    num_seeds: int


@dataclass(frozen=True)
class PointRecommendation:
    """The recommended point and others, by the numbers of their first trials."""

    best: int
    contenders: Sequence[int]
    """Points statistically indistinguishable from it, the most probable first."""
    estimates: Mapping[int, PointEstimate]


def _precedence(trial: FrozenTrial) -> int:
    """Rank a trial among those of its replicate: a result is above a run, above a failure."""
    if TrialUserAttrs.of(trial).status in ENDED_STATES:
        return 2
    return 0 if trial.state.is_finished() else 1


def _is_replicate(value: JsonValue) -> TypeGuard[int]:
    return is_count(value) and value <= MAX_REPLICATES


@dataclass(frozen=True, kw_only=True)
class TrialUserAttrs:
    """User attributes of an Optuna trial, by the names under which they are stored."""

    status: str
    """How the run ended, or is going: finished, pruned, diverged, failed or running."""
    reason: str | None
    objective: float | None
    machine: str | None
    """ID of the machine that runs the trial or ran it last."""
    failures: int
    """Number of failures with a cause outside the trial."""
    retriable: bool
    """Whether the last failure was one, and the trial is left open for a retry."""
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
            stop_requested=bool(attrs.get("stop_requested")),
            queued_point=to_mapping(attrs.get("queued_point")),
            retry_of=attrs.get("retry_of"),
            replicate=replicate if _is_replicate(replicate := attrs.get("replicate")) else 0,
            replicate_of=first if is_count(first) and first < trial.number else None,
        )


def read_summary(trial: FrozenTrial, run_dir: Path) -> JsonObject:
    """Read the summary of a trial's run; return an empty one if it is missing or damaged.

    It is empty too if its status is not the trial's: when another machine took the trial over, this
    directory may hold an earlier, interrupted attempt.
    """
    try:
        summary = read_json(run_dir, "summary.json")
    except UserError:
        return {}
    status = TrialUserAttrs.of(trial).status
    return {} if status in ENDED_STATES and summary.get("status") != status else summary


def read_outcome(
    status: str, metric: Metric | None, run_dir: Path
) -> tuple[TrialState, float | None]:
    """Return Optuna's state and the objective of a run that ended with a status.

    A run without an objective has failed, as has one that neither finished nor was pruned.
    """
    value = read_objective(metric, run_dir) if status in ("finished", "pruned") else None
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    return (TrialState.FAIL if value is None else states[status]), value


def read_objective(metric: Metric | None, run_dir: Path) -> float | None:
    """Return the best value of the metric over a run's epochs, else the value in its summary."""
    if metric is None:
        return None
    curve = extract_column(read_history(run_dir), metric.name)
    return best_value(metric, curve, read_json(run_dir, "summary.json"))


def best_value(metric: Metric, curve: Sequence[float | None], summary: JsonObject) -> float | None:
    """Return the best value of a metric over a run's epochs, else the value in its summary."""
    values = drop_none(curve) or drop_none([to_finite_float(summary.get(metric.name))])
    return min(values, key=lambda value: metric.minimization_sign * value, default=None)


def read_intermediate_values(metric: Metric, run_dir: Path) -> dict[int, float]:
    """Return the metric's finite values by epoch."""
    return {
        epoch: value
        for record in read_history(run_dir)
        if isinstance(epoch := record.get("epoch"), int)
        and (value := to_finite_float(record.get(metric.name))) is not None
    }
