"""A sweep's Optuna study with ask and tell, possibly shared with other machines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from nn.errors import UserError
from nn.io.files import atomic_write
from nn.sweeps.heartbeat import Heartbeat
from nn.sweeps.journal import InMemoryJournalBackend
from nn.sweeps.restore import read_recorded_point, restore_trials
from nn.sweeps.samplers import registry
from nn.sweeps.samplers.grid import GridSampler
from nn.sweeps.samplers.random import RandomSampler
from nn.sweeps.schedulers.hyperband import HyperbandPruner
from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared import SharedStudy
from nn.sweeps.storage import JournalStudyStorage
from nn.sweeps.trials import STUDY_NAME, SweepTrials, get_machine_id, is_retriable, read_outcome

MAX_EXTERNAL_FAILURES = 3
"""Number of external failures after which a trial is not retried any more."""


class SweepStudy(SweepTrials):
    """A study that proposes, claims and records trials; one machine at a time runs each trial."""

    def __init__(
        self,
        sweep: SweepConfig,
        sweep_dir: Path,
        seed: int,
        sampler: str | None = None,
        shared_study: SharedStudy | None = None,
        notify: Callable[[str], None] = print,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.is_shared = shared_study is not None
        self.storage = (
            shared_study.storage
            if shared_study
            else JournalStudyStorage.open_or_recover(sweep_dir, notify)
        )
        with self.storage.lock():
            study_name = shared_study.study_name if shared_study else STUDY_NAME
            if study_name in optuna.get_all_study_names(self.storage.optuna_storage):
                optuna_study = optuna.load_study(
                    study_name=study_name, storage=self.storage.optuna_storage
                )
            else:
                optuna_study = optuna.create_study(
                    study_name=study_name,
                    storage=self.storage.optuna_storage,
                    direction=sweep.metric.goal if sweep.metric else "minimize",
                )
            if shared_study:
                shared_study.ensure_same_sweep(optuna_study)
            super().__init__(sweep, sweep_dir, optuna_study)
            self._check_trial_params()
            if not (shared_study and self.trials):
                self._restore_lost_trials(notify)
        self.heartbeat = Heartbeat(
            self.optuna_study, shared_study.grace_seconds if shared_study else None
        )
        self.refresh()
        self.grid_sampler = GridSampler(self.space) if sweep.method == "grid" else None
        self.optuna_study.sampler = self.grid_sampler or self._create_sampler(sampler, seed)
        if sweep.early_terminate and sweep.metric:
            self.optuna_study.pruner = HyperbandPruner(sweep.early_terminate, sweep.metric)

    def _create_sampler(self, name: str | None, seed: int) -> BaseSampler:
        if self.sweep.method == "bayes":
            return registry.create_sampler(
                name or registry.GP, self.space, seed, num_trials=len(self.trials)
            )
        return RandomSampler(self.space, seed)

    def _restore_lost_trials(self, notify: Callable[[str], None]) -> None:
        """Add trials that the study lost but whose directories still exist."""
        trials_dir = self.sweep_dir / "trials"
        lost_trials = restore_trials(self.sweep, self.space, trials_dir, len(self.trials))
        for trial in lost_trials:
            self.optuna_study.add_trial(trial)
        if lost_trials:
            num_restored = sum(self.space.is_complete(trial.params) for trial in lost_trials)
            notify(
                f"The study had lost {len(lost_trials)} trials; {num_restored} of them were "
                f"restored from {trials_dir}."
            )

    def _check_trial_params(self) -> None:
        """Raise `UserError` if a trial is not a point of this sweep's search space."""
        for trial in self.optuna_study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING or not trial.params:
                continue  # its parameters are completed, or it is failed, when it is reclaimed
            try:
                self.space.from_optuna(trial.params)
            except (KeyError, ValueError, TypeError):
                raise UserError(
                    f"{self.sweep_dir}: the parameters of trial {trial.number} differ from those "
                    "of the sweep file; the study belongs to another sweep."
                ) from None

    def refresh(self) -> None:
        """Reload the trials, with the changes made by all machines."""
        self.storage.retry(self._reload_trials)

    def _reload_trials(self) -> None:
        self.heartbeat.record_heartbeat()
        self.trials = self.optuna_study.get_trials(deepcopy=False)

    @property
    def running_trials(self) -> list[FrozenTrial]:
        """The trials that any machine runs, or claimed before it died."""
        return [
            trial
            for trial in self.trials
            if trial.state == TrialState.RUNNING and not is_retriable(trial)
        ]

    @property
    def remote_trials(self) -> list[FrozenTrial]:
        """The running trials of other machines, including machines that have died."""
        return [
            trial
            for trial in self.running_trials
            if get_machine_id(trial) != self.heartbeat.machine_id
        ]

    @property
    def local_trial_numbers(self) -> set[int]:
        """The numbers of the trials that this machine runs, which only it may report."""
        return {
            trial.number
            for trial in self.running_trials
            if get_machine_id(trial) == self.heartbeat.machine_id
        }

    @property
    def num_grid_points(self) -> int | None:
        """The number of points of a grid search, which limits its trials; else None."""
        return None if self.grid_sampler is None else self.grid_sampler.num_points

    @property
    def num_started(self) -> int:
        """The number of trials started, not counting those that failed without parameters."""
        return sum(
            trial.state == TrialState.RUNNING or self.space.is_complete(trial.params)
            for trial in self.trials
        )

    def is_exhausted(self, max_trials: int | None) -> bool:
        """Return whether no further trial may start: the grid or the budget is used up."""
        if self.grid_sampler and not self.grid_sampler.has_unused_points(self.trials):
            return True
        return max_trials is not None and self.num_started >= max_trials

    def ask(self, max_trials: int | None) -> int | None:
        """Start a trial with the next point and return its number, or None if there is none."""
        known_numbers = self.local_trial_numbers

        def propose() -> int | None:
            with self.storage.lock():
                self._reload_trials()
                # an earlier attempt stored this trial just before the storage went away
                if unreported := self.local_trial_numbers - known_numbers:
                    return unreported.pop()
                if reclaimed := self._reclaim_stale(1):  # before a new trial is started
                    return reclaimed[0]
                if self.is_exhausted(max_trials):
                    return None
                trial = self.optuna_study.ask(self.space.optuna_distributions)
                self._set_user_attrs(trial._trial_id, machine=self.heartbeat.machine_id)
                return trial.number

        number = self.storage.retry(propose)
        self.refresh()
        return number

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
                    retriable_trials = [trial for trial in self.trials if is_retriable(trial)]
                    numbers += [trial.number for trial in retriable_trials]
                    for trial in retriable_trials:
                        self._claim_trial(trial)
                return numbers + self._reclaim_stale()

        reclaimed_numbers = self.storage.retry(reclaim)
        self.refresh()
        return reclaimed_numbers

    def _reclaim_stale(self, limit: int | None = None) -> list[int]:
        """Claim trials of stale machines; the caller holds the storage's lock."""
        reclaimed_numbers = []
        for trial in self.remote_trials:
            if not self.heartbeat.is_stale(get_machine_id(trial)):
                continue
            if not self.space.is_complete(trial.params) and not self._complete_params(trial):
                continue
            self._claim_trial(trial)
            reclaimed_numbers.append(trial.number)
            if len(reclaimed_numbers) == limit:
                break
        return reclaimed_numbers

    def can_retry(self, number: int) -> bool:
        """Return whether another external failure would leave the trial open for a retry."""
        num_failures: int = self.trials[number].user_attrs.get("failures", 0)
        return num_failures + 1 < MAX_EXTERNAL_FAILURES

    def retry_trial(self, number: int) -> None:
        """Claim a trial again that this machine just reported as an external failure."""
        self.storage.retry(lambda: self._claim_trial(self.trials[number]))
        self.refresh()

    def release_trials(self) -> None:
        """Give up this machine's trials, so that any machine may claim them at once."""

        def clear_machine() -> None:
            self._reload_trials()
            for number in self.local_trial_numbers:
                self._set_user_attrs(self.trials[number]._trial_id, machine=None)

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
        trial_id, storage = self.trials[number]._trial_id, self.optuna_study._storage

        def report_and_check() -> bool:
            storage.set_trial_intermediate_value(trial_id, epoch, value)
            trial = copy(storage.get_trial(trial_id))  # some storages return a cached object
            trial.intermediate_values = {  # later epochs are those of an earlier attempt
                reported_epoch: reported_value
                for reported_epoch, reported_value in trial.intermediate_values.items()
                if reported_epoch <= epoch
            }
            return self.optuna_study.pruner.prune(self.optuna_study, trial)

        return self.storage.retry(report_and_check)

    def tell(
        self, number: int, status: str, reason: str | None = None, is_external: bool = False
    ) -> float | None:
        """Record how a trial ended and return its objective.

        A trial that failed for an external reason stays open for a retry until it has done so
        `MAX_EXTERNAL_FAILURES` times.
        """
        try:
            state, value = read_outcome(status, self.sweep.metric, self.get_trial_dir(number))
        except UserError as error:  # the files that the run wrote cannot be read back
            status, reason, is_external = "failed", str(error), True
            state, value = TrialState.FAIL, None
        can_retry = is_external and self.can_retry(number)
        num_failures = self.trials[number].user_attrs.get("failures", 0) + is_external

        def write_result() -> None:
            with self.storage.lock():
                self._reload_trials()
                trial = self.trials[number]
                if number not in self.local_trial_numbers:
                    return
                user_attrs = {"status": status, "reason": reason, "objective": value}
                self._set_user_attrs(trial._trial_id, **user_attrs, failures=num_failures)
                if can_retry:
                    self._set_user_attrs(trial._trial_id, retriable=True)
                else:
                    values = value if state == TrialState.COMPLETE else None
                    self.optuna_study.tell(number, values, state)

        self.storage.retry(write_result)
        self.refresh()
        return value

    def _claim_trial(self, trial: FrozenTrial) -> None:
        """Record that this machine runs a trial."""
        user_attrs = {"machine": self.heartbeat.machine_id, "status": "running", "retriable": False}
        self._set_user_attrs(trial._trial_id, **user_attrs)

    def _set_user_attrs(self, trial_id: int, **user_attrs: object) -> None:
        for name, value in user_attrs.items():
            self.optuna_study._storage.set_trial_user_attr(trial_id, name, value)

    def _complete_params(self, trial: FrozenTrial) -> bool:
        """Suggest the parameters that a trial lacks, if its sweep was killed while proposing it.

        Parameters that the study lost are taken from the trial's directory if it records them.

        Returns:
            Whether the trial is complete now. Otherwise it is marked as failed, because its
            parameters are those of another sweep file, or no point of the grid is left for it.
        """
        matches_space = all(
            self.space.optuna_distributions.get(name) == distribution
            for name, distribution in trial.distributions.items()
        )
        recorded_params = self._read_recorded_params(trial) if matches_space else None
        if recorded_params:  # suggested as those of `Study.enqueue_trial` are
            self.optuna_study._storage.set_trial_system_attr(
                trial._trial_id, "fixed_params", recorded_params
            )
        if matches_space and (
            recorded_params
            or self.grid_sampler is None
            or self.grid_sampler.next_unused_point(trial, self.trials)
        ):
            optuna_trial = optuna.Trial(self.optuna_study, trial._trial_id)
            for name, distribution in self.space.optuna_distributions.items():
                optuna_trial._suggest(name, distribution)
            return True
        self._set_user_attrs(
            trial._trial_id, status="failed", reason="its parameters were never complete"
        )
        self.optuna_study.tell(trial.number, state=TrialState.FAIL)
        return False

    def _read_recorded_params(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """Return the parameters in a trial's directory, if they agree with the study's."""
        point = read_recorded_point(self.space, self.get_trial_dir(trial.number), trial.number)
        params = self.space.to_optuna(point) if point else {}
        return params if trial.params.items() <= params.items() else None
