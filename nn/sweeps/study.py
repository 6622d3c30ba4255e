"""A sweep's Optuna study with ask and tell, possibly shared with other machines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nn.errors import UserError
from nn.io.files import atomic_write
from nn.runs.reader import read_json
from nn.sweeps.hyperband import HyperbandPruner
from nn.sweeps.samplers import registry
from nn.sweeps.samplers.base import GridSampler, RandomSampler
from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import Heartbeat, SharedStudy
from nn.sweeps.space import OptunaParams, Point
from nn.sweeps.storage import InMemoryJournalBackend, JournalStudyStorage
from nn.sweeps.trials import (
    STUDY_NAME,
    SweepTrials,
    TrialUserAttrs,
    read_intermediate_values,
    read_outcome,
)

MAX_EXTERNAL_FAILURES = 3
"""Number of external failures after which a trial is not retried any more."""


class SweepStudy(SweepTrials):
    """A study that proposes, claims and records trials; one machine at a time runs each trial."""

    def __init__(
        self,
        sweep: SweepConfig,
        sweep_dir: Path,
        seed: int,
        *,
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
            super().__init__(sweep, sweep_dir, optuna_study)
            self._study_id = optuna_storage.get_study_id_from_name(study_name)
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
            return registry.create_sampler(name or registry.GP, self.space, seed, len(self.trials))
        return RandomSampler(self.space, seed)

    def _check_trial_params(self) -> None:
        """Raise `UserError` if a trial is not a point of this sweep's search space."""
        for trial in self.trials:
            if trial.state == TrialState.RUNNING or not trial.params:
                continue  # its parameters are completed, or it is failed, when it is reclaimed
            try:
                self.space.from_optuna(trial.params)
            except (KeyError, ValueError, TypeError):
                raise UserError(
                    f"{self.sweep_dir}: the parameters of trial {trial.number} differ from those "
                    "of the sweep file; the study belongs to another sweep."
                ) from None

    def _restore_lost_trials(self, notify: Callable[[str], None]) -> None:
        """Add trials that the study lost but whose directories exist; gaps become failed trials."""
        trials_dir, first_number = self.sweep_dir / "trials", len(self.trials)
        restored = {}
        for path in trials_dir.glob("[0-9]*"):
            number = int(path.name) if path.name.isdecimal() and path.is_dir() else -1
            point = self.read_recorded_point(number) if number >= first_number else None
            if point is not None:
                restored[number] = self._restore_trial(number, point)
        lost_numbers = range(first_number, max(restored, default=-1) + 1)
        for number in lost_numbers:
            self.optuna_study.add_trial(restored.get(number) or _create_lost_trial())
        if lost_numbers:
            notify(
                f"The study had lost {len(lost_numbers)} trials; {len(restored)} of them were "
                f"restored from {trials_dir}."
            )

    def _restore_trial(self, number: int, point: Point) -> FrozenTrial:
        """Create a trial from its directory; one that has not ended is to be resumed."""
        metric, trial_dir = self.sweep.metric, self.get_trial_dir(number)
        status = read_json(trial_dir, "summary.json").get("status")
        state, value = TrialState.RUNNING, None
        user_attrs: dict[str, str | float | None] = {}
        if status in ("finished", "pruned", "diverged"):
            state, value = read_outcome(status, metric, trial_dir)
            user_attrs = {"status": status, "reason": None, "objective": value}
        intermediate_values = read_intermediate_values(metric, trial_dir) if metric else {}
        return create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params=self.space.to_optuna(point),
            distributions=self.space.optuna_distributions,
            user_attrs=user_attrs,
            intermediate_values=intermediate_values if self.sweep.early_terminate else {},
        )

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
            if trial.state == TrialState.RUNNING and not TrialUserAttrs.of(trial).retriable
        ]

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
        """The number of points of a grid search, which limits its trials; else None."""
        return None if self.grid_sampler is None else self.grid_sampler.num_points

    def is_exhausted(self, max_trials: int | None) -> bool:
        """Return whether no further trial may start: the grid or the budget is used up."""
        if self.grid_sampler and not self.grid_sampler.has_unused_points(self.trials):
            return True
        num_started = sum(  # trials that failed without parameters do not count
            trial.state == TrialState.RUNNING or self.space.is_complete(trial.params)
            for trial in self.trials
        )
        return max_trials is not None and num_started >= max_trials

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
                trial.set_user_attr("machine", self.heartbeat.machine_id)
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
            if self.space.is_complete(trial.params) or self._complete_params(trial):
                self._claim_trial(trial.number)
                reclaimed_numbers.append(trial.number)
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
            trial_id, storage = self._get_trial_id(number), self.storage.optuna_storage
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
        failures = TrialUserAttrs.of(self.trials[number]).failures + is_external

        def write_result() -> None:
            with self.storage.lock():
                self._reload_trials()
                if number not in self.local_trial_numbers:
                    return
                self._set_user_attrs(
                    number, status=status, reason=reason, objective=value, failures=failures
                )
                if can_retry:
                    self._set_user_attrs(number, retriable=True)
                else:
                    values = value if state == TrialState.COMPLETE else None
                    self.optuna_study.tell(number, values, state)

        self.storage.retry(write_result)
        self.refresh()
        return value

    def _claim_trial(self, number: int) -> None:
        """Record that this machine runs a trial."""
        self._set_user_attrs(
            number, machine=self.heartbeat.machine_id, status="running", retriable=False
        )

    def _set_user_attrs(self, number: int, **user_attrs: str | float | None) -> None:
        """Set user attributes of a trial, the fields of `TrialUserAttrs`, in this order."""
        trial_id = self._get_trial_id(number)
        for name, value in user_attrs.items():
            self.storage.optuna_storage.set_trial_user_attr(trial_id, name, value)

    def _get_trial_id(self, number: int) -> int:
        """Return the ID under which the storage knows a trial."""
        return self.storage.optuna_storage.get_trial_id_from_study_id_trial_number(
            self._study_id, number
        )

    def _complete_params(self, trial: FrozenTrial) -> bool:
        """Suggest the parameters that a trial lacks, if its sweep was killed while proposing it.

        Parameters that the study lost are taken from the trial's directory if it records them.

        Returns:
            Whether the trial is complete now. Otherwise it is marked as failed, because its
            parameters are those of another sweep file, or no point of the grid is left for it.
        """
        trial_id, optuna_storage = self._get_trial_id(trial.number), self.storage.optuna_storage
        distributions = self.space.optuna_distributions
        matches_space = all(
            distributions.get(name) == distribution
            for name, distribution in trial.distributions.items()
        )
        if matches_space and (params := self._read_recorded_params(trial)):
            for name, distribution in distributions.items():
                if name not in trial.params:
                    value = distribution.to_internal_repr(params[name])
                    optuna_storage.set_trial_param(trial_id, name, value, distribution)
            return True
        if matches_space and (
            self.grid_sampler is None or self.grid_sampler.next_unused_point(trial, self.trials)
        ):
            self._suggest_params(optuna.Trial(self.optuna_study, trial_id))
            return True
        self._set_user_attrs(
            trial.number, status="failed", reason="its parameters were never complete"
        )
        self.optuna_study.tell(trial.number, state=TrialState.FAIL)
        return False

    def _suggest_params(self, trial: optuna.Trial) -> None:
        """Suggest all parameters of a trial, as `Study.ask` does for a new one."""
        for name, distribution in self.space.optuna_distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                trial.suggest_categorical(name, distribution.choices)
            elif isinstance(distribution, IntDistribution):
                trial.suggest_int(name, distribution.low, distribution.high)
            elif isinstance(distribution, FloatDistribution):
                trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)

    def _read_recorded_params(self, trial: FrozenTrial) -> OptunaParams:
        """Return the parameters in a trial's directory, if they agree with the study's."""
        point = self.read_recorded_point(trial.number)
        params = self.space.to_optuna(point) if point else {}
        return params if trial.params.items() <= params.items() else {}


def _create_lost_trial() -> FrozenTrial:
    user_attrs = {"status": "failed", "reason": "its directory does not record its parameters"}
    return create_trial(state=TrialState.FAIL, user_attrs=user_attrs)
