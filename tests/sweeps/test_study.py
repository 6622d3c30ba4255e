"""A storage outage at any moment loses no trial and assigns none twice."""

from __future__ import annotations

import math
from contextlib import contextmanager
from itertools import count

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import SharedStudy
from nn.sweeps.storage import JournalStudyStorage
from nn.sweeps.study import Budget, SweepStudy

SWEEP_CONFIG = {
    "method": "random",
    "parameters": {"lr": {"min": 0.1, "max": 0.5}, "depth": {"values": [1, 2, 3]}},
}
SWEEP = SweepConfig(**SWEEP_CONFIG)
WRITE_METHODS = (
    "create_new_trial",
    "set_trial_param",
    "set_trial_user_attr",
    "set_trial_state_values",
    "set_study_user_attr",
)


class UnavailableError(Exception):
    """The storage does not respond."""


class FlakyStorage(JournalStudyStorage):
    """A storage that fails once: before or after a write or a lock."""

    def __init__(self, path, fail_at=math.inf, fail_after=False):
        super().__init__(path)
        self.steps_left = math.inf
        self.fail_at, self.fail_after = fail_at, fail_after
        for name in WRITE_METHODS:
            setattr(self.optuna_storage, name, self.wrap(getattr(self.optuna_storage, name)))

    @property
    def has_failed(self):
        return self.steps_left < 0

    def arm(self):
        self.steps_left = self.fail_at

    def count_step(self):
        self.steps_left -= 1
        if self.steps_left == -1:
            raise UnavailableError

    def wrap(self, original):
        def write(*args, **kwargs):
            if not self.fail_after:
                self.count_step()
            result = original(*args, **kwargs)
            if self.fail_after:
                self.count_step()
            return result

        return write

    @contextmanager
    def lock(self):
        with super().lock():
            yield
            self.count_step()

    def retry(self, call):
        while True:
            try:
                return call()
            except UnavailableError:
                continue


def make_study(folder, storage):
    return SweepStudy(
        SWEEP,
        folder,
        0,
        shared_study=SharedStudy(storage, "there", "sweep", SWEEP_CONFIG, grace_seconds=1000),
    )


def flaky_storages(folder, after):
    """Yield storages that fail at their first step, at their second, and so on to the last."""
    for fail_at in count():
        storage = FlakyStorage(folder / f"{fail_at}.log", fail_at, after)
        yield storage
        if not storage.has_failed:
            assert fail_at > 2
            return


def running_numbers(sweep_study):
    sweep_study.refresh()
    return [trial.number for trial in sweep_study.running_trials]


def have_all_parameters(sweep_study, numbers):
    """Return whether these trials have a value for each parameter."""
    return all(
        sweep_study.get_point(number).keys() == SWEEP.parameters.keys() for number in numbers
    )


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_proposed_trials_are_assigned_once(tmp_path, after):
    for storage in flaky_storages(tmp_path, after):
        sweep_study = make_study(tmp_path, storage)
        storage.arm()
        numbers = [sweep_study.ask(Budget(9)), sweep_study.ask(Budget(9))]
        numbers += sweep_study.reclaim_stale_trials()
        assert sorted(numbers) == running_numbers(sweep_study)
        assert have_all_parameters(sweep_study, numbers)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_reclaimed_trials_are_assigned_once(tmp_path, after):
    for storage in flaky_storages(tmp_path, after):
        first = make_study(tmp_path, JournalStudyStorage(storage.path))
        started = [first.ask(Budget(9)), first.ask(Budget(9))]
        first.release_trials()
        second = make_study(tmp_path, storage)
        storage.arm()
        reclaimed = second.reclaim_stale_trials() + second.reclaim_stale_trials()
        assert sorted(reclaimed) == started
        assert have_all_parameters(second, reclaimed)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_trial_outcome_is_stored(tmp_path, after):
    for storage in flaky_storages(tmp_path, after):
        sweep_study = make_study(tmp_path, storage)
        number = sweep_study.ask(Budget(9))
        storage.arm()
        sweep_study.tell(number, "failed", "a reason")
        assert not running_numbers(sweep_study)
        trial = sweep_study.trials[number]
        assert trial.state == TrialState.FAIL
        assert trial.user_attrs["reason"] == "a reason"


def test_study_copy_is_retried_after_an_outage(tmp_path, monkeypatch):
    sweep_study = make_study(tmp_path, FlakyStorage(tmp_path / "shared.log"))
    sweep_study.ask(Budget(9))
    copy, calls = optuna.copy_study, []

    def failing_copy_study(**named):
        copy(**named)
        calls.append(named)
        if len(calls) == 1:
            raise UnavailableError

    monkeypatch.setattr(optuna, "copy_study", failing_copy_study)
    sweep_study.export_journal()
    study = optuna.load_study(
        study_name="sweep", storage=JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    )
    assert [trial.user_attrs for trial in study.trials] == [sweep_study.trials[0].user_attrs]
    assert len(calls) == 2
