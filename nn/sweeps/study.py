"""A sweep's Optuna study with ask and tell, possibly shared with other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import JsonValue

from nn.io.coerce import is_count
from nn.io.paths import checkpoint_path
from nn.runs.environment import is_same_processor
from nn.runs.reader import read_json
from nn.sweeps import asha
from nn.sweeps.editions import EDITION_KEY, Edition
from nn.sweeps.points import TriedPoint, is_replicate_open
from nn.sweeps.replication import choose_promotion, rungs
from nn.sweeps.samplers import registry
from nn.sweeps.samplers.base import GridSampler, RandomSampler, Sampler
from nn.sweeps.samplers.gp.objective import PriorTask
from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import SharedStudy
from nn.sweeps.space import Point, SearchSpace, point_key
from nn.sweeps.study_record import StudyRecord
from nn.sweeps.trial_record import TrialUserAttrs


@dataclass(frozen=True)
class Budget:
    """Limits after which no further trial starts; the ones that have started may continue."""

    max_points: int | None = None
    max_runs: int | None = None
    max_epochs: int | None = None
    """Epochs of all trials together, counting those of a running one in full."""
    is_timed_out: bool = False


UNLIMITED = Budget()


class SweepStudy(StudyRecord):
    """A study that chooses within a budget which trial runs next: a new point or an earlier one."""

    def __init__(
        self,
        sweep: SweepConfig,
        sweep_dir: Path,
        seed: int,
        *,
        sampler: str | None = None,
        num_epochs: int = 0,
        pauses: bool = False,
        prior_tasks: Sequence[PriorTask] = (),
        shared_study: SharedStudy | None = None,
        notify: Callable[[str], None] = print,
    ) -> None:
        """Open or create the study.

        Args:
            sweep: The sweep file.
            sweep_dir: The sweep directory.
            seed: Seed of the sampler.
            sampler: Name of the sampler of `method: bayes`.
            num_epochs: Epochs of a whole run, unless a point has others.
            pauses: Whether trials pause at rungs, as in asynchronous successive halving.
            prior_tasks: Earlier sweeps that inform the sampler.
            shared_study: The study, if other machines share it.
            notify: Prints a message.
        """
        self._seed, self._sampler_name, self._prior_tasks = seed, sampler, prior_tasks
        self._num_epochs = num_epochs
        super().__init__(
            sweep,
            sweep_dir,
            num_epochs if pauses else None,
            shared_study=shared_study,
            notify=notify,
        )
        self._create_sampler()
        self.refresh()

    def _create_sampler(self) -> None:
        self.grid_sampler = GridSampler(self.space) if self.sweep.method == "grid" else None
        self.sampler: Sampler = self.grid_sampler or RandomSampler(self.space, self._seed)
        if self.sweep.method == "bayes":
            self.sampler = registry.create_sampler(
                self._sampler_name or registry.GP,
                self.space,
                self._seed,
                self.sweep.metric,
                self._prior_tasks,
                rungs=self.rungs,
            )

    def use_edition(self, edition: Edition) -> None:
        """Use the sweep file and the sampler of an edition from the next proposal on."""
        super().use_edition(edition)
        self._sampler_name = edition.sampler
        self._create_sampler()

    @property
    def num_grid_points(self) -> int | None:
        """The number of trials to which a grid search leads, with those outside; else None."""
        if self.grid_sampler is None:
            return None
        num_outside = sum(
            not point.first.is_inside for point in (self.points if self.editions else [])
        )
        return self.grid_sampler.num_points + num_outside

    def is_exhausted(self, budget: Budget = UNLIMITED) -> bool:
        """Return whether no further point may be tried: the grid or the budget is used up."""
        if self.grid_sampler and not self.grid_sampler.has_unused_points(self.observed_trials):
            return True
        if self._is_out_of_runs(budget):
            return True
        return budget.max_points is not None and len(self.points) >= budget.max_points

    def _is_out_of_runs(self, budget: Budget) -> bool:
        """Return whether no further trial may start, be it of a new point or a further seed."""
        if budget.is_timed_out:
            return True
        if budget.max_runs is not None and len(self._index.complete) >= budget.max_runs:
            return True
        return budget.max_epochs is not None and self._count_epochs() >= budget.max_epochs

    def _count_epochs(self) -> int:
        """Return the number of epochs of all trials, counting those of a running one in full."""
        num_epochs = self._index.epochs_used
        for number in self._index.without_epochs:
            record = self._index.records[number]
            pause_epoch, whole_run = record.attrs.pause_epoch, record.point.get("epochs")
            if pause_epoch is not None:
                num_epochs += pause_epoch
            else:
                num_epochs += whole_run if is_count(whole_run) else self._num_epochs
        return num_epochs

    def find_paused_trial(self, budget: Budget = UNLIMITED) -> FrozenTrial | None:
        """Return the paused trial that should continue to its next rung here, if there is one.

        The machine that ran a trial continues it, unless it has died or the checkpoint is here.
        """
        trials = self._find_paused_trials(budget)
        return next((trial for trial in trials if self._can_continue(trial)), None)

    def is_waiting_for_promotion(self, budget: Budget = UNLIMITED) -> bool:
        """Return whether another machine, if it is alive, has a trial that should continue."""
        return any(not self._can_continue(trial) for trial in self._find_paused_trials(budget))

    def _find_paused_trials(self, budget: Budget) -> Iterator[FrozenTrial]:
        """Yield the paused trials that should continue, each if all before it are on their way."""
        if self.rungs is None:
            return
        records, values, is_promotable = self.rung_table
        is_promotable, num_open = is_promotable.copy(), len(self._index.running)
        more_trials = not self.is_exhausted(budget)
        while is_promotable.any():
            index = asha.choose_promotion(
                values, is_promotable, num_open, self.rungs.eta, more_trials
            )
            if index is None:
                return
            yield records[index].trial
            is_promotable[index], num_open = False, num_open + 1

    def _can_continue(self, trial: FrozenTrial) -> bool:
        machine = TrialUserAttrs.of(trial).machine
        is_own = machine == self.heartbeat.machine_id
        return is_own or self.heartbeat.is_stale(machine) or self._has_checkpoint(trial.number)

    def _has_checkpoint(self, number: int) -> bool:
        """Return whether a trial's checkpoint is here and continues to the same bits."""
        trial_dir = self.get_trial_dir(number)
        return checkpoint_path(trial_dir, "last").exists() and is_same_processor(
            read_json(trial_dir, "environment.json")
        )

    def find_surplus_checkpoints(self) -> set[int]:
        """Return the numbers of this machine's paused trials that are unlikely to continue."""
        if self.rungs is None:
            return set()
        records, values, is_promotable = self.rung_table
        surplus = asha.find_surplus(values, is_promotable, self.rungs.eta)
        return {records[i].number for i in surplus if self._is_local(records[i].trial)}

    def find_promotion(self, budget: Budget = UNLIMITED) -> TriedPoint | None:
        """Return the point that should run with a further seed now, if there is one."""
        if self.replicates == 1 or self._is_out_of_runs(budget):
            return None
        candidates = [point for point in self.points if self._is_racing(point)]
        is_open = is_replicate_open(candidates, self.replicates)[:, : self.replicates]
        values = self.replicate_values(candidates)[:, : self.replicates]
        more_points = not self.is_exhausted(budget)
        index = choose_promotion(values, is_open, rungs(self.replicates, self.racing), more_points)
        return None if index is None else candidates[index]

    def _is_racing(self, point: TriedPoint) -> bool:
        """Return whether a point may run with further seeds.

        One that was pruned or lies outside the present space may not, nor may one whose first run
        has not reached the last rung.
        """
        first = point.records.get(0)
        if self.rungs and not (first and first.is_finished):
            return False
        return point.first.is_inside and not point.is_pruned

    def ask(self, budget: Budget = UNLIMITED, *, only_queued: bool = False) -> int | None:
        """Start or continue a trial and return its number, or None if there is none for now."""
        known_numbers = self.local_trial_numbers

        def propose() -> int | None:
            with self.storage.lock():
                self._reload_trials()
                # an earlier attempt stored this trial just before the storage went away
                if unreported := self.local_trial_numbers - known_numbers:
                    return unreported.pop()
                if self.control != "running":
                    return None
                if reclaimed := self._reclaim_stale(1):  # before a new trial is started
                    return reclaimed[0]
                if queued := self.queued_trials:
                    return self._start_queued_trial(queued[0])
                if only_queued:
                    return None
                if paused := self.find_paused_trial(budget):
                    return self._continue_trial(paused)
                if promoted := self.find_promotion(budget):
                    return self._create_replicate(promoted)
                if self.is_exhausted(budget):
                    return None
                point = self._propose()
                if paused := self._find_paused_at(point):
                    return self._continue_trial(paused)
                return self._create_trial(point)

        number = self.storage.retry(propose)
        if number is not None:
            self._refresh_trial(number)
        return number

    def _propose(self, before: int | None = None) -> Point:
        """Propose a point; the sampler's random draws depend on the number of points so far.

        Args:
            before: Number of the queued trial that it is for; None for a new one.
        """
        number = self._index.count_points(before)
        is_each = self.sampler.uses_replicates
        trials = self.observed_trials if is_each else self.observed_points
        if self.sampler.continues_paused:  # what cannot continue here, or is not a new point, stays
            trials = [
                replace(
                    trial,
                    is_paused=before is None
                    and trial.is_paused
                    and self._can_continue(self.trials[trial.number]),
                )
                for trial in trials
            ]
        return self.sampler.propose(number, trials)

    def _find_paused_at(self, point: Point) -> FrozenTrial | None:
        """Return the paused trial of a point that the sampler proposes to continue, if any."""
        if not self.sampler.continues_paused:
            return None
        records, _, is_paused = self.rung_table
        paused = (records[index] for index in np.flatnonzero(is_paused).tolist())
        key = point_key(point)
        return next((record.trial for record in paused if point_key(record.point) == key), None)

    def _create_replicate(self, point: TriedPoint) -> int:
        """Store a trial of this machine that runs a point with the next seed."""
        replicate = min({*range(self.replicates)} - point.records.keys())
        values = {name: point.point[name] for name in self.space.parameters}
        return self._create_trial(values, replicate=replicate, replicate_of=point.number)

    def _continue_trial(self, trial: FrozenTrial) -> int:
        """Claim a paused trial until its next rung; the caller holds the storage's lock."""
        if self.rungs:
            pause_epoch = self.rungs.next_after(TrialUserAttrs.of(trial).epochs or 0)
            self._set_user_attrs(trial.number, pause_epoch=pause_epoch)
        self._claim_trial(trial.number)
        return trial.number

    def _create_trial(self, point: Point, **attrs: JsonValue) -> int:
        """Store a trial of this machine, as one operation.

        Its params in Optuna are for other programs, such as Optuna's dashboard.
        """
        optuna_storage = self.storage.optuna_storage
        user_attrs = {"point": point, **attrs, "machine": self.heartbeat.machine_id}
        if self.rungs and "replicate" not in attrs:
            user_attrs["pause_epoch"] = self.rungs.epochs[0]
        if self.editions:
            user_attrs[EDITION_KEY] = len(self.editions) - 1
        # an edit may change what Optuna cannot, such as the categories of a parameter
        distributions = {} if self.editions else self.space.optuna_distributions
        trial = create_trial(
            state=TrialState.RUNNING,
            params=self.space.to_optuna(point) if distributions else {},
            distributions=distributions,
            user_attrs=user_attrs,
        )
        trial_id = optuna_storage.create_new_trial(self._study_id, template_trial=trial)
        return optuna_storage.get_trial_number_from_id(trial_id)

    def _start_queued_trial(self, trial: FrozenTrial) -> int:
        """Start a queued trial here; the caller holds the storage's lock.

        A process that is killed before the last step leaves it queued.
        """
        number, point = trial.number, TrialUserAttrs.of(trial).queued_point
        point = self._propose_others(number, point) | point
        self._set_user_attrs(number, point={name: point[name] for name in self.space.parameters})
        if self.editions:
            self._set_user_attrs(number, **{EDITION_KEY: len(self.editions) - 1})
        if self.rungs and not TrialUserAttrs.of(trial).replicate:
            self._set_user_attrs(number, pause_epoch=self.rungs.epochs[0])
        self._set_user_attrs(number, machine=self.heartbeat.machine_id)
        self.storage.optuna_storage.set_trial_state_values(
            self._get_trial_id(number), TrialState.RUNNING
        )
        return number

    def _propose_others(self, number: int, given: Point) -> Point:
        """Propose values of the parameters that the user did not give; on a grid, untried ones."""
        missing = {
            name: distribution
            for name, distribution in self.space.parameters.items()
            if name not in given
        }
        if not missing or self.grid_sampler is None:
            return self._propose(number) if missing else {}
        tried = [
            {name: trial.point[name] for name in missing}
            for trial in self.observed_trials
            if all(trial.point.get(name) == value for name, value in given.items())
        ]
        return SearchSpace(missing).sample_untried(np.random.default_rng(number), tried)
