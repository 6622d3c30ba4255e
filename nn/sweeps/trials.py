"""Read-only view of a sweep's trials."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from nn.errors import UserError
from nn.io.coerce import is_count, to_finite_float
from nn.io.files import atomic_write
from nn.io.paths import TRIAL_FILE, relpath
from nn.io.serialization import JsonObject
from nn.runs.reader import read_json
from nn.sweeps.asha import DEFAULT_CONFIG, Rungs
from nn.sweeps.distributions import Constant
from nn.sweeps.editions import (
    EDITIONS_KEY,
    EditedTrials,
    Edition,
    edition_index,
    load_editions,
)
from nn.sweeps.importance import (
    MIN_TRIALS_PER_PARAMETER,
    ParamImportances,
    get_param_importances,
)
from nn.sweeps.outcome import has_run_in, read_summary
from nn.sweeps.points import (
    PointRecommendation,
    RankedPoint,
    TrialIndex,
    TriedPoint,
    replicate_values,
)
from nn.sweeps.replication import PointEstimates, estimate_points
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.schema import SweepConfig
from nn.sweeps.space import Point, SearchSpace, is_point
from nn.sweeps.trial_record import ENDED_STATES, TrialRecord, TrialUserAttrs, is_replicate
from nn.types import Array

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
MAX_EPOCHS_KEY = "max_epochs"
"""User attribute of the study, if trials pause at rungs: the epochs of a whole run."""
STOP_REASON = "stopped on request"
"""Why a trial was pruned that `sweep.py stop` ended."""
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
        self._index = TrialIndex(self.space, 0, _as_stored)  # replaced by the first load
        self.load_trials()

    def load_trials(self) -> list[int]:
        """Read the study's trials, whether it is paused, and its last edition if that is new.

        Returns:
            The numbers of the trials that are new or changed.
        """
        user_attrs = self.optuna_study.user_attrs
        editions, control = user_attrs.get(EDITIONS_KEY, []), user_attrs.get(CONTROL_KEY)
        self.control: Control = control if control in ("paused", "stopped") else "running"
        replicates, first_seed = user_attrs.get(REPLICATES_KEY), user_attrs.get(FIRST_SEED_KEY)
        self.replicates = replicates if is_replicate(replicates) and replicates else 1
        """Number of seeds that a point has at most."""
        self.racing = user_attrs.get(RACING_KEY) is not False
        self.first_seed = first_seed if is_count(first_seed) else None
        max_epochs = user_attrs.get(MAX_EPOCHS_KEY)
        self.max_epochs = max_epochs if is_count(max_epochs) else None
        """Epochs of a whole run, if trials pause at rungs before."""
        stored_trials = self.optuna_study.get_trials(deepcopy=False)
        try:
            if len(editions) > len(self.editions):
                self.editions = load_editions(editions)
                self._edited_trials = EditedTrials(self.editions)
                self.use_edition(self.editions[-1])
        except (TypeError, ValueError, UserError):
            raise UserError(
                f"{relpath(self.sweep_dir)}: the study's editions are damaged."
            ) from None
        if (self._index.space, self._index.sign) != (self.space, self.minimization_sign):
            read = self._edited_trials.read if self.editions else _as_stored
            self._index = TrialIndex(self.space, self.minimization_sign, read)
        return self._index_trials(stored_trials)

    def _index_trials(self, stored_trials: list[FrozenTrial]) -> list[int]:
        """Use these trials, and return the numbers of those that are new or changed."""
        changed = self._index.update(stored_trials)
        self.stored_trials = self.trials = stored_trials
        if self.editions:
            self.trials = [record.trial for record in self._index.records]
        return changed

    def use_edition(self, edition: Edition) -> None:
        """Use the sweep file of an edition for whatever is read and proposed from now on."""
        self.sweep = edition.sweep
        self.space = SearchSpace(edition.sweep.parameters)

    @property
    def minimization_sign(self) -> int:
        """1 if lower values of the metric are better, or there is none, else -1."""
        return self.sweep.metric.minimization_sign if self.sweep.metric else 1

    @property
    def needs_intermediate_values(self) -> bool:
        """Whether the study needs the metric of each epoch, not only the objective."""
        return self.sweep.needs_intermediate_values or self.max_epochs is not None

    @property
    def rungs(self) -> Rungs | None:
        """The epochs at which trials pause, until they are among the best there; None if never."""
        if self.max_epochs is None:
            return None
        return Rungs.of(self.sweep.early_terminate or DEFAULT_CONFIG, self.max_epochs)

    def get_edition(self, number: int) -> Edition | None:
        """Return the edition that proposed a trial; None if the sweep was never edited."""
        if not self.editions:
            return None
        index = edition_index(self.stored_trials[number])
        return self.editions[min(index, len(self.editions) - 1)]

    @property
    def complete_trials(self) -> list[FrozenTrial]:
        """The trials that have started and have a point; that of others was lost."""
        return self._index.select(self._index.complete)

    def get_point(self, number: int) -> Point:
        """Return the values of a trial's parameters as the sweep file means them; {} if lost.

        A trial of an earlier edition may lack parameters, have others, or lie outside the space.
        """
        return self._index.records[number].point

    @property
    def points(self) -> list[TriedPoint]:
        """The points that have been tried, in the order of their first trials."""
        return self._index.points

    def replicate_values(self, points: Sequence[TriedPoint]) -> Array:
        """Return the objectives to minimize (points, replicates) of trials that have ended.

        NaN stands for trials without a result yet, infinity for those that diverged or failed.
        """
        return replicate_values(points, self.replicates)

    @property
    def observed_trials(self) -> list[ObservedTrial]:
        """The trials that count and have a point, as samplers see them."""
        return self._index.observed_trials

    @property
    def observed_points(self) -> list[ObservedTrial]:
        """The points as trials, each with the mean of its objectives; without one if any failed."""
        if all(point.records.keys() == {0} for point in self.points):
            return self.observed_trials
        observed = []
        means = self.estimate_points().means
        for point, mean in zip(self.points, means, strict=True):
            state = TrialState.RUNNING if math.isnan(mean) else TrialState.COMPLETE
            if math.isinf(mean):
                state = TrialState.FAIL
            value = float(mean) if math.isfinite(mean) else None
            first = self._index.observe(point.records[min(point.records)], point, 0)
            observed.append(replace(first, number=point.number, state=state, value=value))
        return observed

    def estimate_points(self) -> PointEstimates:
        """Estimate the mean to minimize of each point over the seeds that any point has had."""
        values = self.replicate_values(self.points)
        return estimate_points(values[:, ~np.isnan(values).all(0)])

    def get_seed(self, number: int) -> int | None:
        """Return the seed of a trial's run, None if it is not known."""
        seed = self.get_point(number).get("seed", self.first_seed)
        replicate = self._index.records[number].attrs.replicate
        return seed + replicate if is_count(seed) else None

    @property
    def queued_trials(self) -> list[FrozenTrial]:
        """The trials that start before the search proposes any, in this order."""
        return self._index.select(self._index.queued)

    @property
    def paused_trials(self) -> list[FrozenTrial]:
        """The trials that wait at a rung until they are promoted, if ever."""
        return self._index.select(self._index.paused)

    @property
    def num_paused(self) -> int:
        """The number of `paused_trials`."""
        return len(self._index.paused)

    def is_stop_requested(self, number: int) -> bool:
        """Return whether the user wants to end a trial."""
        return self.control == "stopped" or TrialUserAttrs.of(self.trials[number]).stop_requested

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
        """Return the trials that have an objective, best first; after them those not ended yet."""
        sign = self.minimization_sign
        objectives = {
            record.number: (record.attrs.status not in ENDED_STATES, sign * objective)
            for record in self._index.records
            if (objective := record.attrs.objective) is not None
        }
        return [self.trials[number] for number in sorted(objectives, key=objectives.__getitem__)]

    def rank_points(self) -> list[RankedPoint]:
        """Return the points that have a mean, best first among those with equally many seeds."""
        sign = self.minimization_sign
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
        retried = {record.attrs.retry_of for record in self._index.records}
        return [
            record.trial
            for record in self._index.records
            if record.is_complete
            and record.attrs.status == "failed"
            and record.number not in retried
        ]

    def get_param_importances(self) -> ParamImportances:
        """Estimate how much of the objective's variance each parameter explains.

        If trials pause, few have a result; then it is that of the values at the highest rung which
        enough of them have reached, or at the first one.
        """
        if self.rungs is None:
            return get_param_importances(self.space, self.observed_points)
        records, values, _ = self.rung_table
        num_varied = sum(not isinstance(p, Constant) for p in self.space.parameters.values())
        is_enough = np.isfinite(values).sum(0) >= MIN_TRIALS_PER_PARAMETER * num_varied
        rung = max(np.flatnonzero(is_enough), default=0)
        trials = [
            ObservedTrial(record.number, record.point, TrialState.COMPLETE, float(value))
            for record, value in zip(records, values[:, rung], strict=True)
            if math.isfinite(value)
        ]
        num_epochs = self.rungs.epochs[rung]
        return replace(get_param_importances(self.space, trials), num_epochs=num_epochs)

    @property
    def rung_table(self) -> tuple[list[TrialRecord], Array, NDArray[np.bool_]]:
        """Trials of the space with the first seed, their values at rungs, and which are paused."""
        rungs = self.rungs
        if rungs is None:
            return [], np.empty((0, 0)), np.empty(0, bool)
        return self._index.read_rungs(rungs)

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
            if not has_run_in(trial_dir, trial):  # it ran on another machine: HOST:DIRECTORY
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


def _as_stored(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as it is, if the sweep was never edited."""
    return trial
