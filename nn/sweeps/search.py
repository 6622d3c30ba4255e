"""The search of a sweep, by this machine beside others: what is tried next, and what came of it."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from nn.sweeps import samplers
from nn.sweeps.drawn import Drawn
from nn.sweeps.hyperband import Pruner
from nn.sweeps.journal import Copy
from nn.sweeps.machines import Machines
from nn.sweeps.schema import Sweep
from nn.sweeps.shared import Shared
from nn.sweeps.storage import StudyFile
from nn.sweeps.trials import STUDY, Trials, machine, objective
from nn.tracking.files import write_whole


class Search(Trials):
    """Trials that go on; each is run by one machine at a time."""

    def __init__(
        self,
        sweep: Sweep,
        folder: Path,
        seed: int,
        sampler: str | None = None,
        shared: Shared | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.shared = shared is not None
        self.storage = shared.storage if shared else StudyFile(folder / "study.log")
        with self.storage.turn():
            study = optuna.create_study(
                storage=self.storage.optuna,
                study_name=shared.name if shared else STUDY,
                direction=sweep.metric.goal if sweep.metric else "minimize",
                load_if_exists=True,
            )
            if shared:
                shared.agree(study)
        super().__init__(sweep, folder, study)
        self.machines = Machines(self.study, shared.grace if shared else None)
        self.refresh()
        if sweep.method == "bayes":
            begun = len(self.all)
            self.study.sampler = samplers.made(sampler or samplers.GP, self.space, seed, begun)
        else:
            self.study.sampler = Drawn(self.space, seed, self.grid)
        if sweep.early_terminate and sweep.metric:
            self.study.pruner = Pruner(sweep.early_terminate, sweep.metric)

    def refresh(self) -> None:
        """Look at what all machines have done."""
        self.storage.patiently(self._look)

    def _look(self) -> None:
        self.machines.beat()
        self.all = self.study.get_trials(deepcopy=False)

    @property
    def running(self) -> list[FrozenTrial]:
        """The trials under way, on whatever machine."""
        return [trial for trial in self.all if trial.state == TrialState.RUNNING]

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
        return None if self.grid is None else len(self.grid)

    def exhausted(self, count: int | None) -> bool:
        """Whether there is nothing more to begin."""
        limits = [limit for limit in (count, self.limit) if limit is not None]
        return len(self.all) >= min(limits, default=math.inf)

    def begin(self, count: int | None) -> int | None:
        """Propose the next point, if there is one, and give its number."""
        known = self.mine

        def propose() -> int | None:
            with self.storage.turn():
                self._look()
                if proposed := self.mine - known:  # just before the storage went away
                    return proposed.pop()
                if self.exhausted(count):
                    return None
                trial = self.study.ask(self.space.optuna)
                self._note(trial._trial_id, machine=self.machines.me)
                return trial.number

        number = self.storage.patiently(propose)
        self.refresh()
        return number

    def take_up(self) -> list[int]:
        """Take over the trials of machines that are gone, and give their numbers."""
        known = self.mine

        def take() -> list[int]:
            with self.storage.turn():
                self._look()
                self.machines.look()
                left = [each for each in self.elsewhere if self.machines.gone(machine(each))]
                left += [self.all[number] for number in self.mine - known]  # taken just before
                for trial in left:
                    self._note(trial._trial_id, machine=self.machines.me)
                    if trial.params.keys() != self.space.optuna.keys():
                        self._complete(trial)
                return [trial.number for trial in left]

        taken = self.storage.patiently(take)
        self.refresh()
        return taken

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

    def end(self, number: int, status: str, reason: str | None = None) -> float | None:
        """Take note of how a trial has ended, and give its objective."""
        scored = status in ("finished", "pruned")  # whatever else happened counts as the worst
        value = objective(self.sweep.metric, self.path(number)) if scored else None
        ends = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        state = ends.get(status, TrialState.FAIL) if value is not None else TrialState.FAIL
        values = value if state == TrialState.COMPLETE else None

        def tell() -> None:
            with self.storage.turn():
                self._look()
                trial = self.all[number]
                if number in self.mine:
                    self._note(trial._trial_id, status=status, reason=reason, objective=value)
                    self.study.tell(number, values, state)

        self.storage.patiently(tell)
        self.refresh()
        return value

    def _note(self, trial_id: int, **facts: Any) -> None:
        for name, content in facts.items():
            self.study._storage.set_trial_user_attr(trial_id, name, content)

    def _complete(self, trial: FrozenTrial) -> None:
        """Propose what was still to be proposed when the sweep was killed."""
        begun = optuna.Trial(self.study, trial._trial_id)
        for name, distribution in self.space.optuna.items():
            begun._suggest(name, distribution)
