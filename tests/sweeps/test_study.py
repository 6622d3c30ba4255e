"""A storage outage at any moment loses no trial and assigns none twice."""

from __future__ import annotations

import math
from contextlib import contextmanager
from itertools import count

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import SharedStudy
from nn.sweeps.storage import InMemoryJournalBackend, JournalStudyStorage
from nn.sweeps.study import SweepStudy

CONTENT = {
    "method": "random",
    "parameters": {"lr": {"min": 0.1, "max": 0.5}, "depth": {"values": [1, 2, 3]}},
}
SWEEP = SweepConfig(**CONTENT)
WRITES = (
    "create_new_trial",
    "set_trial_param",
    "set_trial_user_attr",
    "set_trial_state_values",
    "set_study_user_attr",
)


class Gone(Exception):
    """The storage does not respond."""


class Leaving(JournalStudyStorage):
    """A storage that fails once: before or after a write or a lock."""

    def __init__(self, path, moment=math.inf, after=False):
        super().__init__(path)
        self.left = math.inf
        self.moment, self.after = moment, after
        for name in WRITES:
            setattr(self.optuna_storage, name, self.leaving(getattr(self.optuna_storage, name)))

    @property
    def has_gone(self):
        return self.left < 0

    def begin_to_count(self):
        self.left = self.moment

    def step(self):
        self.left -= 1
        if self.left == -1:
            raise Gone

    def leaving(self, original):
        def write(*arguments, **named):
            if not self.after:
                self.step()
            result = original(*arguments, **named)
            if self.after:
                self.step()
            return result

        return write

    @contextmanager
    def lock(self):
        with super().lock():
            yield
            self.step()

    def retry(self, call):
        while True:
            try:
                return call()
            except Gone:
                continue


def machine(folder, storage):
    return SweepStudy(
        SWEEP,
        folder,
        0,
        shared_study=SharedStudy(storage, "there", "sweep", CONTENT, grace_seconds=1000),
    )


def storages(folder, after):
    """Yield storages that fail at their first step, at their second, and so on to the last."""
    for moment in count():
        storage = Leaving(folder / f"{moment}.log", moment, after)
        yield storage
        if not storage.has_gone:
            assert moment > 2
            return


def running(search):
    search.refresh()
    return [trial.number for trial in search.running_trials]


def proposed(search, numbers):
    """Return whether these trials have a value for each parameter."""
    return all(search.get_point(number).keys() == SWEEP.parameters.keys() for number in numbers)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_is_proposed_is_given_out_once(tmp_path, after):
    for storage in storages(tmp_path, after):
        search = machine(tmp_path, storage)
        storage.begin_to_count()
        given = [search.ask(9), search.ask(9)]
        given += search.reclaim_stale_trials()
        assert sorted(given) == running(search)
        assert proposed(search, given)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_is_taken_up_is_given_out_once(tmp_path, after):
    for storage in storages(tmp_path, after):
        first = machine(tmp_path, JournalStudyStorage(storage.path))
        begun = [first.ask(9), first.ask(9)]
        first.release_trials()
        first.storage.optuna_storage.create_new_trial(first._study_id)  # killed as it proposed
        second = machine(tmp_path, storage)
        storage.begin_to_count()
        given = second.reclaim_stale_trials() + second.reclaim_stale_trials()
        assert sorted(given) == [*begun, 2]
        assert proposed(second, given)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_how_a_trial_has_ended_is_noted(tmp_path, after):
    for storage in storages(tmp_path, after):
        search = machine(tmp_path, storage)
        number = search.ask(9)
        storage.begin_to_count()
        search.tell(number, "failed", "a reason")
        assert not running(search)
        trial = search.trials[number]
        assert trial.state == TrialState.FAIL
        assert trial.user_attrs["reason"] == "a reason"


def test_the_copy_of_a_study_is_made_when_its_storage_is_back(tmp_path, monkeypatch):
    search = machine(tmp_path, Leaving(tmp_path / "shared.log"))
    search.ask(9)
    copy, calls = optuna.copy_study, []

    def leaving(**named):
        copy(**named)
        calls.append(named)
        if len(calls) == 1:
            raise Gone

    monkeypatch.setattr(optuna, "copy_study", leaving)
    search.export_journal()
    study = optuna.load_study(
        study_name="sweep", storage=JournalStorage(InMemoryJournalBackend.load(tmp_path))
    )
    assert [trial.params for trial in study.trials] == [search.trials[0].params]
    assert len(calls) == 2
