"""The trials of a sweep, in Optuna's study: what was tried, and what came of it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.storages import JournalStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nn.errors import UserError
from nn.io.files import atomic_write
from nn.io.paths import relpath
from nn.runs.history import read_history
from nn.runs.reader import read_json, require_format_version
from nn.sweeps import schema
from nn.sweeps.journal import ReadOnlyJournalBackend
from nn.sweeps.schema import Metric, SweepConfig
from nn.sweeps.space import Point, SearchSpace

STUDY_NAME = "sweep"
SWEEP_FORMAT_VERSION = 2
"""The version of a sweep's folder, in settings.json; the first one did not name itself."""
MAX_TREES_TIMES_TRIALS = 8_000
"""Trials in all trees together by which importance is told; more would take long, for little."""
MIN_TRIALS_PER_PARAMETER = 10
"""Finished trials per varied parameter below which importance is only a hint.

n = 10 d is the usual size of a computer experiment (Loeppky, Sacks and Welch, 2009,
doi:10.1198/TECH.2009.08040). In simulated sweeps the most important parameter was always found
from there on, while its share still varied by about 0.1 from one sweep to the next.
"""
SUMMARY_SCORES = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
"""Scores of a run's summary that trials.csv repeats."""


class SweepTrials:
    """A sweep's trials, to be looked at."""

    def __init__(self, sweep: SweepConfig, sweep_dir: Path, optuna_study: Study) -> None:
        self.sweep, self.sweep_dir, self.optuna_study = sweep, sweep_dir, optuna_study
        self.space = SearchSpace(sweep.parameters)
        self.trials: list[FrozenTrial] = optuna_study.get_trials(deepcopy=False)

    @classmethod
    def load(cls, sweep_dir: Path) -> Self:
        """Look at the trials of a sweep, which may go on meanwhile; nothing is written."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sweep = schema.read_sweep_config(sweep_dir / "sweep.yaml")
        require_sweep_format(sweep_dir)
        try:
            optuna_study = optuna.load_study(
                study_name=STUDY_NAME, storage=JournalStorage(ReadOnlyJournalBackend(sweep_dir))
            )
            sweep_trials = cls(sweep, sweep_dir, optuna_study)
            for trial in sweep_trials.trials:
                if sweep_trials.space.is_complete(trial.params):
                    sweep_trials.space.from_optuna(trial.params)
        except FileNotFoundError:
            raise UserError(f"{relpath(sweep_dir)}: no trial of this sweep has begun.") from None
        except UserError:
            raise
        except Exception:  # what a damaged journal does to Optuna is not to be foreseen
            raise UserError(f"{relpath(sweep_dir / 'study.log')} is damaged.") from None
        return sweep_trials

    def get_point(self, number: int) -> Point:
        """The parameters of a trial."""
        return self.space.from_optuna(self.trials[number].params)

    def get_trial_dir(self, number: int) -> Path:
        """The run folder of a trial, on the machine that runs it."""
        return self.sweep_dir / "trials" / f"{number:04}"

    def rank_trials(self) -> list[FrozenTrial]:
        """The trials that have an objective, best first."""
        metric = self.sweep.metric
        scored = [trial for trial in self.trials if _get_objective(trial) is not None]
        sign = metric.minimization_sign if metric else 1
        return sorted(scored, key=lambda trial: sign * (_get_objective(trial) or 0.0))

    @property
    def failed_trials(self) -> list[FrozenTrial]:
        """The trials that have failed, whether or not they can be retried."""
        return [
            trial
            for trial in self.trials
            if trial.user_attrs.get("status") == "failed" and self.space.is_complete(trial.params)
        ]

    def get_param_importances(self) -> ParamImportances:
        """Estimate by fANOVA how much of the objective's variance each parameter explains."""
        completed_trials = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        varied_params = [
            name
            for name in self.space.optuna_distributions
            if len({str(t.params[name]) for t in completed_trials}) > 1
        ]
        if (
            len(completed_trials) < 4
            or not varied_params
            or len({trial.value for trial in completed_trials}) < 2
        ):
            return ParamImportances({}, len(completed_trials))
        n_trees = max(8, min(64, MAX_TREES_TIMES_TRIALS // len(completed_trials)))
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=n_trees, seed=0)
        try:
            shares = optuna.importance.get_param_importances(
                self.optuna_study, evaluator=evaluator, params=varied_params
            )
        except (ValueError, RuntimeError):
            return ParamImportances({}, len(completed_trials))
        finite = {name: float(share) for name, share in shares.items() if math.isfinite(share)}
        return ParamImportances(finite, len(completed_trials))

    def write_trials_csv(self) -> None:
        """Write trials.csv: a row per trial, with its run's scores; unknown cells are empty."""
        param_names = list(self.space.parameters)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        score_names = [*SUMMARY_SCORES, "epochs_trained", "seconds"]
        writer.writerow(
            ["number", "state", "reason", "objective", *score_names, *param_names, "folder"]
        )
        for trial in self.trials:
            if not self.space.is_complete(trial.params):
                continue  # which another machine proposes at this moment, or that was lost
            point = self.space.from_optuna(trial.params)
            state = trial.user_attrs.get("status", trial.state.name.lower())
            reason = trial.user_attrs.get("reason")
            summary = read_summary(trial, self.get_trial_dir(trial.number))
            scores = [
                _finite_number(summary.get(key)) for key in (*SUMMARY_SCORES, "epochs", "seconds")
            ]
            values = [point[name] for name in param_names]
            location = str(self.get_trial_dir(trial.number).relative_to(self.sweep_dir))
            if not self.get_trial_dir(trial.number).exists():
                location = f"{(get_machine_id(trial) or '').rpartition('-')[0]}:{location}"
            writer.writerow(
                [trial.number, state, reason, _get_objective(trial), *scores, *values, location]
            )
        atomic_write(self.sweep_dir / "trials.csv", buffer.getvalue().encode())


def require_sweep_format(sweep_dir: Path) -> None:
    """Refuse the folder of a sweep that another version of this program has written."""
    require_format_version(sweep_dir, "settings.json", SWEEP_FORMAT_VERSION)


@dataclass(frozen=True)
class ParamImportances:
    """The share of the objective's variance that each parameter explains, largest first."""

    shares: Mapping[str, float]
    num_trials: int
    """Finished trials that the estimate rests on."""

    @property
    def warning(self) -> str:
        """A warning where there are too few trials for a reliable estimate, else nothing."""
        min_trials = MIN_TRIALS_PER_PARAMETER * len(self.shares)
        if self.num_trials >= min_trials:
            return ""
        return (
            f"{self.num_trials} finished trials are few for this estimate, so treat it as a hint; "
            f"at least {min_trials} are advisable, {MIN_TRIALS_PER_PARAMETER} per varied parameter."
        )


def read_summary(trial: FrozenTrial, run_dir: Path) -> dict[str, Any]:
    """Read the summary of a trial's run; empty if it is missing, damaged or of another attempt.

    A trial that another machine took over may have left an earlier, interrupted run here.
    """
    try:
        summary = read_json(run_dir, "summary.json")
    except UserError:
        return {}
    status = trial.user_attrs.get("status")
    has_ended = status in ("finished", "pruned", "diverged")
    return {} if has_ended and summary.get("status") != status else summary


def get_machine_id(trial: FrozenTrial) -> str | None:
    """The machine that runs a trial, or ran it at last."""
    machine_id: str | None = trial.user_attrs.get("machine")
    return machine_id


def is_retriable(trial: FrozenTrial) -> bool:
    """Whether a trial has failed for an external reason, and may be tried again on resume."""
    return trial.state == TrialState.RUNNING and bool(trial.user_attrs.get("retriable"))


def _get_objective(trial: FrozenTrial) -> float | None:
    value: float | None = trial.user_attrs.get("objective")
    return value


def read_objective(metric: Metric | None, run_dir: Path) -> float | None:
    """The best value of the metric over a run's epochs; else the one in its summary."""
    if metric is None:
        return None
    values = read_metric_values(metric, run_dir)
    if not values:
        values = _finite_metric_values([read_json(run_dir, "summary.json")], metric.name)
    return min(values, key=lambda value: metric.minimization_sign * value, default=None)


def read_outcome(
    status: str, metric: Metric | None, run_dir: Path
) -> tuple[TrialState, float | None]:
    """Return Optuna's state for how a run has ended, and its objective.

    Whatever has neither finished nor been pruned counts as the worst.
    """
    value = read_objective(metric, run_dir) if status in ("finished", "pruned") else None
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    return (TrialState.FAIL if value is None else states[status]), value


def read_metric_values(metric: Metric, run_dir: Path) -> list[float]:
    """The metric's values over the epochs that a run has written."""
    return _finite_metric_values(read_history(run_dir), metric.name)


def read_intermediate_values(metric: Metric, run_dir: Path) -> dict[int, float]:
    """Return the metric by epoch, of the epochs that have it."""
    metric_records = [
        record for record in read_history(run_dir) if _finite_metric_values([record], metric.name)
    ]
    return {int(record["epoch"]): float(record[metric.name]) for record in metric_records}


def _finite_metric_values(
    epoch_records: Sequence[Mapping[str, Any]], metric_name: str
) -> list[float]:
    values = (_finite_number(record.get(metric_name)) for record in epoch_records)
    return [float(value) for value in values if value is not None]


def _finite_number(value: object) -> int | float | None:
    """Take a finite number, and nothing else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond every float
        return None
