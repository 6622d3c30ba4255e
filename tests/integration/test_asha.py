"""`sweep.py --scheduler asha`: a trial that pauses and continues is the run that never paused."""

from __future__ import annotations

import random
import secrets
import shutil

import pytest
import yaml

from tests.conftest import SWEEP_SCRIPT, RunDir, repeat
from tests.integration.test_replicates import RANDOM
from tests.integration.test_shared_sweep import (
    finished_runs,
    read_log,
    read_trials_table,
    start_machine,
)
from tests.integration.test_sweep import kill_after_trials, run_sweep, sweep_dir
from tests.waiting import wait_until

__all__ = ["read_log", "run_sweep", "start_machine"]
ASHA = ("--scheduler", "asha")
EPOCHS = ("epochs=9", "tracking=disabled")


def check_halving(table, num_trials):
    """Check that every trial has paused at a rung or ended, and that few have ended."""
    assert [int(row["number"]) for row in table] == [*range(num_trials)]
    states = {(row["state"], row["epochs_trained"]) for row in table}
    assert states <= {("paused", "1"), ("paused", "3"), ("finished", "9")}
    finished = [row for row in table if row["state"] == "finished"]
    assert min(3, num_trials) <= len(finished) <= max(3, num_trials // 3 + 1)
    return finished


def check_same_as_unpaused(workdir, run_sweep, name, content, *args):
    """Check that the finished trials of a sweep are those of the same sweep without pauses."""
    run_sweep(content, *args, "--name", "whole")
    whole = sweep_dir(workdir, "whole")
    for row in sweep_dir(workdir, name).table:
        run = RunDir(sweep_dir(workdir, name).path / row["folder"])
        unpaused = RunDir(whole.path / row["folder"])
        if row["state"] == "finished":
            assert run.exact_results == unpaused.exact_results
        else:
            num_epochs = int(row["epochs_trained"])
            assert run.exact_results[0] == unpaused.exact_results[0][:num_epochs]


def test_best_third_of_each_rung_continues_to_the_bits_of_runs_that_never_paused(
    workdir, run_sweep
):
    result = run_sweep(RANDOM, *ASHA, "--count", "9", *EPOCHS)
    finished = check_halving(sweep_dir(workdir).table, 9)
    best = min(finished, key=lambda row: float(row["objective"]))
    assert f"lr={best['lr']}" in result.stdout.splitlines()[-1]
    check_same_as_unpaused(workdir, run_sweep, "small", RANDOM, "--count", "9", *EPOCHS)
    # more trials let others continue, and a lost checkpoint makes a trial start over
    shutil.rmtree(next(sweep_dir(workdir).path.glob("trials/*/checkpoints")))
    run_sweep(RANDOM, "--resume", "--count", "14")
    assert len(check_halving(sweep_dir(workdir).table, 14)) >= len(finished)
    shutil.rmtree(sweep_dir(workdir, "whole").path)
    check_same_as_unpaused(workdir, run_sweep, "small", RANDOM, "--count", "14", *EPOCHS)


@repeat(1, 20)
def test_kill_at_any_moment_loses_no_pause_and_changes_no_bit(workdir, run_sweep, repetition):
    args = [*ASHA, "--count", "6", "--workers", "2", *EPOCHS]
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(RANDOM))
    rng, sweep = random.Random(repetition), sweep_dir(workdir, "killed")
    resume = []
    for _ in range(3):
        ends = len(list(sweep.path.glob("trials/*/summary.json"))) + rng.randrange(0, 3)
        process = workdir.start(SWEEP_SCRIPT, "small.yaml", *args, "--name", "killed", *resume)
        kill_after_trials(process, sweep, ends, rng)
        resume = ["--resume"] if (sweep.path / "sweep.yaml").exists() else []
    run_sweep(RANDOM, *args, "--name", "killed", *resume)
    check_halving(sweep.table, 6)
    check_same_as_unpaused(workdir, run_sweep, "killed", RANDOM, "--count", "6", *EPOCHS)


