"""The record of a sweep in its Optuna study: which machine runs each trial, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue

from nn.errors import UserError
from nn.io.files import atomic_write
from nn.runs.reader import read_json
from nn.sweeps.editions import EDITIONS_KEY, Edition, dump_editions
from nn.sweeps.hyperband import should_prune
from nn.sweeps.outcome import best_value, read_intermediate_values, read_outcome
from nn.sweeps.restore import NO_POINT_REASON, restore_lost_trials
from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import Heartbeat, SharedStudy
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
)

MAX_EXTERNAL_FAILURES = 3
"""Number of external failures after which a trial is not retried any more."""


class StudyRecord(SweepTrials):
    """A study that records claims and results; one machine at a time runs each trial."""

    def __init__(
        self,
        sweep: SweepConfig,
        sweep_dir: Path,
        max_epochs: int | None = None,
        *,
        shared_study: SharedStudy | None = None,
        notify: Callable[[str], None] = print,
    ) -> None:
        """Open or create the study.

        Args:
            sweep: The sweep file.
            sweep_dir: The sweep directory.
            max_epochs: Epochs of a whole run, if trials pause at rungs before.
            shared_study: The study, if other machines share it.
            notify: Prints a message.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.is_shared = shared_study is not None
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
            if max_epochs is not None:
                _record_max_epochs(optuna_study, max_epochs)
            super().__init__(sweep, sweep_dir, optuna_study)
            self._study_id = optuna_storage.get_study_id_from_name(study_name)
            if not (shared_study and self.trials):
                restore_lost_trials(self, notify)
        self.heartbeat = Heartbeat(
            self.optuna_study, shared_study.grace_seconds if shared_study else None
        )

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

    def _refresh_trial(self, number: int) -> None:
        """Reload a trial that this machine has just changed; reading all takes Optuna long."""

        def reload() -> None:
            if number > len(self.stored_trials):  # another program has added some
                self._reload_trials()
                return
            trial = self.storage.optuna_storage.get_trial(self._get_trial_id(number))
            trials = self.stored_trials
            self._index_trials([*trials[:number], trial, *trials[number + 1 :]])

        self.storage.retry(reload)

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
    def is_pruning(self) -> bool:
        """Whether `early_terminate` ends trials, which otherwise pause at its brackets."""
        return self.sweep.early_terminate is not None and self.rungs is None

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
        self._refresh_trial(number)
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
        self._refresh_trial(number)
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
