"""The index finds runs and sweeps, follows them, and survives what it cannot read."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from nn.errors import UserError
from nn.io.files import acquire_lock, atomic_write
from nn.report.data import index as index_module
from nn.report.data.index import IndexReader
from nn.report.data.run import RunReader
from tests.report.data.hostile import assert_plain_json
from tests.report.factories import append_epoch, make_run, make_sweep


@pytest.fixture(scope="module")
def original_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("original") / "run", "epochs=1")


@pytest.fixture
def runs(original_run, tmp_path):
    shutil.copytree(original_run, tmp_path / "runs/day/first")
    make_sweep(tmp_path / "runs/sweeps/s", 4)
    return tmp_path / "runs"


def paths(index):
    return sorted(entry["path"] for entry in index.entries)


def test_entries_are_complete(runs):
    index = IndexReader(runs)
    assert_plain_json(index.entries)
    entries = {entry["path"]: entry for entry in index.entries}
    run, sweep = entries["day/first"], entries["sweeps/s"]
    assert (run["kind"], run["status"], run["dataset"]) == ("run", "finished", "digits")
    assert run["settings"]["batch_size"] > 0
    assert run["scores"].keys() >= {"test/accuracy", "val/accuracy"}
    assert (sweep["kind"], sweep["status"], sweep["num_trials"]) == ("sweep", "finished", 4)
    assert sweep["scores"].keys() == {"val/loss", "test/accuracy"}
    assert sweep["num_epochs"] == 24
    assert sweep["curve"] == sorted(sweep["curve"], reverse=True)


def test_new_changed_and_removed_entries(runs):
    index = IndexReader(runs)
    assert not index.update()
    shutil.copytree(runs / "day/first", runs / "day/second")
    assert index.update()
    assert paths(index) == ["day/first", "day/second", "sweeps/s"]
    shutil.rmtree(runs / "day/second")
    assert index.update()
    assert paths(index) == ["day/first", "sweeps/s"]


def test_resumed_run_is_followed(runs):
    index, folder = IndexReader(runs), runs / "day/first"
    descriptor = acquire_lock(folder / ".lock")
    (folder / "summary.json").unlink()
    update_until_changed(index)
    assert [entry["status"] for entry in index.entries if entry["kind"] == "run"] == ["running"]
    append_epoch(folder, 2)
    assert index.update()
    os.close(descriptor)
    assert index.update()
    assert [entry["status"] for entry in index.entries if entry["kind"] == "run"] == ["killed"]


def update_until_changed(index):
    assert any(index.update() for _ in range(index_module.ROTATION))


def test_idle_update_opens_no_file_of_runs_that_have_ended(runs, monkeypatch):
    for number in range(20):
        shutil.copytree(runs / "day/first", runs / f"day/copy{number}")
    old = time.time() - 60
    for path in (runs, runs / "day", runs / "sweeps", runs / "sweeps/s/trials"):
        os.utime(path, (old, old))
    index, calls = IndexReader(runs), []
    monkeypatch.setattr(RunReader, "update", lambda run: calls.append(run.path))
    monkeypatch.setattr(index_module.os, "scandir", calls.append)
    for _ in range(2 * index_module.ROTATION):
        assert not index.update()
    assert calls == []


def test_updates_read_new_directories_within_the_time(runs):
    for number in range(5):
        shutil.copytree(runs / "day/first", runs / f"day/copy{number}")
    index = IndexReader(runs, max_seconds=0.0)
    assert index.num_pending
    num_updates = 1
    while index.num_pending:
        before = len(index.entries)
        index.update()
        num_updates += 1
        assert len(index.entries) >= before
        assert num_updates < 20
    assert len(index.entries) == 7


def test_unreadable_run_is_reported_until_it_is_mended(runs):
    index, config = IndexReader(runs), runs / "day/first/config.yaml"
    content = config.read_bytes()
    atomic_write(config, b"lr: [")
    update_until_changed(index)
    assert not any(index.update() for _ in range(index_module.ROTATION))
    assert paths(index) == ["sweeps/s"]
    assert index.errors == ["day/first/config.yaml is damaged: it cannot be read as plain YAML."]
    config.write_bytes(content)
    update_until_changed(index)
    assert (paths(index), index.errors) == (["day/first", "sweeps/s"], [])


def test_links_and_hidden_directories_are_not_followed(runs, tmp_path):
    shutil.copytree(runs / "day/first", tmp_path / "elsewhere/run")
    (runs / "link").symlink_to(tmp_path / "elsewhere")
    shutil.copytree(runs / "day/first", runs / ".hidden/run")
    assert len(IndexReader(runs).entries) == 2


def test_vanished_directory_is_reported(runs):
    index = IndexReader(runs)
    shutil.rmtree(runs)
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        index.update()
