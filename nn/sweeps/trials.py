"""The trials of a sweep, in Optuna's study: proposed, running, ended."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import JournalStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nn.sweeps import samplers
from nn.sweeps.journal import journal
from nn.sweeps.schema import Metric, Sweep
from nn.sweeps.space import Point, Space
from nn.tracking.files import write_whole
from nn.tracking.history import records
from nn.tracking.saved import read_json

STUDY = "sweep"


class Drawn(BaseSampler):
    """Points by chance or in a grid, which depend on seed and number alone."""

    def __init__(self, space: Space, seed: int, grid: Sequence[Point] | None) -> None:
        self.space, self.seed, self.grid = space, seed, grid

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters at once."""
        return self.space.optuna

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Go on in the grid, or draw what was not tried."""
        if self.grid is not None:
            return self.space.known_to_optuna(self.grid[trial.number])
        tried = [
            self.space.from_optuna(other.params)
            for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and other.params.keys() == search_space.keys()
        ]
        rng = np.random.default_rng([self.seed, trial.number])
        return self.space.known_to_optuna(self.space.draw(rng, tried))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Nothing is left to be drawn by itself."""
        return RandomSampler(self.seed).sample_independent(study, trial, name, distribution)


class Trials:
    """A sweep's trials and what came of them, kept in its folder."""

    def __init__(self, sweep: Sweep, folder: Path, seed: int, sampler: str | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.folder, self.space = sweep, folder, Space(sweep.parameters)
        self.grid = self.space.grid() if sweep.method == "grid" else None
        self.study = optuna.create_study(
            storage=JournalStorage(journal(folder / "study.log")),
            study_name=STUDY,
            direction=sweep.metric.goal if sweep.metric else "minimize",
            load_if_exists=True,
        )
        if sweep.method == "bayes":
            begun = len(self.all)
            self.study.sampler = samplers.made(sampler or samplers.GP, self.space, seed, begun)
        else:
            self.study.sampler = Drawn(self.space, seed, self.grid)
        for trial in self.all:
            if trial.params.keys() != self.space.optuna.keys():
                self._complete(trial)

    @property
    def all(self) -> list[FrozenTrial]:
        """All trials in their order."""
        return self.study.get_trials(deepcopy=False)

    @property
    def unfinished(self) -> list[int]:
        """The trials that were running when the sweep was stopped."""
        return [trial.number for trial in self.all if trial.state == TrialState.RUNNING]

    @property
    def limit(self) -> int | None:
        """How many trials there can be at all."""
        return None if self.grid is None else len(self.grid)

    def exhausted(self, count: int | None) -> bool:
        """Whether there is nothing more to begin."""
        limits = [limit for limit in (count, self.limit) if limit is not None]
        return len(self.all) >= min(limits, default=math.inf)

    def begin(self) -> int:
        """Propose the next point, and give its number."""
        return self.study.ask(self.space.optuna).number

    def point(self, number: int) -> Point:
        """The parameters of a trial."""
        return self.space.from_optuna(self.all[number].params)

    def path(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / "trials" / f"{number:04}"

    def end(self, number: int, status: str, reason: str | None = None) -> float | None:
        """Take note of how a trial has ended, and give its objective."""
        scored = status in ("finished", "pruned")  # whatever else happened counts as the worst
        value = objective(self.sweep.metric, self.path(number)) if scored else None
        trial = self.all[number]
        for name, content in (("status", status), ("reason", reason), ("objective", value)):
            self.study._storage.set_trial_user_attr(trial._trial_id, name, content)
        if status == "finished" and value is not None:
            self.study.tell(number, value)
        elif status == "pruned" and value is not None:
            self.study._storage.set_trial_intermediate_value(trial._trial_id, 0, value)
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, state=TrialState.FAIL)
        return value

    def _complete(self, trial: FrozenTrial) -> None:
        """Propose what was still to be proposed when the sweep was killed."""
        begun = optuna.Trial(self.study, trial._trial_id)
        for name, distribution in self.space.optuna.items():
            begun._suggest(name, distribution)

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
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
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
            point = self.space.from_optuna(trial.params)
            state = trial.user_attrs.get("status", trial.state.name.lower())
            values = [point[name] for name in names]
            place = self.path(trial.number).relative_to(self.folder)
            table.writerow([trial.number, state, _value(trial), *values, place])
        write_whole(self.folder / "trials.csv", text.getvalue().encode())


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
