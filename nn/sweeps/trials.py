"""Read-only view of a sweep's trials, and readers for the results in their run directories."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic_core import from_json

from nn.errors import UserError
from nn.io.coerce import drop_none, extract_column, to_finite_float
from nn.io.files import TailReader, atomic_write
from nn.io.paths import TRIAL_FILE, relpath
from nn.io.serialization import JsonObject
from nn.runs.history import MAX_HISTORY_BYTES, read_history
from nn.runs.reader import read_json, require_format_version
from nn.sweeps import schema
from nn.sweeps.schema import Metric, SweepConfig
from nn.sweeps.space import Point, SearchSpace, point_key
from nn.sweeps.storage import InMemoryJournalBackend, JournalLog

STUDY_NAME = "sweep"
"""Name of the study in a sweep's own study.log."""
SWEEP_FORMAT_VERSION = 2
"""Format version of a sweep directory, in settings.json; version 1 did not record it."""
MAX_IMPORTANCE_TRIALS = 1000
"""Trials, evenly spaced, to which fANOVA is limited: its time grows with them for little gain."""
MAX_TREES_TIMES_TRIALS = 16_000
MAX_TREE_DEPTH = 8
"""Deeper nodes cost most of the time of fANOVA and fit noise: they change no share by 0.03."""
MIN_TRIALS_PER_PARAMETER = 10
"""Finished trials per varied parameter below which an importance is only a hint.

n = 10 d is the usual size of a computer experiment (Loeppky, Sacks and Welch, 2009,
doi:10.1198/TECH.2009.08040). In simulated sweeps this many trials always identified the most
important parameter, while its share still varied by about 0.1 from one sweep to the next.
"""
ENDED_STATES = ("finished", "pruned", "diverged")
"""Final states that a run's summary can have."""
SUMMARY_SCORES = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
"""Scores that trials.csv copies from a run's summary."""


