"""Queued trials start in order and once, whatever happens between; missing values are proposed."""

from __future__ import annotations

import json
import platform
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from nn.errors import UserError
from nn.io.files import file_lock
from nn.sweeps.editions import Edition
from nn.sweeps.location import SweepLocation
from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import SharedStudy
from nn.sweeps.steering import StoredSweep
from nn.sweeps.storage import JournalStudyStorage
from nn.sweeps.study import Budget, SweepStudy
from nn.sweeps.trial_record import TrialUserAttrs
from nn.sweeps.trials import SWEEP_FORMAT_VERSION
from tests.directory_snapshot import snapshot_directory

GRID = {
    "method": "grid",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"values": [0.1, 0.2]}, "depth": {"values": [1, 2]}},
}
RANDOM = GRID | {"method": "random", "parameters": {"lr": {"min": 0.1, "max": 0.2}}}


def open_study(folder, content=GRID):
    """Open a sweep's study as the process that runs it does."""
    write_sweep(folder, content)
    return SweepStudy(SweepConfig(**content), folder, 0)


def write_sweep(folder, content=GRID):
    """Write the files of a new sweep directory."""
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    options = {"seed": 0, "sampler": None, "overrides": [], "format_version": SWEEP_FORMAT_VERSION}
    (folder / "settings.json").write_text(json.dumps(options))


def open_stored(folder, **options):
    """Open it as another command does."""
    return StoredSweep(SweepLocation.find(str(folder), None), **options)


def points(study):
    return [study.get_point(trial.number) for trial in study.trials]


def test_values_that_are_not_given_are_those_of_untried_points(tmp_path):
    study = open_study(tmp_path)
    study.ask()
    assert points(study) == [{"depth": 1, "lr": 0.1}]
    list(open_stored(tmp_path).enqueue(["depth=1"]))
    list(open_stored(tmp_path).enqueue(["lr=0.1"]))
    assert [study.ask() for _ in range(3)] == [1, 2, 3]
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING] * 4
    assert {json.dumps(point) for point in points(study)} == {
        json.dumps({"depth": depth, "lr": lr}) for depth in (1, 2) for lr in (0.1, 0.2)
    }
    assert study.is_exhausted()
    list(open_stored(tmp_path).enqueue(["depth=7", "lr=0.1"]))
    assert study.ask(only_queued=True) == 4
    assert points(study)[4] == {"depth": 7, "lr": 0.1}


def test_trial_whose_start_was_cut_off_starts_with_the_same_point(tmp_path, monkeypatch):
    study = open_study(tmp_path, RANDOM | {"parameters": GRID["parameters"]})
    list(open_stored(tmp_path).enqueue(["depth=2"]))

    def fail(*_):
        raise ZeroDivisionError

    storage = study.storage.optuna_storage
    with monkeypatch.context() as patch:
        patch.setattr(storage, "set_trial_state_values", fail)
        with pytest.raises(ZeroDivisionError):
            study.ask()
    study.refresh()
    assert not study.complete_trials
    first = points(study)[0]
    again = open_study(tmp_path, RANDOM | {"parameters": GRID["parameters"]})
    assert (again.ask(), points(again)) == (0, [first])


def test_status_of_a_shared_sweep_needs_nothing_but_its_storage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = JournalStudyStorage(tmp_path / "shared.log")
    about = GRID | {"seed": 0, "sampler": None, "overrides": [], "config_dir": None}
    shared = SharedStudy(storage, "shared.log", "mine", about, grace_seconds=0)
    study = SweepStudy(SweepConfig(**GRID), tmp_path / "elsewhere", 0, shared_study=shared)
    study.ask()
    study.heartbeat.progress = {"0": [3, 0.5]}
    study.refresh()
    list(StoredSweep(SweepLocation.find("shared.log", None)).enqueue(["depth=5"]))
    before = snapshot_directory(tmp_path)
    lines = list(StoredSweep(SweepLocation.find("shared.log", "mine"), read_only=True).describe())
    assert snapshot_directory(tmp_path) == before
    host = platform.node()
    assert lines == [
        "mine: running; trials: 1 queued, 1 running",
        f"trial 0  running  depth=1 lr=0.1  on {host}  epoch 3  val/loss 0.5",
        "trial 1  queued  depth=5",
    ]
    study.release_trials()
    lines = list(StoredSweep(SweepLocation.find("shared.log", None), read_only=True).tabulate())
    assert [line.split("\t")[1] for line in lines] == ["interrupted", "queued"]
    with pytest.raises(UserError, match="--name=other: there is no such study; choose one with "):
        StoredSweep(SweepLocation.find("shared.log", "other"))


