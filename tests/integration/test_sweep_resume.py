"""Resuming a sweep after its file, its study or its disk has changed."""

from __future__ import annotations

import json
import shutil
import time

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage

from nn.sweeps.storage import CrashSafeJournalBackend
from tests.conftest import SWEEP_SCRIPT
from tests.integration.test_sweep import (
    QUICK_OVERRIDES,
    SMALL_SWEEP,
    interrupt_first_trial,
    run_sweep,
    sweep_dir,
    worker_pids,
)

__all__ = ["run_sweep"]
GRID_SWEEP = {**SMALL_SWEEP, "method": "grid", "parameters": {"lr": {"values": [0.05, 0.1, 0.2]}}}


def open_study(sweep):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(CrashSafeJournalBackend(sweep.path / "study.log"))
    return optuna.load_study(study_name="sweep", storage=storage)


@pytest.mark.soak
def test_equivalent_sweep_file_is_accepted(workdir, run_sweep):
    plain = {"lr": {"min": 0.01, "max": 0.5}, "depth": {"value": 1}}
    spelled = {
        "depth": {"distribution": "constant", "value": 1},
        "lr": {"distribution": "uniform", "max": 0.5, "min": 0.01},
    }
    run_sweep({**SMALL_SWEEP, "parameters": plain, "run_cap": 1}, *QUICK_OVERRIDES)
    run_sweep({**SMALL_SWEEP, "parameters": spelled, "run_cap": 2}, "--resume")
    assert len(sweep_dir(workdir).table) == 2


@pytest.mark.sampled(1)
@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_trial_with_unknown_parameters_is_marked_failed(workdir, run_sweep, method):
    content = {**GRID_SWEEP, "method": method}
    run_sweep(content, "--count", "2", *QUICK_OVERRIDES)
    sweep = sweep_dir(workdir)
    poisoned = open_study(sweep).ask()
    poisoned.suggest_float("depth", 1.0, 2.0)  # from a file with another parameter
    run_sweep(content, "--resume", "--count", "3")
    assert [row["lr"] for row in sweep.table] == ["0.05", "0.1", "0.2"] or method != "grid"
    assert [int(row["number"]) for row in sweep.table] == [0, 1, 3]
    assert {row["state"] for row in sweep.table} == {"finished"}
    assert open_study(sweep).trials[2].user_attrs["status"] == "failed"


@pytest.mark.soak
def test_grid_is_complete_when_each_point_has_a_result(workdir, run_sweep):
    sweep = sweep_dir(workdir)
    obstacle = sweep.path / "trials/0001"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("no directory can be made here")
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(GRID_SWEEP))
    args = ["--workers", "1", *QUICK_OVERRIDES]
    result = workdir.run(SWEEP_SCRIPT, "small.yaml", "--storage", "own.log", *args)
    assert result.returncode == 1, result.stderr
    assert "1 of 3 trials failed:\n" in result.stdout
    assert "File exists" in result.stdout
    assert "Every point of the grid has been tried" not in result.stdout
    assert [row["state"] for row in sweep.table] == ["finished", "failed", "finished"]
    resumed = workdir.run(SWEEP_SCRIPT, "small.yaml", "--storage", "own.log", *args)
    assert resumed.returncode == 1
    obstacle.unlink()
    result = workdir.run(SWEEP_SCRIPT, "small.yaml", "--storage", "own.log", *args)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Every point of the grid has been tried." in result.stdout
    assert [row["state"] for row in sweep.table] == ["finished"] * 3
    assert [row["lr"] for row in sweep.table] == ["0.05", "0.1", "0.2"]


@pytest.mark.soak
def test_trial_is_retried_at_most_three_times(workdir, run_sweep):
    run_sweep(GRID_SWEEP, "--count", "1", *QUICK_OVERRIDES)
    sweep = sweep_dir(workdir)
    obstacle = sweep.path / "trials/0001"
    obstacle.write_text("no directory can be made here")
    for attempt in range(3):
        result = run_sweep(GRID_SWEEP, "--resume", status=1)
        assert ("--resume retries 1 of them." in result.stdout) == (attempt < 2)
    obstacle.unlink()
    result = run_sweep(GRID_SWEEP, "--resume", status=1)
    assert [row["state"] for row in sweep.table] == ["finished", "failed", "finished"]
    assert "1 of 3 trials failed:" in result.stdout


@pytest.mark.soak
def test_sweep_stops_when_its_trials_all_fail_and_can_be_resumed(workdir, run_sweep):
    run_sweep(SMALL_SWEEP, "--count", "1", *QUICK_OVERRIDES)
    trials = sweep_dir(workdir).path / "trials"
    for number in range(1, 8):
        (trials / f"{number:04}").write_text("no directory can be made here")
    result = run_sweep(SMALL_SWEEP, "--resume", "--count", "8", "--workers", "1", status=1)
    assert "The first 3 trials all failed: " in result.stderr
    assert "Traceback" not in result.stderr
    for number in range(1, 8):
        (trials / f"{number:04}").unlink()
    run_sweep(SMALL_SWEEP, "--resume", "--count", "8")
    assert [row["state"] for row in sweep_dir(workdir).table] == ["finished"] * 8