@pytest.mark.parametrize("kind", ["file", pytest.param("postgres", marks=pytest.mark.soak)])
def test_machine_continues_or_repeats_the_paused_trials_of_one_that_was_killed(
    workdir, run_sweep, start_machine, read_log, request, kind
):
    url = request.getfixturevalue("database_url") if kind == "postgres" else "shared.log"
    storage = {"storage": url, "name": f"asha{secrets.token_hex(4)}", "sweep": "small.yaml"}
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(RANDOM))
    args = (*ASHA, "--count", "40", *EPOCHS)
    first = start_machine(1, *args, **storage, overrides=())
    second = start_machine(2, *args, **storage, overrides=())
    runs = [workdir.path / f"machine{number}/trials" for number in (1, 2)]
    wait_until(lambda: all(any(folder.glob("*/summary.json")) for folder in runs))
    first.kill()
    assert second.wait(timeout=400) == 0, read_log(2)
    table = read_trials_table(workdir, 2)
    check_halving([row | {"epochs_trained": epochs(workdir, row)} for row in table], 40)
    run_sweep(RANDOM, "--count", "40", *EPOCHS, "--name", "whole")
    for name, run in (finished_runs(workdir, 1) | finished_runs(workdir, 2)).items():
        whole = RunDir(sweep_dir(workdir, "whole").path / "trials" / name)
        assert run.exact_results == whole.exact_results


def epochs(workdir, row):
    """Return the epochs of a trial, which only the machine that ran it knows."""
    if row["epochs_trained"]:
        return row["epochs_trained"]
    folder = workdir.path / "machine1/trials" / f"{int(row['number']):04}"
    return str(len(RunDir(folder).history))


def test_further_seeds_run_only_after_the_last_rung(workdir, run_sweep):
    args = [*ASHA, "--count", "6", "--replicates", "2", "--no-racing"]
    run_sweep(RANDOM, *args, *EPOCHS)
    table = sweep_dir(workdir).table
    firsts = [row for row in table if row["replicate"] == "0"]
    others = [row for row in table if row["replicate"] == "1"]
    finished = {row["number"] for row in firsts if row["state"] == "finished"}
    assert len(firsts) == 6
    assert {row["replicate_of"] for row in others} == finished
    assert {(row["state"], row["epochs_trained"]) for row in others} == {("finished", "9")}


def test_budget_of_epochs_and_timeout_start_no_further_trials(workdir, run_sweep):
    result = run_sweep(RANDOM, "--epochs-budget", "5", "--workers", "1", "epochs=2", EPOCHS[1])
    assert len(sweep_dir(workdir).table) == 3
    assert "The trials have used up 5 epochs." in result.stdout
    result = run_sweep(RANDOM, "--timeout", "1", "--name", "timed", *EPOCHS)
    assert "The time is up." in result.stdout
    result = run_sweep(RANDOM, *ASHA, "--epochs-budget", "12", "--name", "both", *EPOCHS)
    table = sweep_dir(workdir, "both").table
    check_halving(table, len(table))
    assert len(table) >= 6


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("change", "args", "message"),
    [
        ({}, ["--scheduler", "halving"], "argument --scheduler: invalid choice: 'halving'"),
        ({}, ["--epochs-budget", "0"], "argument --epochs-budget: 0 must be a whole number, at"),
        ({}, ["--timeout", "-1"], "argument --timeout: "),
        ({}, [*ASHA, "epochs=1"], "--scheduler=asha: with epochs=1 there is nothing to share; "),
        ({"metric": None}, ASHA, "--scheduler=asha: trials need a metric to be compared by; add"),
        (
            {"metric": {"name": "test/loss"}},
            ASHA,
            "--scheduler=asha: test/loss is logged once, at the end of a run, so that trials",
        ),
        (
            {"parameters": {"epochs": {"values": [3, 9]}}},
            ASHA,
            "--scheduler=asha: epochs is a parameter of the sweep file, too, and the scheduler",
        ),
    ],
)
def test_refused_scheduler_leaves_nothing_behind(workdir, run_sweep, change, args, message):
    content = {key: value for key, value in {**RANDOM, **change}.items() if value is not None}
    result = run_sweep(content, "--count", "1", *args, "tracking=disabled", status=2)
    assert message in result.stderr
    assert not (workdir.path / "runs").exists()


@pytest.mark.soak
def test_scheduler_and_epochs_of_a_sweep_cannot_change(workdir, run_sweep):
    run_sweep(RANDOM, "--count", "1", *EPOCHS, "--name", "plain")
    result = run_sweep(RANDOM, *ASHA, "--name", "plain", "--resume", status=2)
    assert result.stderr == (
        "--scheduler=asha: this sweep was started without it; --name=NAME starts a new one.\n"
    )
    run_sweep(RANDOM, *ASHA, "--count", "1", *EPOCHS)
    result = run_sweep(RANDOM, "--resume", "--count", "2", "epochs=12", status=2)
    assert "epochs=12: the earlier trial had epochs=9" in result.stderr
