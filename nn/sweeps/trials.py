"""Read-only view of a sweep's trials, and readers for the results in their run directories."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import optuna
from optuna.storages import JournalStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic_core import from_json

from nn.errors import UserError, format_value
from nn.io.coerce import drop_none, extract_column, to_finite_float, to_mapping
from nn.io.files import TailReader, atomic_write
from nn.io.paths import TRIAL_FILE, relpath
from nn.io.serialization import JsonObject
from nn.runs.history import MAX_HISTORY_BYTES, read_history
from nn.runs.reader import read_json, require_format_version
from nn.sweeps import schema
from nn.sweeps.distributions import Constant
from nn.sweeps.editions import (
    EDITIONS_KEY,
    EditedTrials,
    Edition,
    edition_index,
    is_same_value,
    load_editions,
)
from nn.sweeps.importance import ParamImportances, estimate_param_importances
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.schema import Metric, SweepConfig
from nn.sweeps.space import Point, SearchSpace, is_point
from nn.sweeps.storage import InMemoryJournalBackend, JournalLog

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

    @classmethod
    def load(cls, sweep_dir: Path) -> SweepTrials:
        """Load a sweep's trials from its directory, writing nothing; the sweep may be running."""
        reader = SweepTrialsReader(sweep_dir)
        if not reader.has_journal:
            raise UserError(f"{relpath(sweep_dir)}: no trial of this sweep has started.")
        return reader.sweep_trials

    def load_trials(self) -> None:
        """Read the study's trials, whether it is paused, and its last edition if that is new."""
        user_attrs = self.optuna_study.user_attrs
        editions, control = user_attrs.get(EDITIONS_KEY, []), user_attrs.get(CONTROL_KEY)
        self.control: Control = control if control in ("paused", "stopped") else "running"
        self.stored_trials = self.optuna_study.get_trials(deepcopy=False)
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
    def observed_trials(self) -> list[ObservedTrial]:
        """The trials that have a point, as samplers see them."""
        sign = self.sweep.metric.minimization_sign if self.sweep.metric else 1
        observed_trials = []
        for trial in self.complete_trials:
            point = self.get_point(trial.number)
            objective = TrialUserAttrs.of(trial).objective
            if objective is not None and not math.isfinite(objective):
                objective = None
            observed_trials.append(
                ObservedTrial(
                    number=trial.number,
                    point=point,
                    state=trial.state,
                    value=None if objective is None else sign * objective,
                    intermediate_values={
                        epoch: sign * value for epoch, value in trial.intermediate_values.items()
                    },
                    task=self._describe_task(point),
                )
            )
        return observed_trials

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

    def read_recorded_point(self, number: int) -> Point | None:
        """Return the point recorded in a trial's directory, or None if it is of another sweep."""
        record = read_json(self.get_trial_dir(number), TRIAL_FILE)
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
        return estimate_param_importances(self.space, self.observed_trials)

    def write_trials_csv(self) -> None:
        """Write trials.csv: one row per trial with its run's scores; unknown cells are empty."""
        points = {
            trial.number: self.get_recorded_point(trial.number) | self.get_point(trial.number)
            for trial in self.complete_trials
        }
        param_names = list(
            dict.fromkeys([*self.space.parameters, *chain.from_iterable(points.values())])
        )
        score_names = [*SUMMARY_SCORES, "epochs_trained", "seconds"]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(
            ["number", "state", "reason", "objective", *score_names, *param_names, "folder"]
        )
        for trial in self.complete_trials:
            record, trial_dir = TrialUserAttrs.of(trial), self.get_trial_dir(trial.number)
            summary, point = read_summary(trial, trial_dir), points[trial.number]
            location = str(trial_dir.relative_to(self.sweep_dir))
            if not trial_dir.exists():  # the trial ran on another machine: HOST:DIRECTORY
                location = f"{(record.machine or '').rpartition('-')[0]}:{location}"
            results = [summary.get(key) for key in (*SUMMARY_SCORES, "epochs", "seconds")]
            writer.writerow(
                [
                    *(trial.number, record.status, record.reason, record.objective),
                    *(None if to_finite_float(value) is None else value for value in results),
                    *(point.get(name, "") for name in param_names),
                    location,
                ]
            )
        atomic_write(self.sweep_dir / "trials.csv", buffer.getvalue().encode())


