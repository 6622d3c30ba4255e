"""Read-only view of a sweep's trials, and readers for the results in their run directories."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import optuna
from optuna.storages import JournalStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue

from nn.errors import UserError
from nn.io.files import atomic_write
from nn.io.paths import relpath
from nn.runs.history import read_history
from nn.runs.reader import read_json, require_format_version
from nn.sweeps import schema
from nn.sweeps.schema import Metric, SweepConfig
from nn.sweeps.space import Point, SearchSpace
from nn.sweeps.storage import InMemoryJournalBackend

STUDY_NAME = "sweep"
"""Name of the study in a sweep's own study.log."""
SWEEP_FORMAT_VERSION = 2
"""Format version of a sweep directory, in settings.json; version 1 did not record it."""
MAX_TREES_TIMES_TRIALS = 8_000
"""Limit on trees times trials in fANOVA, whose time grows with both for little gain."""
MIN_TRIALS_PER_PARAMETER = 10
"""Finished trials per varied parameter below which an importance is only a hint.

n = 10 d is the usual size of a computer experiment (Loeppky, Sacks and Welch, 2009,
doi:10.1198/TECH.2009.08040). In simulated sweeps this many trials always identified the most
important parameter, while its share still varied by about 0.1 from one sweep to the next.
"""
SUMMARY_SCORES = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
"""Scores that trials.csv copies from a run's summary."""


class SweepTrials:
    """Read-only view of a sweep's trials in its Optuna study."""

    def __init__(self, sweep: SweepConfig, sweep_dir: Path, optuna_study: Study) -> None:
        self.sweep, self.sweep_dir, self.optuna_study = sweep, sweep_dir, optuna_study
        self.space = SearchSpace(sweep.parameters)
        self.trials: list[FrozenTrial] = optuna_study.get_trials(deepcopy=False)

    @classmethod
    def load(cls, sweep_dir: Path) -> Self:
        """Load a sweep's trials from its directory, writing nothing; the sweep may be running."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sweep = schema.read_sweep_config(sweep_dir / "sweep.yaml")
        require_sweep_format(sweep_dir)
        damaged = UserError(f"{relpath(sweep_dir / 'study.log')} is damaged.")
        try:
            journal = InMemoryJournalBackend.load(sweep_dir)
        except FileNotFoundError:
            raise UserError(f"{relpath(sweep_dir)}: no trial of this sweep has started.") from None
        except (ValueError, RecursionError):
            raise damaged from None
        try:
            optuna_study = optuna.load_study(study_name=STUDY_NAME, storage=JournalStorage(journal))
        except MemoryError:
            raise
        except Exception:  # Optuna may raise anything when it replays a damaged journal
            raise damaged from None
        sweep_trials = cls(sweep, sweep_dir, optuna_study)
        try:
            for trial in sweep_trials.complete_trials:
                sweep_trials.space.from_optuna(trial.params)
        except (KeyError, TypeError, ValueError):
            raise damaged from None
        return sweep_trials

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
        finished = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        varied_params = [
            name
            for name in self.space.optuna_distributions
            if len({str(trial.params[name]) for trial in finished}) > 1
        ]
        num_values = len({trial.value for trial in finished})
        if len(finished) < 4 or not varied_params or num_values < 2:
            return ParamImportances({}, len(finished))
        n_trees = max(8, min(64, MAX_TREES_TIMES_TRIALS // len(finished)))
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=n_trees, seed=0)
        try:
            shares = optuna.importance.get_param_importances(
                self.optuna_study, evaluator=evaluator, params=varied_params
            )
        except (ValueError, RuntimeError):
            shares = {}
        finite_shares = {
            name: float(share) for name, share in shares.items() if math.isfinite(share)
        }
        return ParamImportances(finite_shares, len(finished))

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
            writer.writerow(
                [
                    *(trial.number, record.status, record.reason, record.objective),
                    *(
                        _finite_number(summary.get(key))
                        for key in (*SUMMARY_SCORES, "epochs", "seconds")
                    ),
                    *(point[name] for name in param_names),
                    location,
                ]
            )
        atomic_write(self.sweep_dir / "trials.csv", buffer.getvalue().encode())


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
    """Number of finished trials behind the estimate."""

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


def read_summary(trial: FrozenTrial, run_dir: Path) -> dict[str, JsonValue]:
    """Read the summary of a trial's run; return an empty one if it is missing or damaged.

    It is empty too if its status is not the trial's: when another machine took the trial over, this
    directory may hold an earlier, interrupted attempt.
    """
    try:
        summary = read_json(run_dir, "summary.json")
    except UserError:
        return {}
    status = TrialUserAttrs.of(trial).status
    has_ended = status in ("finished", "pruned", "diverged")
    return {} if has_ended and summary.get("status") != status else summary


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
    values = _finite_values(read_history(run_dir), metric)
    if not values:
        values = _finite_values([read_json(run_dir, "summary.json")], metric)
    return min(values, key=lambda value: metric.minimization_sign * value, default=None)


def read_intermediate_values(metric: Metric, run_dir: Path) -> dict[int, float]:
    """Return the metric's finite values by epoch."""
    return {
        epoch: value
        for record in read_history(run_dir)
        if isinstance(epoch := record.get("epoch"), int)
        for value in _finite_values([record], metric)
    }


def _finite_values(records: Sequence[Mapping[str, JsonValue]], metric: Metric) -> list[float]:
    values = (_finite_number(record.get(metric.name)) for record in records)
    return [float(value) for value in values if value is not None]


def _finite_number(value: JsonValue) -> int | float | None:
    """Return a finite number as it is, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the range of floats
        return None
