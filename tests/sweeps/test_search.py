"""A storage that goes away at any moment loses no trial and gives none out twice."""

from __future__ import annotations

from contextlib import contextmanager

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from nn.sweeps.journal import Reading
from nn.sweeps.schema import Sweep
from nn.sweeps.search import Search
from nn.sweeps.shared import Shared
from nn.sweeps.storage import StudyFile

SWEEP = Sweep(
    method="random",
    parameters={"lr": {"min": 0.1, "max": 0.5}, "depth": {"values": [1, 2, 3]}},
)
WRITES = (
    "create_new_trial",
    "set_trial_param",
    "set_trial_user_attr",
    "set_trial_state_values",
    "set_study_user_attr",
)


class Gone(Exception):
    """The storage does not answer."""


class Leaving(StudyFile):
    """A storage that goes away once: before or after something that changes it, or a turn."""

    def __init__(self, path):
        super().__init__(path)
        self.moment, self.after, self.count = None, False, 0
        for name in WRITES:
            setattr(self.optuna, name, self.leaving(getattr(self.optuna, name)))

    @property
    def left(self):
        return self.moment is not None and self.count > self.moment

    def goes_away_at(self, moment, after):
        self.moment, self.after, self.count = moment, after, 0

    def step(self):
        here = self.count == self.moment
        self.count += 1
        if here:
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
    def turn(self):
        with super().turn():
            yield
            self.step()

    def patiently(self, call):
        while True:
            try:
                return call()
            except Gone:
                continue


def machine(folder, storage):
    return Search(SWEEP, folder, 0, shared=Shared(storage, "there", "sweep", {}, grace=1000))


def running(search):
    search.refresh()
    return [trial for trial in search.all if trial.state == TrialState.RUNNING]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_is_proposed_is_given_out_once(tmp_path, after):
    moment = 0
    while True:
        storage = Leaving(tmp_path / f"{moment}.log")
        search = machine(tmp_path, storage)
        storage.goes_away_at(moment, after)
        given = [search.begin(9), search.begin(9)]
        reached = storage.left
        given += search.take_up()
        begun = running(search)
        assert sorted(given) == [trial.number for trial in begun]
        assert all(search.point(number).keys() == {"lr", "depth"} for number in given)
        if not reached:
            break
        moment += 1
    assert len(given) == 2
    assert moment > 8


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_is_taken_up_is_given_out_once(tmp_path, after):
    moment = 0
    while True:
        path = tmp_path / f"{moment}.log"
        first = machine(tmp_path, StudyFile(path))
        begun = [first.begin(9), first.begin(9)]
        first.release()
        first.study._storage.create_new_trial(first.study._study_id)  # killed as it proposed
        storage = Leaving(path)
        second = machine(tmp_path, storage)
        storage.goes_away_at(moment, after)
        given = second.take_up()
        reached = storage.left
        given += second.take_up()
        assert sorted(given) == [*begun, 2]
        assert all(second.point(number).keys() == {"lr", "depth"} for number in given)
        if not reached:
            break
        moment += 1
    assert moment > 4


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_how_a_trial_has_ended_is_noted(tmp_path, after):
    moment = 0
    while True:
        storage = Leaving(tmp_path / f"{moment}.log")
        search = machine(tmp_path, storage)
        number = search.begin(9)
        storage.goes_away_at(moment, after)
        search.end(number, "failed", "a reason")
        assert not running(search)
        trial = search.all[number]
        assert trial.state == TrialState.FAIL
        assert trial.user_attrs["reason"] == "a reason"
        if not storage.left:
            break
        moment += 1
    assert moment > 2


def test_the_copy_of_a_study_is_made_when_its_storage_is_back(tmp_path, monkeypatch):
    search = machine(tmp_path, Leaving(tmp_path / "shared.log"))
    search.begin(9)
    copy, calls = optuna.copy_study, []

    def leaving(**named):
        copy(**named)
        calls.append(named)
        if len(calls) == 1:
            raise Gone

    monkeypatch.setattr(optuna, "copy_study", leaving)
    search.write_study()
    study = optuna.load_study(study_name="sweep", storage=JournalStorage(Reading(tmp_path)))
    assert [trial.params for trial in study.trials] == [search.all[0].params]
    assert len(calls) == 2