class SweepTrialsReader:
    """Reads a sweep's trials, and with each update only what was appended to its journal.

    That is study.log, which a sweep with `--storage` writes when it ends; if its storage is a file,
    settings.json has the path. Before there is a journal, there are no trials.
    """

    def __init__(self, sweep_dir: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._sweep = read_started_sweep(sweep_dir)
        require_sweep_format(sweep_dir)
        self._sweep_dir, self._is_damaged = sweep_dir, True
        self.journal, self._study_name = find_journal(sweep_dir)
        self._tail = TailReader(self.journal.parent, self.journal.name, MAX_HISTORY_BYTES)
        lines, _ = self._tail.read_lines()
        self._check(self._open(lines))

    def update(self) -> set[int]:
        """Read what is new and return the numbers of the trials that are new or changed."""
        lines, is_replaced = self._tail.read_lines()
        if self._is_damaged and not is_replaced:
            raise self._damage_error()
        if not lines and not is_replaced:
            return set()
        self._is_damaged = True  # unless all of this succeeds
        is_first = is_replaced or not self.has_journal
        return self._check(self._open(lines) if is_first else self._append(lines))

    def _open(self, lines: Sequence[bytes]) -> set[int]:
        self.has_journal = bool(lines)
        with self._damage_as_user_error():
            self._journal = InMemoryJournalBackend(_parse_logs(lines))
            storage = JournalStorage(self._journal)
            if not lines:
                optuna.create_study(study_name=self._study_name, storage=storage)
            optuna_study = optuna.load_study(study_name=self._study_name, storage=storage)
            self.sweep_trials = SweepTrials(self._sweep, self._sweep_dir, optuna_study)
        return set(range(len(self.sweep_trials.trials)))

    def _append(self, lines: Sequence[bytes]) -> set[int]:
        previous, num_editions = self.sweep_trials.stored_trials, len(self.sweep_trials.editions)
        with self._damage_as_user_error():
            self._journal.append_logs(_parse_logs(lines))
            self.sweep_trials.load_trials()
        if len(self.sweep_trials.editions) > num_editions:
            return set(range(len(self.sweep_trials.trials)))
        return {  # Optuna replaces a trial's object when it changes the trial
            number
            for number, trial in enumerate(self.sweep_trials.stored_trials)
            if number >= len(previous) or trial is not previous[number]
        }

    def _check(self, numbers: set[int]) -> set[int]:
        """Check that the trials have points."""
        try:
            points = [self.sweep_trials.get_point(number) for number in numbers]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._damage_error() from None
        if not all(map(is_point, points)):
            raise self._damage_error()
        self._is_damaged = False
        return numbers

    @contextmanager
    def _damage_as_user_error(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception:  # Optuna may raise anything when it replays a damaged journal
            raise self._damage_error() from None

    def _damage_error(self) -> UserError:
        return UserError(f"{relpath(self.journal)} is damaged.")


def find_journal(sweep_dir: Path) -> tuple[Path, str]:
    """Return the path of a sweep's journal and the name of its study there."""
    settings = read_json(sweep_dir, "settings.json")
    path, name = settings.get("journal"), settings.get("study_name")
    if isinstance(path, str) and isinstance(name, str):
        with suppress(OSError, ValueError):  # such as a name that is too long
            if Path(path).is_absolute() and Path(path).is_file():
                return Path(path), name
    return sweep_dir / "study.log", STUDY_NAME


def _parse_logs(lines: Sequence[bytes]) -> list[JournalLog]:
    logs: list[JournalLog] = from_json(b"[" + b",".join(lines) + b"]")
    if len(logs) != len(lines):
        raise ValueError(lines)
    return logs


def read_started_sweep(sweep_dir: Path) -> SweepConfig:
    """Read a sweep's file with the constants that the command line replaced when it started."""
    constants = read_json(sweep_dir, "settings.json").get("constants")
    sweep = schema.read_sweep_config(sweep_dir / "sweep.yaml")
    return sweep.with_constants(constants) if isinstance(constants, dict) else sweep


def require_sweep_format(sweep_dir: Path) -> None:
    """Refuse a sweep directory of another format version."""
    require_format_version(sweep_dir, "settings.json", *READABLE_FORMAT_VERSIONS)


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

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialUserAttrs:
        """Read the attributes of a trial, which may lack any of them."""
        attrs = trial.user_attrs
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