class SweepTrials:
    """Read-only view of a sweep's trials in its Optuna study."""

    def __init__(self, sweep: SweepConfig, sweep_dir: Path, optuna_study: Study) -> None:
        self.sweep, self.sweep_dir, self.optuna_study = sweep, sweep_dir, optuna_study
        self.space = SearchSpace(sweep.parameters)
        self.trials: list[FrozenTrial] = optuna_study.get_trials(deepcopy=False)

    @classmethod
    def load(cls, sweep_dir: Path) -> SweepTrials:
        """Load a sweep's trials from its directory, writing nothing; the sweep may be running."""
        reader = SweepTrialsReader(sweep_dir)
        if not reader.has_journal:
            raise UserError(f"{relpath(sweep_dir)}: no trial of this sweep has started.")
        return reader.sweep_trials

    @property
    def complete_trials(self) -> list[FrozenTrial]:
        """The trials that have all parameters; others are still being proposed or were lost."""
        return [trial for trial in self.trials if self.space.is_complete(trial.params)]

    def get_point(self, number: int) -> Point:
        """Return the parameter values of a trial, as the sweep file means them."""
        return self.space.from_optuna(self.trials[number].params)

    def get_trial_dir(self, number: int) -> Path:
        """Return the run directory of a trial; it exists only on the machine that ran it."""
        return self.sweep_dir / "trials" / f"{number:04}"

    def read_recorded_point(self, number: int) -> Point | None:
        """Return the point recorded in a trial's directory, or None if it is not of this space."""
        record = read_json(self.get_trial_dir(number), TRIAL_FILE)
        parameters = record.get("parameters")
        if record.get("number") != number or not isinstance(parameters, dict):
            return None
        if not self.space.is_complete(parameters):
            return None
        point = {name: parameters[name] for name in self.space.parameters}
        try:
            round_trip = self.space.from_optuna(self.space.to_optuna(point))
        except (KeyError, ValueError, TypeError, OverflowError):
            return None
        return point if point_key(round_trip) == point_key(point) else None

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
        """The failed trials, including those that `--resume` would retry."""
        return [
            trial for trial in self.complete_trials if TrialUserAttrs.of(trial).status == "failed"
        ]

    def get_param_importances(self) -> ParamImportances:
        """Estimate by fANOVA how much of the objective's variance each parameter explains."""
        finished = [t for t in self.complete_trials if t.state == TrialState.COMPLETE]
        study = self.optuna_study
        if len(finished) > MAX_IMPORTANCE_TRIALS:
            positions = np.linspace(0, len(finished) - 1, MAX_IMPORTANCE_TRIALS)
            finished = [finished[position] for position in positions.round().astype(int)]
            study = optuna.create_study(storage=InMemoryStorage())
        varied_params = [
            name
            for name in self.space.optuna_distributions
            if len({str(trial.params[name]) for trial in finished}) > 1
        ]
        num_values = len({trial.value for trial in finished})
        if len(finished) < 4 or not varied_params or num_values < 2:
            return ParamImportances({}, len(finished))
        evaluator = optuna.importance.FanovaImportanceEvaluator(
            n_trees=min(64, MAX_TREES_TIMES_TRIALS // len(finished)),
            max_depth=MAX_TREE_DEPTH,
            seed=0,
        )
        try:
            if study is not self.optuna_study:  # which copies the trials, so it is slow
                study.add_trials(finished)
            shares = optuna.importance.get_param_importances(
                study, evaluator=evaluator, params=varied_params
            )
        except Exception:  # Optuna may raise anything for values outside of the space
            shares = {}
        finite = {name: float(share) for name, share in shares.items() if math.isfinite(share)}
        return ParamImportances(finite, len(finished))

    def write_trials_csv(self) -> None:
        """Write trials.csv: one row per trial with its run's scores; unknown cells are empty."""
        param_names = list(self.space.parameters)
        score_names = [*SUMMARY_SCORES, "epochs_trained", "seconds"]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(
            ["number", "state", "reason", "objective", *score_names, *param_names, "folder"]
        )
        for trial in self.complete_trials:
            record, trial_dir = TrialUserAttrs.of(trial), self.get_trial_dir(trial.number)
            summary, point = read_summary(trial, trial_dir), self.space.from_optuna(trial.params)
            location = str(trial_dir.relative_to(self.sweep_dir))
            if not trial_dir.exists():  # the trial ran on another machine: HOST:DIRECTORY
                location = f"{(record.machine or '').rpartition('-')[0]}:{location}"
            results = [summary.get(key) for key in (*SUMMARY_SCORES, "epochs", "seconds")]
            writer.writerow(
                [
                    *(trial.number, record.status, record.reason, record.objective),
                    *(None if to_finite_float(value) is None else value for value in results),
                    *(point[name] for name in param_names),
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
        self._sweep = schema.read_sweep_config(sweep_dir / "sweep.yaml")
        require_sweep_format(sweep_dir)
        self._sweep_dir, self._is_damaged = sweep_dir, True
        self.journal, self._study_name = _find_journal(sweep_dir)
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
        previous = self.sweep_trials.trials
        with self._damage_as_user_error():
            self._journal.append_logs(_parse_logs(lines))
            self.sweep_trials.trials = self.sweep_trials.optuna_study.get_trials(deepcopy=False)
        return {  # Optuna replaces a trial's object when it changes the trial
            number
            for number, trial in enumerate(self.sweep_trials.trials)
            if number >= len(previous) or trial is not previous[number]
        }

    def _check(self, numbers: set[int]) -> set[int]:
        """Check that the trials with all parameters are points of the search space."""
        space = self.sweep_trials.space
        try:
            for number in numbers:
                if space.is_complete(self.sweep_trials.trials[number].params):
                    self.sweep_trials.get_point(number)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._damage_error() from None
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


def _find_journal(sweep_dir: Path) -> tuple[Path, str]:
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


def require_sweep_format(sweep_dir: Path) -> None:
    """Refuse a sweep directory of another format version."""
    require_format_version(sweep_dir, "settings.json", SWEEP_FORMAT_VERSION)


@dataclass(frozen=True)
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
        )


@dataclass(frozen=True)
class ParamImportances:
    """The share of the objective's variance that each parameter explains, largest first."""

    shares: Mapping[str, float]
    num_trials: int
    """Number of finished trials behind the estimate, at most `MAX_IMPORTANCE_TRIALS`."""

    @property
    def warning(self) -> str:
        """A warning if there are too few trials for a reliable estimate, else an empty string."""
        min_trials = MIN_TRIALS_PER_PARAMETER * len(self.shares)
        if self.num_trials >= min_trials:
            return ""
        return (
            f"{self.num_trials} finished trials are few for this estimate, so treat it as a hint; "
            f"at least {min_trials} are recommended ({MIN_TRIALS_PER_PARAMETER} per varied "
            "parameter)."
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
