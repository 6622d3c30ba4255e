"""A sweep's Optuna study with ask and tell, possibly shared with other machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import JsonValue

from nn.errors import UserError
from nn.io.coerce import is_count
from nn.io.files import atomic_write
from nn.io.paths import checkpoint_path
from nn.runs.environment import is_same_processor
from nn.runs.reader import read_json
from nn.sweeps import asha
from nn.sweeps.editions import EDITION_KEY, EDITIONS_KEY, Edition, dump_editions
from nn.sweeps.hyperband import should_prune
from nn.sweeps.points import TriedPoint, is_replicate_open
from nn.sweeps.replication import choose_promotion, rungs
from nn.sweeps.restore import NO_POINT_REASON, restore_lost_trials
from nn.sweeps.samplers import registry
from nn.sweeps.samplers.base import GridSampler, RandomSampler, Sampler
from nn.sweeps.samplers.gp.objective import PriorTask
from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import Heartbeat, SharedStudy
from nn.sweeps.space import Point, SearchSpace
from nn.sweeps.storage import InMemoryJournalBackend, JournalStudyStorage
from nn.sweeps.trial_record import TrialUserAttrs
from nn.sweeps.trials import (
    CONTROL_KEY,
    FIRST_SEED_KEY,
    MAX_EPOCHS_KEY,
    RACING_KEY,
    REPLICATES_KEY,
    STUDY_NAME,
    SWEEP_FORMAT_VERSION,
    SweepTrials,
    best_value,
    read_intermediate_values,
    read_outcome,
)

MAX_EXTERNAL_FAILURES = 3
"""Number of external failures after which a trial is not retried any more."""


@dataclass(frozen=True)
class Budget:
    """Limits after which no further trial starts; the ones that have started may continue."""

    max_points: int | None = None
    max_runs: int | None = None
    max_epochs: int | None = None
    """Epochs of all trials together, counting those of a running one in full."""
    is_timed_out: bool = False


UNLIMITED = Budget()


class SweepStudy(SweepTrials):
    """A study that proposes, claims and records trials; one machine at a time runs each trial."""

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
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.is_shared = shared_study is not None
        self._seed, self._sampler_name, self._prior_tasks = seed, sampler, prior_tasks
        self._num_epochs = num_epochs
        self.storage = (
            shared_study.storage
            if shared_study
            else JournalStudyStorage.open_or_recover(sweep_dir, notify)
        )
        optuna_storage = self.storage.optuna_storage
        with self.storage.lock():
            study_name = shared_study.study_name if shared_study else STUDY_NAME
            if study_name in optuna.get_all_study_names(optuna_storage):
                optuna_study = optuna.load_study(study_name=study_name, storage=optuna_storage)
            else:
                optuna_study = optuna.create_study(
                    study_name=study_name,
                    storage=optuna_storage,
                    direction=sweep.metric.goal if sweep.metric else "minimize",
                )
            if shared_study:
                shared_study.ensure_same_sweep(optuna_study)
            if pauses:
                _record_max_epochs(optuna_study, num_epochs)
            super().__init__(sweep, sweep_dir, optuna_study)
            self._study_id = optuna_storage.get_study_id_from_name(study_name)
            if not (shared_study and self.trials):
                restore_lost_trials(self, notify)
        self.heartbeat = Heartbeat(
            self.optuna_study, shared_study.grace_seconds if shared_study else None
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

    def add_edition(self, current: Edition, edition: Edition) -> None:
        """Record an edition after the current one; the caller holds the storage's lock."""
        editions = dump_editions([*(self.editions or [current]), edition])
        self.optuna_study.set_user_attr(EDITIONS_KEY, editions)
        self.load_trials()

    def set_replicates(self, replicates: int, racing: bool, first_seed: int) -> None:
        """Record how often points are run; the caller holds the storage's lock."""
        user_attrs = self.optuna_study.user_attrs
        for key, value in (
            (REPLICATES_KEY, replicates),
            (RACING_KEY, racing),
            (FIRST_SEED_KEY, first_seed),
        ):
            if user_attrs.get(key) != value:
                self.optuna_study.set_user_attr(key, value)
        self.load_trials()

    def write_edition(self) -> None:
        """Write the last edition, if there is one, to sweep.yaml and settings.json."""
        if not self.editions:
            return
        edition, settings_path = self.editions[-1], self.sweep_dir / "settings.json"
        settings = edition.model_dump(mode="json", include={"sampler", "overrides", "constants"})
        content = {**read_json(self.sweep_dir, "settings.json"), **settings}
        content["format_version"] = SWEEP_FORMAT_VERSION
        for path, text in (
            (settings_path, json.dumps(content)),
            (self.sweep_dir / "sweep.yaml", edition.sweep_file),
        ):
            if not path.exists() or path.read_bytes() != text.encode():
                atomic_write(path, text.encode())

    def refresh(self) -> None:
        """Reload the trials, with the changes made by all machines."""
        self.storage.retry(self._reload_trials)

    def _reload_trials(self) -> None:
        self.heartbeat.record_heartbeat()
        num_editions = len(self.editions)
        self.load_trials()
        if len(self.editions) > num_editions:  # another machine has edited the sweep
            with suppress(OSError):  # otherwise they are written when the sweep is resumed
                self.write_edition()

    @property
    def running_trials(self) -> list[FrozenTrial]:
        """The trials that any machine runs, or claimed before it died."""
        return self._index.select(self._index.running)

    @property
    def remote_trials(self) -> list[FrozenTrial]:
        """The running trials of other machines, including machines that have died."""
        return [trial for trial in self.running_trials if not self._is_local(trial)]

    @property
    def local_trial_numbers(self) -> set[int]:
        """The numbers of the trials that this machine runs, which only it may report."""
        return {trial.number for trial in self.running_trials if self._is_local(trial)}

    def _is_local(self, trial: FrozenTrial) -> bool:
        return TrialUserAttrs.of(trial).machine == self.heartbeat.machine_id

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

    @property
    def is_pruning(self) -> bool:
        """Whether `early_terminate` ends trials, which otherwise pause at its brackets."""
        return self.sweep.early_terminate is not None and self.rungs is None

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
                return self._create_trial(self._propose())

        number = self.storage.retry(propose)
        self.refresh()
        return number

    def _propose(self, before: int | None = None) -> Point:
        """Propose a point; the sampler's random draws depend on the number of points so far.

        Args:
            before: Number of the queued trial that it is for; None for a new one.
        """
        number = self._index.count_points(before)
        is_each = self.sampler.uses_replicates
        return self.sampler.propose(
            number, self.observed_trials if is_each else self.observed_points
        )

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

    def resume(self) -> None:
        """Let a sweep continue that was paused or stopped."""

        def write() -> None:
            self.optuna_study.set_user_attr(CONTROL_KEY, "running")

        if self.control != "running":
            self.storage.retry(write)
            self.refresh()

    def reclaim_stale_trials(self, retry_failed: bool = False) -> list[int]:
        """Claim the trials of stale machines and return their numbers.

        Args:
            retry_failed: Also claim trials that failed for external reasons.
        """
        known_numbers = self.local_trial_numbers

        def reclaim() -> list[int]:
            with self.storage.lock():
                self._reload_trials()
                self.heartbeat.read_heartbeats()
                # an earlier attempt claimed these just before the storage went away
                numbers = sorted(self.local_trial_numbers - known_numbers)
                if retry_failed:
                    for trial in self.trials:
                        if TrialUserAttrs.of(trial).retriable:
                            numbers.append(trial.number)
                            self._claim_trial(trial.number)
                return numbers + self._reclaim_stale()

        reclaimed_numbers = self.storage.retry(reclaim)
        self.refresh()
        return reclaimed_numbers

    def _reclaim_stale(self, limit: int | None = None) -> list[int]:
        """Claim trials of stale machines; the caller holds the storage's lock."""
        reclaimed_numbers: list[int] = []
        for trial in self.remote_trials:
            if len(reclaimed_numbers) == limit:
                break
            if not self.heartbeat.is_stale(TrialUserAttrs.of(trial).machine):
                continue
            if self.get_point(trial.number):
                self._claim_trial(trial.number)
                reclaimed_numbers.append(trial.number)
            else:  # killed while proposing it, in format version 2
                self._set_user_attrs(trial.number, status="failed", reason=NO_POINT_REASON)
                self.optuna_study.tell(trial.number, state=TrialState.FAIL)
        return reclaimed_numbers

    def can_retry(self, number: int) -> bool:
        """Return whether another external failure would leave the trial open for a retry."""
        return TrialUserAttrs.of(self.trials[number]).failures + 1 < MAX_EXTERNAL_FAILURES

    def retry_trial(self, number: int) -> None:
        """Claim a trial again that this machine just reported as an external failure."""
        self.storage.retry(lambda: self._claim_trial(number))
        self.refresh()

    def release_trials(self) -> None:
        """Give up this machine's trials, so that any machine may claim them at once."""

        def clear_machine() -> None:
            self._reload_trials()
            for number in self.local_trial_numbers:
                self._set_user_attrs(number, machine=None)

        with suppress(Exception):  # otherwise they are reclaimed after the grace period
            self.storage.retry(clear_machine)

    def export_journal(self) -> None:
        """Write a shared study to study.log in the sweep directory, for reports to read."""
        path = self.sweep_dir / "study.log"
        if self.storage.is_stored_at(path):
            return

        def copy_journal() -> bytes:
            backend = InMemoryJournalBackend()
            optuna.copy_study(
                from_study_name=self.optuna_study.study_name,
                from_storage=self.storage.optuna_storage,
                to_storage=JournalStorage(backend),
                to_study_name=STUDY_NAME,
            )
            return backend.content

        atomic_write(path, self.storage.retry(copy_journal))

    def should_prune(self, number: int, epoch: int, value: float) -> bool:
        """Report an epoch's value and return whether to prune the trial at this epoch."""

        def report_and_check() -> bool:
            self._set_intermediate_value(number, epoch, value)
            self._reload_trials()
            early_terminate, metric = self.sweep.early_terminate, self.sweep.metric
            values = self.trials[number].intermediate_values
            if early_terminate is None or metric is None or epoch not in values:
                return False  # the sweep was edited since the trial began
            other_values = [
                record.curve
                for record in self._index.records
                if record.number != number and not record.attrs.replicate
            ]
            # later epochs are those of an earlier attempt
            own_values = [value for key, value in sorted(values.items()) if key <= epoch]
            return should_prune(early_terminate, metric, own_values, other_values)

        return self.storage.retry(report_and_check)

    def pause(self, number: int) -> float | None:
        """Record that a trial of this machine has paused, and return its best value so far.

        Without any value, nothing is recorded. If the sweep was killed, the run may have recorded
        epochs that were not reported.
        """
        metric, trial_dir = self.sweep.metric, self.get_trial_dir(number)
        recorded = read_intermediate_values(metric, trial_dir) if metric else {}

        def write() -> float | None:
            with self.storage.lock():
                self._reload_trials()
                trial = self.trials[number]
                for epoch in sorted(recorded.keys() - trial.intermediate_values.keys()):
                    self._set_intermediate_value(number, epoch, recorded[epoch])
                values = recorded | trial.intermediate_values
                best = best_value(metric, [*values.values()], {}) if metric else None
                epochs = TrialUserAttrs.of(trial).pause_epoch
                if best is not None and number in self.local_trial_numbers:
                    self._set_user_attrs(number, objective=best, epochs=epochs, status="paused")
            return best

        value = self.storage.retry(write)
        self.refresh()
        return value

    def report(self, number: int, epoch: int, value: float) -> None:
        """Report an epoch's value of a trial that is not pruned."""
        self.storage.retry(lambda: self._set_intermediate_value(number, epoch, value))

    def _set_intermediate_value(self, number: int, epoch: int, value: float) -> None:
        trial_id = self._get_trial_id(number)
        self.storage.optuna_storage.set_trial_intermediate_value(trial_id, epoch, value)

    def tell(
        self,
        number: int,
        status: str,
        reason: str | None = None,
        is_external: bool = False,
        epochs: int = 0,
    ) -> float | None:
        """Record how a trial ended, after how many epochs, and return its objective.

        A trial that failed for an external reason stays open for a retry until it has done so
        `MAX_EXTERNAL_FAILURES` times.
        """
        metric = self.sweep.metric
        try:
            state, value = read_outcome(status, metric, self.get_trial_dir(number))
        except UserError as error:  # the files that the run wrote cannot be read back
            status, reason, is_external = "failed", str(error), True
            state, value = TrialState.FAIL, None
        can_retry = is_external and self.can_retry(number)
        attrs = TrialUserAttrs.of(self.trials[number])
        failures, epochs = attrs.failures + is_external, max(epochs, attrs.epochs or 0)

        def write_result() -> bool:
            with self.storage.lock():
                self._reload_trials()
                if self.sweep.metric != metric:
                    return False  # the sweep was edited meanwhile
                if number not in self.local_trial_numbers:
                    return True
                self._set_user_attrs(
                    number,
                    status=status,
                    reason=reason,
                    objective=value,
                    failures=failures,
                    epochs=epochs,
                )
                if can_retry:
                    self._set_user_attrs(number, retriable=True)
                else:
                    values = value if state == TrialState.COMPLETE else None
                    self.optuna_study.tell(number, values, state)
            return True

        if not self.storage.retry(write_result):
            return self.tell(number, status, reason, is_external, epochs)
        self.refresh()
        return value

    def _claim_trial(self, number: int) -> None:
        """Record that this machine runs a trial."""
        self._set_user_attrs(
            number, machine=self.heartbeat.machine_id, status="running", retriable=False
        )

    def _set_user_attrs(self, number: int, **user_attrs: JsonValue) -> None:
        """Set user attributes of a trial, the fields of `TrialUserAttrs`, in this order."""
        trial_id = self._get_trial_id(number)
        for name, value in user_attrs.items():
            self.storage.optuna_storage.set_trial_user_attr(trial_id, name, value)

    def _get_trial_id(self, number: int) -> int:
        """Return the ID under which the storage knows a trial."""
        return self.storage.optuna_storage.get_trial_id_from_study_id_trial_number(
            self._study_id, number
        )


def _record_max_epochs(optuna_study: optuna.Study, num_epochs: int) -> None:
    """Record the epochs of a whole run, which the rungs depend on."""
    recorded = optuna_study.user_attrs.get(MAX_EPOCHS_KEY)
    if recorded is None:
        optuna_study.set_user_attr(MAX_EPOCHS_KEY, num_epochs)
    elif recorded != num_epochs:
        raise UserError(
            f"epochs={num_epochs}: the trials of this sweep have {recorded} epochs, and its rungs "
            "depend on that; --name=NAME starts a new one."
        )