def test_status_of_a_paused_trial_has_its_value_so_far(tmp_path):
    study = open_study(tmp_path, RANDOM)
    for _ in range(2):
        study.ask()
    study._set_user_attrs(1, objective=0.25, epochs=3, status="paused")
    for is_running in (False, True):
        with file_lock(tmp_path / ".lock") if is_running else nullcontext():
            stored = open_stored(tmp_path, read_only=True)
            first, best, *others = stored.describe()
            state = "running" if is_running else "interrupted"
            assert first.endswith(f"trials: {', '.join(sorted((f'1 {state}', '1 paused')))}")
            assert best.startswith("best: trial 1, val/loss 0.25, lr=")
            assert [line.split("  ")[:2] for line in others] == [["trial 0", state]]
            number, status, _, _, value, _ = [*stored.tabulate()][1].split("\t")
            assert (number, status, value) == ("1", "paused", "0.25")


def test_trial_that_was_queued_before_an_edit_starts_with_the_new_parameters(tmp_path):
    study = open_study(tmp_path)
    list(open_stored(tmp_path).enqueue(["depth=2", "lr=0.1"]))
    parameters = {"depth": {"values": [1, 2]}, "width": {"values": [8, 16]}}
    current, edition = (
        Edition(sweep_file=yaml.safe_dump(content), sampler=None, overrides=(), constants={})
        for content in (GRID, GRID | {"parameters": parameters})
    )
    study.add_edition(current, edition)
    assert study.ask() == 0
    assert study.get_recorded_point(0) == {"depth": 2, "width": study.get_point(0)["width"]}
    assert study.get_edition(0) == study.editions[1]
    with pytest.raises(UserError, match="this is not a parameter of the sweep; "):
        list(open_stored(tmp_path).enqueue(["lr=0.1"]))


ACTIONS = ("enqueue", "stop", "retry", "ask", "finish", "fail", "restart", "pause", "resume")


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=30))
def test_any_requests_lose_no_trial_and_start_none_twice(actions):
    with TemporaryDirectory() as path:
        folder, started, removed = Path(path), [], set()
        study, stored, queued = open_study(folder, RANDOM), open_stored(folder), {}
        for action, number in actions:
            stored.load_trials()
            before = stored.trials
            try:
                if action == "enqueue":
                    queued[len(before)] = number + 1.0
                    list(stored.enqueue([f"lr={number + 1}"]))
                elif action == "stop":
                    list(stored.stop([str(number)]))
                    if before[number].state == TrialState.WAITING:
                        removed.add(number)
                elif action == "retry":
                    list(stored.retry([str(number)]))
                    queued[len(before)] = study.get_point(number)["lr"]
                elif action in ("pause", "resume"):
                    list(stored.set_control("paused" if action == "pause" else "running"))
            except UserError:
                continue
            if action == "ask" and (found := study.ask(Budget(20))) is not None:
                started.append(found)
            elif action in ("finish", "fail") and study.local_trial_numbers:
                study.refresh()
                status = "failed" if action == "fail" else "diverged"
                study.tell(min(study.local_trial_numbers), status)
            elif action == "restart":
                study.release_trials()
                study = open_study(folder, RANDOM)
                study.reclaim_stale_trials()
        stored.load_trials()
        assert len(started) == len(set(started))
        first_starts = [number for number in started if number in queued]
        assert first_starts == sorted(first_starts)
        for number, lr in queued.items():
            trial = stored.trials[number]
            assert TrialUserAttrs.of(trial).queued_point["lr"] == lr
            assert (trial.state == TrialState.WAITING) == (number not in {*started, *removed})