def rows_without_seconds(sweep):
    """Return the table without timings, which differ for a trial that was evaluated again."""
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in sweep.table
    ]


def damage_study(sweep, damage):
    """Damage the study of a sweep in one of several ways."""
    log = sweep.path / "study.log"
    content = log.read_bytes()
    if damage == "missing":
        log.unlink()
    elif damage == "cut":
        log.write_bytes(content[: len(content) // 2])
    elif damage == "beheaded":
        log.write_bytes(content[content.index(b"\n") + 1 :])
    elif damage == "empty":
        log.write_bytes(b"")
    else:
        log.write_bytes(content[: len(content) // 2] + b"\nnot a log\n" + content[-300:])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("damage", ["missing", "cut", "beheaded", "empty", "garbage"])
@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_lost_study_is_restored_from_trial_directories(workdir, run_sweep, damage, method):
    lr = {"values": [0.05, 0.1, 0.2, 0.3]} if method == "grid" else {"min": 0.01, "max": 0.5}
    content = {**SMALL_SWEEP, "method": method, "parameters": {"lr": lr, "model.hidden": {
        "values": [[16, 8]]}, "optimizer": {"values": ["sgd"]}}}  # fmt: skip
    args = ["--workers", "1", *QUICK_OVERRIDES]
    run_sweep(content, "--count", "4", *args, "--name", "whole")
    run_sweep(content, "--count", "3", *args)
    sweep, complete = sweep_dir(workdir), sweep_dir(workdir, "whole")
    before = rows_without_seconds(sweep)
    written = {run.path: (run.path / "history.jsonl").read_bytes() for run in sweep.trials}
    damage_study(sweep, damage)
    result = run_sweep(content, "--resume", "--count", "4", "--workers", "1")
    assert "restored from" in result.stderr
    assert rows_without_seconds(sweep)[:3] == before
    assert [row["state"] for row in sweep.table] == ["finished"] * 4
    assert [row["lr"] for row in sweep.table] == [row["lr"] for row in complete.table]
    for path, history in written.items():
        assert (path / "history.jsonl").read_bytes() == history  # including times
    if damage == "garbage":
        assert (sweep.path / "study.log.damaged").exists()


@pytest.mark.soak
def test_running_trial_continues_after_its_study_was_lost(workdir, run_sweep):
    args = ["--count", "2", "--workers", "1"]
    first = interrupt_first_trial(workdir, SMALL_SWEEP, *args, "epochs=400", "tracking=disabled")
    history, sweep = first.history, sweep_dir(workdir)
    (sweep.path / "study.log").unlink()
    run_sweep(SMALL_SWEEP, "--resume", *args)
    assert [row["state"] for row in sweep.table] == ["finished"] * 2
    assert first.history[: len(history)] == history


@pytest.mark.soak
def test_directory_of_another_sweep_is_not_mistaken_for_a_trial(workdir, run_sweep):
    run_sweep(GRID_SWEEP, "--count", "1", *QUICK_OVERRIDES)
    sweep = sweep_dir(workdir)
    shutil.copytree(sweep.path / "trials/0000", sweep.path / "trials/0007")
    record = json.loads((sweep.path / "trials/0007/trial.json").read_text())
    assert record == {"number": 0, "parameters": {"lr": 0.05}}
    result = run_sweep({**GRID_SWEEP, "run_cap": 3}, "--resume")
    assert [row["lr"] for row in sweep.table] == ["0.05", "0.1", "0.2"], result.stdout


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("content", "args", "most"),
    [
        (SMALL_SWEEP, ["--workers", "60", "--count", "1"], 1),
        ({**GRID_SWEEP, "run_cap": 60}, ["--workers", "60"], 3),
        (SMALL_SWEEP, ["--workers", "3", "--count", "9"], 3),
    ],
)
def test_no_more_workers_start_than_there_are_trials(workdir, content, args, most):
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(content))
    process = workdir.start(SWEEP_SCRIPT, "small.yaml", *args, *QUICK_OVERRIDES)
    pids = set()
    while process.poll() is None:
        pids |= set(worker_pids(process))
        time.sleep(0.01)
    out, errors = process.communicate()
    assert process.returncode == 0, out + errors
    assert len(pids) == most
    result = workdir.start(SWEEP_SCRIPT, "small.yaml", *args, *QUICK_OVERRIDES, "--resume")
    while result.poll() is None:
        assert not worker_pids(result)
        time.sleep(0.01)
    assert result.communicate()[0].count(" finished ") >= most
