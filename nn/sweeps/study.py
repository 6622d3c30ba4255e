"""The search of a sweep, by this machine beside others: what is tried next, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from nn.errors import Mistake
from nn.io.files import write_whole
from nn.sweeps.heartbeat import Machines
from nn.sweeps.journal import Copy
from nn.sweeps.restore import recorded_point, restored_trials
from nn.sweeps.samplers import registry
from nn.sweeps.samplers.grid import GridSampler
from nn.sweeps.samplers.random import Drawn
from nn.sweeps.schedulers.hyperband import Pruner
from nn.sweeps.schema import Sweep
from nn.sweeps.shared import Shared
from nn.sweeps.storage import StudyFile
from nn.sweeps.trials import STUDY, Trials, is_retriable, machine, outcome

MAX_FAILURES = 3
"""How often a trial may fail for external reasons before it counts as failed for good."""


class Search(Trials):
    """Trials that go on; each is run by one machine at a time."""

    def __init__(
        self,
        sweep: Sweep,
        folder: Path,
        seed: int,
        sampler: str | None = None,
        shared: Shared | None = None,
        notify: Callable[[str], None] = print,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.shared = shared is not None
        self.storage = shared.storage if shared else StudyFile.recovered(folder, notify)
        with self.storage.turn():
            name = shared.name if shared else STUDY
            if name in optuna.get_all_study_names(self.storage.optuna):
                study = optuna.load_study(study_name=name, storage=self.storage.optuna)
            else:
                study = optuna.create_study(
                    study_name=name,
                    storage=self.storage.optuna,
                    direction=sweep.metric.goal if sweep.metric else "minimize",
                )
            if shared:
                shared.agree(study)
            super().__init__(sweep, folder, study)
            self._check_params()
            if not (shared and self.all):
                self._restore(notify)
        self.machines = Machines(self.study, shared.grace if shared else None)
        self.refresh()
        self.grid = GridSampler(self.space) if sweep.method == "grid" else None
        self.study.sampler = self.grid or self._sampler(sampler, seed)
        if sweep.early_terminate and sweep.metric:
            self.study.pruner = Pruner(sweep.early_terminate, sweep.metric)

    def _sampler(self, name: str | None, seed: int) -> BaseSampler:
        if self.sweep.method == "bayes":
            return registry.made(name or registry.GP, self.space, seed, begun=len(self.all))
        return Drawn(self.space, seed)

    def _restore(self, notify: Callable[[str], None]) -> None:
        """Add the trials that the study has lost, and whose directories are still there."""
        lost = restored_trials(self.sweep, self.space, self.folder / "trials", len(self.all))
        for trial in lost:
            self.study.add_trial(trial)
        if lost:
            known = sum(self.space.is_complete(trial.params) for trial in lost)
            notify(
                f"The study had lost {len(lost)} trials; {known} of them were restored from "
                f"{self.folder / 'trials'}."
            )

    def _check_params(self) -> None:
        """Refuse a study whose trials are not points of this sweep's space."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING or not trial.params:
                continue  # which is completed or marked failed when it is reclaimed
            try:
                self.space.from_optuna(trial.params)
            except (KeyError, ValueError, TypeError):
                raise Mistake(
                    f"{self.folder}: trial {trial.number} has other parameters than the sweep "
                    "file; the study is that of another sweep."
                ) from None

    def refresh(self) -> None:
        """Look at what all machines have done."""
        self.storage.patiently(self._look)

    def _look(self) -> None:
        self.machines.beat()
        self.all = self.study.get_trials(deepcopy=False)

    @property
    def running(self) -> list[FrozenTrial]:
        """The trials under way, on whatever machine."""
        return [
            trial
            for trial in self.all
            if trial.state == TrialState.RUNNING and not is_retriable(trial)
        ]

    @property
    def elsewhere(self) -> list[FrozenTrial]:
        """The trials that other machines run, or ran until they were gone."""
        return [trial for trial in self.running if machine(trial) != self.machines.me]

    @property
    def mine(self) -> set[int]:
        """The numbers of the trials that this machine runs."""
        return {trial.number for trial in self.running if machine(trial) == self.machines.me}

    @property
    def limit(self) -> int | None:
        """How many trials there can be at all."""
        return None if self.grid is None else self.grid.size

    @property
    def begun(self) -> int:
        """How many trials have begun, without those that never had their parameters."""
        return sum(
            trial.state == TrialState.RUNNING or self.space.is_complete(trial.params)
            for trial in self.all
        )

    def exhausted(self, count: int | None) -> bool:
        """Whether there is nothing more to begin."""
        if self.grid and not self.grid.has_remaining(self.all):
            return True
        return count is not None and self.begun >= count

    def begin(self, count: int | None) -> int | None:
        """Propose the next point, if there is one, and give its number."""
        known = self.mine

        def propose() -> int | None:
            with self.storage.turn():
                self._look()
                if proposed := self.mine - known:  # just before the storage went away
                    return proposed.pop()
                if reclaimed := self._reclaim(1):  # of which nobody has heard
                    return reclaimed[0]
                if self.exhausted(count):
                    return None
                trial = self.study.ask(self.space.optuna)
                self._note(trial._trial_id, machine=self.machines.me)
                return trial.number

        number = self.storage.patiently(propose)
        self.refresh()
        return number

    def take_up(self, retry: bool = False) -> list[int]:
        """Take over the trials of machines that are gone, and give their numbers.

        With `retry` also those that have failed for external reasons.
        """
        known = self.mine

        def take() -> list[int]:
            with self.storage.turn():
                self._look()
                self.machines.look()
                taken = sorted(self.mine - known)  # just before the storage went away
                if retry:
                    failed = [trial for trial in self.all if is_retriable(trial)]
                    taken += [trial.number for trial in failed]
                    for trial in failed:
                        self._claim(trial)
                return taken + self._reclaim()

        taken = self.storage.patiently(take)
        self.refresh()
        return taken

    def _reclaim(self, limit: int | None = None) -> list[int]:
        """Claim trials of machines that are gone; this machine has its turn meanwhile."""
        taken = []
        for trial in self.elsewhere:
            if not self.machines.gone(machine(trial)):
                continue
            if not self.space.is_complete(trial.params) and not self._complete(trial):
                continue
            self._claim(trial)
            taken.append(trial.number)
            if len(taken) == limit:
                break
        return taken

    def can_fail_again(self, number: int) -> bool:
        """Whether a trial stays open for a retry when it fails for an external reason now."""
        failures: int = self.all[number].user_attrs.get("failures", 0)
        return failures + 1 < MAX_FAILURES

    def retry(self, number: int) -> None:
        """Begin a trial again that has failed for an external reason."""
        self.storage.patiently(lambda: self._claim(self.all[number]))
        self.refresh()

    def release(self) -> None:
        """Leave what this machine runs to whoever takes it up."""

        def leave() -> None:
            self._look()
            for number in self.mine:
                self._note(self.all[number]._trial_id, machine=None)

        with suppress(Exception):  # who does not hear of it, waits
            self.storage.patiently(leave)

    def write_study(self) -> None:
        """Keep in the folder what a shared study holds, so that it can be looked at there."""
        path = self.folder / "study.log"
        if self.storage.is_in(path):
            return

        def copied() -> bytes:
            copy = Copy()
            optuna.copy_study(
                from_study_name=self.study.study_name,
                from_storage=self.storage.optuna,
                to_storage=JournalStorage(copy),
                to_study_name=STUDY,
            )
            return copy.content

        write_whole(path, self.storage.patiently(copied))

    def lags(self, number: int, epoch: int, value: float) -> bool:
        """Take note of an epoch, and say whether the trial is to end there."""
        trial_id, storage = self.all[number]._trial_id, self.study._storage

        def judge() -> bool:
            storage.set_trial_intermediate_value(trial_id, epoch, value)
            trial = storage.get_trial(trial_id)
            trial.intermediate_values = {  # without what an earlier try came to
                at: each for at, each in trial.intermediate_values.items() if at <= epoch
            }
            return self.study.pruner.prune(self.study, trial)

        return self.storage.patiently(judge)

    def end(
        self, number: int, status: str, reason: str | None = None, external: bool = False
    ) -> float | None:
        """Take note of how a trial has ended, and give its objective.

        One that has failed for an external reason stays open for a retry, but not for ever.
        """
        try:
            state, value = outcome(status, self.sweep.metric, self.path(number))
        except Mistake as error:  # the disk does not give back what the run has written
            status, reason, external = "failed", str(error), True
            state, value = TrialState.FAIL, None
        retriable = external and self.can_fail_again(number)
        failures = self.all[number].user_attrs.get("failures", 0) + external

        def tell() -> None:
            with self.storage.turn():
                self._look()
                trial = self.all[number]
                if number not in self.mine:
                    return
                facts = {"status": status, "reason": reason, "objective": value}
                self._note(trial._trial_id, **facts, failures=failures)
                if retriable:
                    self._note(trial._trial_id, retriable=True)
                else:
                    values = value if state == TrialState.COMPLETE else None
                    self.study.tell(number, values, state)

        self.storage.patiently(tell)
        self.refresh()
        return value

    def _claim(self, trial: FrozenTrial) -> None:
        """Note that this machine runs a trial."""
        facts = {"machine": self.machines.me, "status": "running", "retriable": False}
        self._note(trial._trial_id, **facts)

    def _note(self, trial_id: int, **facts: object) -> None:
        for name, content in facts.items():
            self.study._storage.set_trial_user_attr(trial_id, name, content)

    def _complete(self, trial: FrozenTrial) -> bool:
        """Propose what was still to be proposed when the sweep was killed, if that is possible.

        If the study has lost the parameters, the trial's directory may hold them. Parameters of
        another sweep file, or more trials than a grid has points, are not possible: then the trial
        is marked failed.
        """
        fits = all(self.space.optuna.get(n) == d for n, d in trial.distributions.items())
        recorded = self._recorded_params(trial) if fits else None
        if recorded:
            attribute = "fixed_params"  # as `Study.enqueue_trial` does
            self.study._storage.set_trial_system_attr(trial._trial_id, attribute, recorded)
        if fits and (recorded or self.grid is None or self.grid.next_point(trial, self.all)):
            begun = optuna.Trial(self.study, trial._trial_id)
            for name, distribution in self.space.optuna.items():
                begun._suggest(name, distribution)
            return True
        self._note(trial._trial_id, status="failed", reason="its parameters were never complete")
        self.study.tell(trial.number, state=TrialState.FAIL)
        return False

    def _recorded_params(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """Return the parameters in a trial's directory, if the study's are among them."""
        point = recorded_point(self.space, self.path(trial.number), trial.number)
        params = self.space.known_to_optuna(point) if point else {}
        return params if trial.params.items() <= params.items() else None
