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

from nn.errors import Mistake
from nn.io.files import write_whole
from nn.io.paths import short
from nn.runs.history import records
from nn.runs.reader import read_json
from nn.sweeps import schema
from nn.sweeps.journal import Reading
from nn.sweeps.schema import Metric, Sweep
from nn.sweeps.space import Point, Space

STUDY = "sweep"
GROWN = 8_000
"""Trials in all trees together by which importance is told; more would take long, for little."""
TRIALS_PER_PARAMETER = 10
"""Finished trials per varied parameter below which importance is only a hint.

n = 10 d is the usual size of a computer experiment (Loeppky, Sacks and Welch, 2009,
doi:10.1198/TECH.2009.08040). In simulated sweeps the most important parameter was always found
from there on, while its share still varied by about 0.1 from one sweep to the next.
"""
SCORES = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
"""Scores of a run's summary that trials.csv repeats."""


class Trials:
    """A sweep's trials, to be looked at."""

    def __init__(self, sweep: Sweep, folder: Path, study: Study) -> None:
        self.sweep, self.folder, self.study = sweep, folder, study
        self.space = Space(sweep.parameters)
        self.all: list[FrozenTrial] = study.get_trials(deepcopy=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Look at the trials of a sweep, which may go on meanwhile; nothing is written."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sweep = schema.read(folder / "sweep.yaml")
        try:
            study = optuna.load_study(study_name=STUDY, storage=JournalStorage(Reading(folder)))
            trials = cls(sweep, folder, study)
            for trial in trials.all:
                if trials.space.is_complete(trial.params):
                    trials.space.from_optuna(trial.params)
        except FileNotFoundError:
            raise Mistake(f"{short(folder)}: no trial of this sweep has begun.") from None
        except Mistake:
            raise
        except Exception:  # what a damaged journal does to Optuna is not to be foreseen
            raise Mistake(f"{short(folder / 'study.log')} is damaged.") from None
        return trials

    def point(self, number: int) -> Point:
        """The parameters of a trial."""
        return self.space.from_optuna(self.all[number].params)

    def path(self, number: int) -> Path:
        """The run folder of a trial, on the machine that runs it."""
        return self.folder / "trials" / f"{number:04}"

    def ranked(self) -> list[FrozenTrial]:
        """The trials that have an objective, best first."""
        metric = self.sweep.metric
        scored = [trial for trial in self.all if _value(trial) is not None]
        sign = metric.sign if metric else 1
        return sorted(scored, key=lambda trial: sign * (_value(trial) or 0.0))

    @property
    def failed(self) -> list[FrozenTrial]:
        """The trials that have failed, whether or not they can be retried."""
        return [
            trial
            for trial in self.all
            if trial.user_attrs.get("status") == "failed" and self.space.is_complete(trial.params)
        ]

    def importance(self) -> Importance:
        """Estimate by fANOVA how much of the objective's variance each parameter explains."""
        done = [trial for trial in self.all if trial.state == TrialState.COMPLETE]
        varied = [
            name for name in self.space.optuna if len({str(t.params[name]) for t in done}) > 1
        ]
        if len(done) < 4 or not varied or len({trial.value for trial in done}) < 2:
            return Importance({}, len(done))
        trees = max(8, min(64, GROWN // len(done)))
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=trees, seed=0)
        try:
            shares = optuna.importance.get_param_importances(
                self.study, evaluator=evaluator, params=varied
            )
        except (ValueError, RuntimeError):
            return Importance({}, len(done))
        finite = {name: float(share) for name, share in shares.items() if math.isfinite(share)}
        return Importance(finite, len(done))

    def write_table(self) -> None:
        """Write trials.csv: a row per trial, with its run's scores; unknown cells are empty."""
        names = list(self.space.parameters)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        scores = [*SCORES, "epochs_trained", "seconds"]
        table.writerow(["number", "state", "reason", "objective", *scores, *names, "folder"])
        for trial in self.all:
            if not self.space.is_complete(trial.params):
                continue  # which another machine proposes at this moment, or that was lost
            point = self.space.from_optuna(trial.params)
            state = trial.user_attrs.get("status", trial.state.name.lower())
            reason = trial.user_attrs.get("reason")
            summary = read_summary(trial, self.path(trial.number))
            found = [_number(summary.get(key)) for key in (*SCORES, "epochs", "seconds")]
            values = [point[name] for name in names]
            place = str(self.path(trial.number).relative_to(self.folder))
            if not self.path(trial.number).exists():
                place = f"{(machine(trial) or '').rpartition('-')[0]}:{place}"
            table.writerow([trial.number, state, reason, _value(trial), *found, *values, place])
        write_whole(self.folder / "trials.csv", text.getvalue().encode())


@dataclass(frozen=True)
class Importance:
    """The share of the objective's variance that each parameter explains, largest first."""

    shares: Mapping[str, float]
    num_trials: int
    """Finished trials that the estimate rests on."""

    @property
    def caution(self) -> str:
        """A warning where there are too few trials for a reliable estimate, else nothing."""
        needed = TRIALS_PER_PARAMETER * len(self.shares)
        if self.num_trials >= needed:
            return ""
        return (
            f"{self.num_trials} finished trials are few for this estimate, so treat it as a hint; "
            f"at least {needed} are advisable, {TRIALS_PER_PARAMETER} per varied parameter."
        )


def read_summary(trial: FrozenTrial, folder: Path) -> dict[str, Any]:
    """Read the summary of a trial's run; empty if it is missing, damaged or of another attempt.

    A trial that another machine took over may have left an earlier, interrupted run here.
    """
    try:
        summary = read_json(folder, "summary.json")
    except Mistake:
        return {}
    status = trial.user_attrs.get("status")
    ended = status in ("finished", "pruned", "diverged")
    return {} if ended and summary.get("status") != status else summary


def machine(trial: FrozenTrial) -> str | None:
    """The machine that runs a trial, or ran it at last."""
    name: str | None = trial.user_attrs.get("machine")
    return name


def is_retriable(trial: FrozenTrial) -> bool:
    """Whether a trial has failed for an external reason, and may be tried again on resume."""
    return trial.state == TrialState.RUNNING and bool(trial.user_attrs.get("retriable"))


def _value(trial: FrozenTrial) -> float | None:
    value: float | None = trial.user_attrs.get("objective")
    return value


def objective(metric: Metric | None, folder: Path) -> float | None:
    """The best value of the metric over a run's epochs; else the one in its summary."""
    if metric is None:
        return None
    values = metric_values(metric, folder)
    if not values:
        values = _numbers([read_json(folder, "summary.json")], metric.name)
    return min(values, key=lambda value: metric.sign * value, default=None)


def outcome(status: str, metric: Metric | None, folder: Path) -> tuple[TrialState, float | None]:
    """Return Optuna's state for how a run has ended, and its objective.

    Whatever has neither finished nor been pruned counts as the worst.
    """
    value = objective(metric, folder) if status in ("finished", "pruned") else None
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    return (TrialState.FAIL if value is None else states[status]), value


def metric_values(metric: Metric, folder: Path) -> list[float]:
    """The metric's values over the epochs that a run has written."""
    return _numbers(records(folder), metric.name)


def metric_curve(metric: Metric, folder: Path) -> dict[int, float]:
    """Return the metric by epoch, of the epochs that have it."""
    lines = [record for record in records(folder) if _numbers([record], metric.name)]
    return {int(record["epoch"]): float(record[metric.name]) for record in lines}


def _numbers(records: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    values = (_number(record.get(name)) for record in records)
    return [float(value) for value in values if value is not None]


def _number(value: object) -> int | float | None:
    """Take a finite number, and nothing else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond every float
        return None
