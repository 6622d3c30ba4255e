"""The trials of a sweep, in Optuna's study: what was tried, and what came of it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.storages import JournalStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nn.errors import Mistake
from nn.sweeps import schema
from nn.sweeps.journal import Reading
from nn.sweeps.schema import Metric, Sweep
from nn.sweeps.space import Point, Space
from nn.tracking.files import write_whole
from nn.tracking.history import records
from nn.tracking.places import short
from nn.tracking.saved import read_json

STUDY = "sweep"
GROWN = 8_000
"""Trials in all trees together by which importance is told; more would take long, for little."""


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
                if trial.params.keys() == trials.space.optuna.keys():
                    trials.space.from_optuna(trial.params)
        except FileNotFoundError:
            raise Mistake(f"{short(folder)}: no trial of this sweep has begun.") from None
        except Mistake:
            raise
        except Exception:  # what a damaged journal does to Optuna is not to be foreseen
            raise Mistake(f"{short(folder / 'study.log')} is damaged.") from None
        return trials

    @cached_property
    def grid(self) -> Sequence[Point] | None:
        """All points that there are, if the sweep goes through all."""
        return self.space.grid() if self.sweep.method == "grid" else None

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

    def importance(self) -> dict[str, float]:
        """How much of the objective's ups and downs each parameter explains."""
        done = [trial for trial in self.all if trial.state == TrialState.COMPLETE]
        varied = [
            name for name in self.space.optuna if len({str(t.params[name]) for t in done}) > 1
        ]
        if len(done) < 4 or not varied or len({trial.value for trial in done}) < 2:
            return {}
        trees = max(8, min(64, GROWN // len(done)))
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=trees, seed=0)
        return optuna.importance.get_param_importances(
            self.study, evaluator=evaluator, params=varied
        )

    def write_table(self) -> None:
        """Write trials.csv."""
        names = list(self.space.parameters)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["number", "state", "objective", *names, "folder"])
        for trial in self.all:
            if trial.params.keys() != self.space.optuna.keys():
                continue  # which another machine proposes at this moment
            point = self.space.from_optuna(trial.params)
            state = trial.user_attrs.get("status", trial.state.name.lower())
            values = [point[name] for name in names]
            place = str(self.path(trial.number).relative_to(self.folder))
            if not self.path(trial.number).exists():
                place = f"{(machine(trial) or '').rpartition('-')[0]}:{place}"
            table.writerow([trial.number, state, _value(trial), *values, place])
        write_whole(self.folder / "trials.csv", text.getvalue().encode())


def machine(trial: FrozenTrial) -> str | None:
    """The machine that runs a trial, or ran it at last."""
    name: str | None = trial.user_attrs.get("machine")
    return name


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


def metric_values(metric: Metric, folder: Path) -> list[float]:
    """The metric's values over the epochs that a run has written."""
    return _numbers(records(folder), metric.name)


def _numbers(records: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    values = (record.get(name) for record in records)
    return [
        float(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
