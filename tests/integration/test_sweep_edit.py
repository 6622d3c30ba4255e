"""A sweep that is resumed with a changed file runs what is new, and no record is misread."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest
import yaml

from tests.conftest import SWEEP_SCRIPT, RunDir, repeat
from tests.directory_snapshot import assert_unchanged
from tests.integration.test_shared_sweep import (
    OFF,
    finished_runs,
    read_log,
    read_trials_table,
    start_machine,
)
from tests.integration.test_sweep import (
    QUICK_OVERRIDES,
    interrupt_first_trial,
    run_sweep,
    sweep_dir,
)
from tests.waiting import wait_until

__all__ = ["read_log", "run_sweep", "start_machine"]
SWEEP = {
    "method": "grid",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"values": [0.05, 0.1]}, "batch_size": {"values": [16, 32]}},
}
LARGER_SWEEP = {
    **SWEEP,
    "parameters": {"lr": {"values": [0.05, 0.1, 0.2]}, "batch_size": {"values": [16, 32, 64]}},
}


def random_sweep(epochs):
    parameters = {"lr": {"min": 0.01, "max": 0.05}, "epochs": {"value": epochs}}
    return {"method": "random", "metric": {"name": "val/loss"}, "parameters": parameters}


def points(table, *names):
    return [tuple(row[name] for name in names) for row in table]


def check_configs(table, folder):
    """Check that each trial in the table ran with the values that it shows."""
    for row in table:
        config = yaml.safe_load((folder / row["folder"] / "config.yaml").read_text())
        for name in ("lr", "batch_size", "depth", "epochs"):
            if row.get(name):
                assert config[name] == float(row[name]), (row, name)


def test_larger_grid_runs_exactly_the_missing_points(workdir, run_sweep):
    run_sweep(SWEEP, *QUICK_OVERRIDES)
    before = sweep_dir(workdir).table
    result = run_sweep(LARGER_SWEEP, "--resume")
    assert result.stderr == ("batch_size: 16, 32 → 16, 32, 64\nlr: 0.05, 0.1 → 0.05, 0.1, 0.2\n")
    table = sweep_dir(workdir).table
    assert [row["seconds"] for row in table[:4]] == [row["seconds"] for row in before]
    assert len(table) == 9
    assert len(set(points(table, "lr", "batch_size"))) == 9
    assert run_sweep(LARGER_SWEEP, "--resume").stderr == ""
    assert len(sweep_dir(workdir).table) == 9


@pytest.mark.soak
def test_everything_else_can_change_too(workdir, run_sweep):
    run_sweep(SWEEP, *QUICK_OVERRIDES)
    sweep = sweep_dir(workdir)
    changed = {
        "method": "bayes",
        "metric": {"name": "val/accuracy", "goal": "maximize"},
        "early_terminate": {"type": "hyperband", "min_iter": 1},
        "run_cap": 6,
        "parameters": {
            "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1},
            "depth": {"values": [1, 2]},
            "epochs": {"value": 3},
        },
    }
    with assert_unchanged(sweep.path):
        result = run_sweep(changed, "--resume", status=2)
    assert result.stderr.startswith("metric: early_terminate and impute need val/accuracy by epoch")
    del changed["early_terminate"]
    result = run_sweep(changed, "--resume", "--workers", "1")
    assert result.stderr.splitlines() == [
        "method: grid → bayes",
        "metric: {name: val/loss, goal: minimize} → {name: val/accuracy, goal: maximize}",
        "run_cap: none → 6",
        "batch_size: removed; from now on, trials have 32",
        "lr: 0.05, 0.1 → log_uniform_values, 0.001 ... 0.1",
        "depth: new; the 4 earlier trials had 2",
        "epochs: new; the 4 earlier trials had 2",
    ]
    table = sweep.table
    check_configs(table, sweep.path)
    assert points(table[:4], "lr", "batch_size", "depth", "epochs") == [
        ("0.05", "16", "2", "2"), ("0.1", "16", "2", "2"),
        ("0.05", "32", "2", "2"), ("0.1", "32", "2", "2"),
    ]  # fmt: skip
    assert [row["epochs"] for row in table[4:]] == ["3", "3"]
    for row in table:
        history = RunDir(sweep.path / row["folder"]).history
        assert float(row["objective"]) == max(line["val/accuracy"] for line in history)
    with assert_unchanged(sweep.path):
        history = sweep.path / "trials/0003/history.jsonl"
        content = history.read_text()
        history.write_text(content.replace('"train/loss"', '"other"'))
        result = run_sweep({**changed, "metric": {"name": "train/loss"}}, "--resume", status=2)
        history.write_text(content)
    assert result.stderr.splitlines()[-1] == (
        "metric: trial 3 has not recorded train/loss; choose a metric that all finished trials "
        "have."
    )


def test_interrupted_trial_continues_under_its_own_edition(workdir, run_sweep):
    content = {"method": "random", "metric": {"name": "val/loss"},
               "parameters": {"lr": {"min": 0.01, "max": 0.02}}}  # fmt: skip
    args = ["--count", "2", "--workers", "1", "epochs=300", "tracking=disabled"]
    first, sweep = interrupt_first_trial(workdir, content, *args), sweep_dir(workdir)
    history = first.history
    content["parameters"] = {"lr": {"min": 0.1, "max": 0.2}, "epochs": {"value": 2}}
    result = run_sweep(content, "--resume", "--count", "2")
    assert result.stderr.splitlines() == [
        "lr: 0.01 ... 0.02 → 0.1 ... 0.2",
        "epochs: new; the earlier trial had 300",
    ]
    assert first.history[: len(history)] == history
    assert len(first.history) == 300
    check_configs(sweep.table, sweep.path)
    assert [row["epochs"] for row in sweep.table] == ["300", "2"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("storage", ["file", "postgres"])
def test_other_machine_switches_at_its_next_proposal(
    workdir, start_machine, read_log, request, storage
):
    url = request.getfixturevalue("database_url") if storage == "postgres" else "shared.log"
    name = f"edited{random.randrange(10**9)}"
    content = random_sweep(epochs=30)
    content["early_terminate"] = {"type": "hyperband", "min_iter": 25}
    file = workdir.path / "trials.yaml"
    file.write_text(yaml.dump(content))
    editing = start_machine(2, "--count", "1", storage=url, name=name)
    assert editing.wait(timeout=60) == 0, read_log(2)
    other = start_machine(1, storage=url, name=name)
    wait_until(lambda: len(finished_runs(workdir, 1)) >= 2)
    del content["early_terminate"]  # while trials that may be pruned are running
    content["parameters"] |= {"lr": {"min": 0.5, "max": 0.6}, "depth": {"values": [1, 2]}}
    file.write_text(yaml.dump(content | {"run_cap": 20}))
    editing = start_machine(2, "--resume", storage=url, name=name)
    assert other.wait(timeout=120) == 0, read_log(1)  # by the new run_cap
    assert editing.wait(timeout=60) == 0, read_log(2)
    assert "lr: 0.01 ... 0.05 → 0.5 ... 0.6\ndepth: new; the " in read_log(2)
    assert "early_terminate: {type: hyperband, min_iter: 25, " in read_log(2)
    assert (workdir.path / "machine1/sweep.yaml").read_text() == file.read_text()
    table = read_trials_table(workdir, 1)
    assert {row["state"] for row in table} <= {"finished", "pruned"}
    is_new = [float(row["lr"]) >= 0.5 for row in table]
    assert is_new == sorted(is_new)
    assert {row["depth"] for row, new in zip(table, is_new, strict=True) if not new} == {"2"}
    for number in (1, 2):
        here = [row for row in read_trials_table(workdir, number) if ":" not in row["folder"]]
        assert any(float(row["lr"]) >= 0.5 for row in here)
        check_configs(here, workdir.path / f"machine{number}")


@pytest.mark.soak
def test_machine_with_another_file_is_told_what_differs(workdir, start_machine, read_log):
    original = {**random_sweep(epochs=2), "run_cap": 1}
    edited = {**original, "run_cap": 2, "method": "grid", "parameters": {"lr": {"values": [0.1]}}}
    edited["parameters"]["epochs"] = {"value": 2}
    for name, content in (("old.yaml", original), ("new.yaml", edited)):
        (workdir.path / name).write_text(yaml.dump(content))
    shared = {"storage": "shared.log", "overrides": OFF}
    for number, file, *args in [(1, "old.yaml"), (2, "old.yaml"), (1, "new.yaml", "--resume")]:
        assert start_machine(number, *args, sweep=file, **shared).wait(timeout=60) == 0, read_log(1)
    assert start_machine(3, sweep="old.yaml", **shared).wait(timeout=60) == 2
    assert read_log(3) == (
        "old.yaml: method: grid → random since the sweep was started; copy sweep.yaml from another "
        "machine; --name=NAME starts a new one.\n"
    )
    assert not (workdir.path / "machine3").exists()
    (workdir.path / "other.yaml").write_text(yaml.dump({**original, "method": "bayes"}))
    for args, remedy in (([], "--resume changes the sweep"), (["--resume"], "another machine has")):
        assert start_machine(2, *args, sweep="other.yaml", **shared).wait(timeout=60) == 2
        assert remedy in read_log(2)
    assert yaml.safe_load((workdir.path / "machine2/sweep.yaml").read_text()) == original
    assert start_machine(2, sweep="old.yaml", **shared).wait(timeout=60) == 0  # as it knows it
    assert "Changed since: method: random → grid\n" in read_log(2)
    assert yaml.safe_load((workdir.path / "machine2/sweep.yaml").read_text()) == edited
    assert start_machine(3, sweep="new.yaml", **shared).wait(timeout=60) == 0


@pytest.mark.soak
@repeat(1, 40)
def test_kill_during_an_edit_leaves_either_edition(workdir, run_sweep, repetition):
    run_sweep(SWEEP, *QUICK_OVERRIDES)
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(LARGER_SWEEP))
    sweep = sweep_dir(workdir)
    process = workdir.start(SWEEP_SCRIPT, "small.yaml", "--resume")
    time.sleep(random.uniform(0.5, 3.0))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    content = yaml.safe_load((sweep.path / "sweep.yaml").read_text())
    assert content in (SWEEP, LARGER_SWEEP)
    assert json.loads((sweep.path / "settings.json").read_text())["overrides"]
    run_sweep(LARGER_SWEEP, "--resume")
    assert len(set(points(sweep.table, "lr", "batch_size"))) == len(sweep.table) == 9


@pytest.mark.soak
@repeat(1, 5)
@pytest.mark.parametrize("storage", ["file", "postgres"])
def test_kill_during_an_edit_does_not_disturb_another_machine(
    workdir, start_machine, read_log, request, storage, repetition
):
    url = request.getfixturevalue("database_url") if storage == "postgres" else "shared.log"
    shared = {"storage": url, "name": f"killed{random.randrange(10**9)}"}
    content = random_sweep(epochs=10)
    file = workdir.path / "trials.yaml"
    file.write_text(yaml.dump(content))
    assert start_machine(2, "--count", "1", **shared).wait(timeout=180) == 0, read_log(2)
    other = start_machine(1, **shared)
    wait_until(lambda: len(finished_runs(workdir, 1)) >= 2)
    content["parameters"] |= {"lr": {"min": 0.5, "max": 0.6}}
    file.write_text(yaml.dump(content | {"run_cap": 40}))
    editing = start_machine(2, "--resume", **shared)
    time.sleep(random.uniform(0.5, 4.0))
    editing.kill()
    editing = start_machine(2, "--resume", **shared)
    assert other.wait(timeout=180) == 0, read_log(1)
    assert editing.wait(timeout=180) == 0, read_log(2)
    table = read_trials_table(workdir, 1)
    assert [row["number"] for row in table] == [str(number) for number in range(len(table))]
    assert {row["state"] for row in table} == {"finished"}
    assert len(table) >= 40
    assert len({row["lr"] for row in table}) == len(table)
    is_new = [float(row["lr"]) >= 0.5 for row in table]
    assert is_new == sorted(is_new)
    assert any(is_new)
    for number in (1, 2):
        here = [row for row in read_trials_table(workdir, number) if ":" not in row["folder"]]
        check_configs(here, workdir.path / f"machine{number}")
