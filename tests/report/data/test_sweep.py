"""A sweep's data: complete, plain JSON, and read incrementally."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn.errors import UserError
from nn.io.files import TailReader, acquire_lock, atomic_write
from nn.io.serialization import to_json
from nn.report.data.sweep import SweepReader
from nn.sweeps.importance import ParamImportances
from nn.sweeps.schema import read_sweep_config
from nn.sweeps.shared_study import heartbeat_key
from nn.sweeps.study import SweepStudy
from nn.sweeps.trials import SweepTrials
from tests.report.data.hostile import assert_plain_json, fuzz_settings, json_values, round_trip
from tests.report.factories import append_epoch, make_sweep, update_json

POINT = ("lr", "optimizer", "depth")
STATES = ("finished", "pruned", "failed", "running")


@pytest.fixture
def folder(tmp_path):
    return make_sweep(tmp_path / "s", 8, states=STATES)


def open_study(folder):
    return SweepStudy(read_sweep_config(folder / "sweep.yaml"), folder, 0)


def status_of(reader, number):
    return {trial["number"]: trial for trial in reader.trial_records()}[number]["status"]


def test_record_is_complete(folder):
    reader = SweepReader(folder)
    record, trials = reader.record(), reader.trial_records()
    assert_plain_json([record, trials])
    assert record["num_trials"] == len(trials) == 8
    assert record["status_counts"] == {"finished": 2, "pruned": 2, "failed": 2, "killed": 2}
    assert (record["metric"], record["goal"], record["status"]) == (
        "val/loss", "minimize", "stopped",
    )  # fmt: skip
    assert {each["name"]: each["is_log"] for each in record["parameters"]} == {
        "lr": True, "optimizer": False, "depth": False,
    }  # fmt: skip
    assert record["failures"] == {"out of <b>memory</b>": 2}
    best = min(
        (trial for trial in trials if trial["value"] is not None), key=lambda each: each["value"]
    )
    assert best["rank"] == 1
    assert best["value"] == min(best["curve"])
    assert best["params"].keys() == {"lr", "optimizer", "depth"}
    assert record["training_seconds"] == pytest.approx(
        sum(trial["training_seconds"] for trial in trials)
    )
    details = reader.details()
    assert "method: random" in details["sweep_yaml"]
    has_finished = best["status"] == "finished"
    assert (f"trials/{best['number']:04}" in str(details["reproduce_commands"])) == has_finished


def test_only_changed_trials_are_read(folder, monkeypatch):
    reader, read, read_trial = SweepReader(folder), [], SweepReader._read_trial
    assert not reader.update()
    append_epoch(folder / "trials/0003", 3)
    assert reader.update()
    assert reader.trial_records()[3]["num_epochs"] == 3

    monkeypatch.setattr(
        SweepReader, "_read_trial", lambda *args: read.append(args[1]) or read_trial(*args)
    )
    study = open_study(folder)
    assert [study.ask() for _ in range(3)] == [3, 7, 8]  # two that were running, and a new one
    reader.update()
    assert read == [3, 7, 8]
    assert len(reader.trial_records()) == 9


def test_trial_that_ends_is_read_once_more(folder, monkeypatch):
    study = open_study(folder)
    number = study.ask()  # a trial that was running
    reader = SweepReader(folder)
    trial_dir = study.get_trial_dir(number)
    append_epoch(trial_dir, 3)
    (trial_dir / "summary.json").write_text(to_json({"status": "finished", "val/accuracy": 0.5}))
    study.tell(number, "finished")
    reader.update()
    trial = reader.trial_records()[number]
    assert (trial["status"], trial["scores"], trial["epochs"]) == (
        "finished",
        {"val/accuracy": 0.5},
        [1, 2, 3],
    )

    read = []
    monkeypatch.setattr(TailReader, "read_lines", lambda tail: read.append(tail) or ([], False))
    reader.update()
    assert len(read) == 2  # of the study, and of the other running trial


def test_replaced_study_replaces_all_trials(folder, tmp_path):
    reader = SweepReader(folder)
    other = make_sweep(tmp_path / "other", 3)
    shutil.rmtree(folder / "trials")
    atomic_write(folder / "study.log", (other / "study.log").read_bytes())
    assert reader.update()
    assert [trial["number"] for trial in reader.trial_records()] == [0, 1, 2]
    assert reader.record()["num_trials"] == 3


def test_torn_operation_waits(folder):
    reader = SweepReader(folder)
    open_study(folder).ask()
    content = (folder / "study.log").read_bytes()
    (folder / "study.log").write_bytes(content[:-5])
    SweepReader(folder)
    reader.update()
    (folder / "study.log").write_bytes(content)
    reader.update()
    assert reader.trial_records() == SweepReader(folder).trial_records()


def test_damaged_study_is_reported_until_it_is_replaced(folder):
    reader, content = SweepReader(folder), (folder / "study.log").read_bytes()
    with (folder / "study.log").open("ab") as file:
        file.write(b'{"op_code": 99}\n')
    for _ in range(2):
        with pytest.raises(UserError, match=r"study\.log is damaged\.$"):
            reader.update()
    atomic_write(folder / "study.log", content)
    reader.update()
    assert len(reader.trial_records()) == 8


def test_vanished_directory_is_reported(folder):
    reader = SweepReader(folder)
    shutil.rmtree(folder)
    for _ in range(2):
        with pytest.raises(UserError):
            reader.update()


def test_running_trials_of_this_machine_have_a_process(folder):
    study = open_study(folder)
    number = study.ask()
    descriptor = acquire_lock(folder / ".lock", "running this sweep")
    reader = SweepReader(folder)
    assert (reader.record()["status"], status_of(reader, number)) == ("running", "running")
    os.close(descriptor)
    assert reader.update()
    assert (reader.record()["status"], status_of(reader, number)) == ("stopped", "killed")
    study.get_trial_dir(number).mkdir(exist_ok=True)
    (study.get_trial_dir(number) / "summary.json").write_text('{"status": "interrupted"}')
    reader.update()
    assert status_of(reader, number) == "interrupted"
    study.tell(number, "diverged")
    assert platform.node() in study.heartbeat.machine_id
    reader.update()
    assert status_of(reader, number) == "diverged"


def test_trials_of_a_shared_sweep_have_their_own_processes(folder):
    study = open_study(folder)
    number = study.ask()
    study.optuna_study.set_user_attr(heartbeat_key(study.heartbeat.machine_id), 1)
    folder_of_trial = study.get_trial_dir(number)
    reader = SweepReader(folder)
    assert status_of(reader, number) == "running"  # for a while, until its process has started
    descriptor = acquire_lock(folder_of_trial / ".lock")
    (folder_of_trial / "config.yaml").touch()
    reader.update()
    assert status_of(reader, number) == "running"
    os.close(descriptor)
    reader.update()
    assert status_of(reader, number) == "killed"
    study.release_trials()
    reader.update()
    assert status_of(reader, number) == "interrupted"


def test_trials_of_other_machines_have_heartbeats(folder, monkeypatch):
    study = open_study(folder)
    number = study.ask()
    study._set_user_attrs(number, machine="elsewhere-1")
    beat = heartbeat_key("elsewhere-1")
    study.optuna_study.set_user_attr(beat, 1)
    old = time.time() - 1000
    os.utime(folder / "study.log", (old, old))
    reader = SweepReader(folder)
    assert status_of(reader, number) == "stale"
    study.optuna_study.set_user_attr(beat, 2)
    assert reader.update()
    assert status_of(reader, number) == "running"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    assert reader.update()
    assert status_of(reader, number) == "stale"


def test_trials_are_read_from_their_directories_before_there_is_a_study(folder):
    expected = SweepReader(folder).trial_records()
    points = {trial["number"]: trial["params"] for trial in expected}
    study = (folder / "study.log").read_bytes()
    for name in ("study.log", "trials/0007/history.jsonl"):
        (folder / name).unlink()
    reader = SweepReader(folder)
    assert reader.record()["num_trials"] == 8
    for number, point in points.items():
        record = {"number": number, "parameters": point}
        (folder / f"trials/{number:04}/trial.json").write_text(to_json(record))
    reader = SweepReader(folder)
    trials = reader.trial_records()
    for trial, other in zip(trials[:2], expected[:2], strict=True):
        for key in ("status", "params", "value", "curve", "training_seconds", "scores"):
            assert trial[key] == other[key]
    assert not reader.update()
    append_epoch(folder / "trials/0003", 3)
    assert reader.update()
    assert reader.trial_records()[3]["num_epochs"] == 3
    shutil.copytree(folder / "trials/0003", folder / "trials/0008")
    assert reader.update()
    assert len(reader.trial_records()) == 9
    atomic_write(folder / "study.log", study)  # as the sweep does when it ends
    assert reader.update()
    assert len(reader.trial_records()) == 9
    assert reader.trial_records()[0] == expected[0]


def test_journal_elsewhere_is_followed(folder, tmp_path):
    journal = tmp_path / "shared.log"
    (folder / "study.log").rename(journal)
    update_json(folder, "settings.json", journal=str(journal), study_name="sweep")
    reader = SweepReader(folder)
    assert len(reader.trial_records()) == 8
    open_study(folder)  # another study
    journal.write_bytes(journal.read_bytes()[:-1])
    assert len(SweepReader(folder).trial_records()) == 8


def test_sweep_without_trials_is_running_or_stopped(folder):
    shutil.rmtree(folder / "trials")
    (folder / "study.log").unlink()
    (folder / ".lock").touch()
    reader = SweepReader(folder)
    assert (reader.record()["status"], reader.trial_records()) == ("stopped", [])
    descriptor = acquire_lock(folder / ".lock")
    assert reader.update()
    assert reader.record()["status"] == "running"
    os.close(descriptor)
    assert reader.details()["importances"] == {}


def test_importances_are_computed_again_after_some_growth(folder, monkeypatch):
    reader, computed = SweepReader(folder), []
    result = ParamImportances({"lr": 1.0}, 2)
    monkeypatch.setattr(
        SweepTrials, "get_param_importances", lambda _: computed.append(1) or result
    )
    assert reader.details()["importances"] == {"lr": 1.0}
    reader.details()
    assert len(computed) == 1
    study = open_study(folder)
    for _ in range(2):
        number = study.ask()
        append_epoch(study.get_trial_dir(number), 3)
        study.tell(number, "finished")
    reader.update()
    reader.details()
    assert len(computed) == 2


@fuzz_settings
@given(
    summary=st.dictionaries(
        st.sampled_from(["status", "seconds", "sessions", "val/accuracy", "test/accuracy"]),
        json_values,
    ),
    settings=st.dictionaries(
        st.sampled_from(["seed", "overrides", "journal", "study_name"]),
        json_values | st.sampled_from(["/dev/zero", "/" + "x" * 9999, "/\0", "study.log"]),
    ),
)
def test_any_json_gives_a_record(tmp_path_factory, summary, settings):
    folder = make_sweep(tmp_path_factory.mktemp("any") / "s", 2, states=("finished", "running"))
    update_json(folder, "trials/0000/summary.json", **summary)
    (folder / "trials/0001/summary.json").write_text(json.dumps(summary))
    update_json(folder, "settings.json", **settings)
    reader = SweepReader(folder)
    assert round_trip(reader.record())["num_trials"] == len(round_trip(reader.trial_records())) == 2


@fuzz_settings
@given(
    trial=st.fixed_dictionaries(
        {"number": st.just(0) | json_values, "parameters": json_values}
        | {
            "parameters": st.dictionaries(
                st.sampled_from(["lr", "optimizer", "depth"]), json_values
            )
        }
    ),
    environment=st.dictionaries(st.sampled_from(["host", "started_at"]), json_values),
    summary=st.dictionaries(st.sampled_from(["status", "seconds", "sessions"]), json_values),
)
def test_any_json_in_directories_gives_a_record(tmp_path_factory, trial, environment, summary):
    folder = make_sweep(tmp_path_factory.mktemp("any") / "s", 1)
    (folder / "study.log").unlink()
    trial_dir = folder / "trials/0000"
    for name, content in (
        ("trial.json", trial), ("environment.json", environment), ("summary.json", summary),
    ):  # fmt: skip
        (trial_dir / name).write_text(json.dumps(content))
    reader = SweepReader(folder)
    assert round_trip(reader.record())["num_trials"] == len(round_trip(reader.trial_records())) == 1
    assert not reader.update()
