"""`sweep.py --replicates` runs each point with the same seeds, and no run is lost or doubled."""

from __future__ import annotations

import json
import random
import secrets
import shlex
from collections import Counter

import pytest
import yaml

import nn
from nn.sweeps.trials_reader import load_sweep_trials
from nn.tracking.wandb_log import find_log
from nn.tracking.wandb_record import read_log as read_wandb_log
from tests.conftest import SWEEP_SCRIPT, RunDir, repeat
from tests.directory_snapshot import assert_unchanged
from tests.integration.test_shared_sweep import (
    finished_runs,
    read_log,
    read_trials_table,
    start_machine,
)
from tests.integration.test_sweep import (
    QUICK_OVERRIDES,
    kill_after_trials,
    run_sweep,
    sweep_dir,
)
from tests.waiting import wait_until

__all__ = ["read_log", "run_sweep", "start_machine"]
GRID = {
    "method": "grid",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"values": [0.05, 0.1]}, "depth": {"values": [1, 2]}},
}
RANDOM = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.5}},
}


def check_rows(table, find_run, first_seed=0):
    """Check that each trial ran its point with its seed, and that none was run twice.

    Returns:
        The number of trials of each point, by the number of its first trial.
    """
    rows = {int(row["number"]): row for row in table}
    assert sorted(rows) == list(range(len(rows)))
    assert {row["state"] for row in table} == {"finished"}
    runs = Counter()
    for number, row in rows.items():
        first = rows[int(row["replicate_of"] or number)]
        assert row["lr"] == first["lr"]
        assert (row["replicate"] == "0") == (row is first)
        runs[int(first["number"]), int(row["replicate"])] += 1
        run = find_run(row)
        config = yaml.safe_load((run.path / "config.yaml").read_text())
        seed = first_seed + int(row["replicate"])
        assert (config["lr"], config["seed"]) == (float(row["lr"]), seed)
        assert int(row["seed"]) == seed
        assert float(row["objective"]) == min(line["val/loss"] for line in run.history)
    assert set(runs.values()) == {1}
    return Counter(number for number, _ in runs)


def check_sweep(workdir, name="small", first_seed=0):
    sweep = sweep_dir(workdir, name)
    return check_rows(sweep.table, lambda row: RunDir(sweep.path / row["folder"]), first_seed)


def test_every_point_of_a_grid_runs_with_the_same_seeds(workdir, run_sweep):
    args = ["--replicates", "3", "--no-racing", "--workers", "2", *QUICK_OVERRIDES]
    result = run_sweep(GRID, *args, "seed=5")
    assert sorted(check_sweep(workdir, first_seed=5).values()) == [3, 3, 3, 3]
    assert "Points: 4, trials: 12, in runs/sweeps/small" in result.stdout
    points = nn.load_sweep(sweep_dir(workdir).path).points_dataframe()
    assert "rank  val/loss      ±  seeds  P(best)  trial  depth    lr" in result.stdout
    assert list(points["num_seeds"]) == [3, 3, 3, 3]
    assert points["probability_best"].sum() == pytest.approx(1)
    assert len(set(points["std_error"])) == 1
    # the last command reproduces all runs of the best point
    command = shlex.split(result.stdout.splitlines()[-1])
    assert "seed=5,6,7" in command
    best = points.sort_values("mean").iloc[0]
    reproduced = workdir.run(*command[1:], "hydra.sweep.dir=again")
    assert reproduced.returncode == 0, reproduced.stderr
    rows = [row for row in sweep_dir(workdir).table
            if int(row["replicate_of"] or row["number"]) == best["number"]]  # fmt: skip
    for job, row in enumerate(sorted(rows, key=lambda row: int(row["replicate"]))):
        run = RunDir(sweep_dir(workdir).path / row["folder"])
        assert RunDir(workdir.path / f"again/{job}").exact_results == run.exact_results


def test_only_points_that_can_be_the_best_get_all_seeds(workdir, run_sweep):
    lrs = [0.0001, 0.0002, 0.0003, 0.2, 0.001, 0.002, 0.003, 0.25]
    content = {**GRID, "parameters": {"lr": {"values": lrs}}}
    run_sweep(content, "--replicates", "4", "--workers", "1", *QUICK_OVERRIDES)
    counts = check_sweep(workdir)
    trials = load_sweep_trials(sweep_dir(workdir).path)
    seeds = {point.point["lr"]: len(point.trials) for point in trials.points}
    assert list(seeds) == lrs
    assert sorted(counts.values()) == sorted(seeds.values())
    assert max(seeds[0.2], seeds[0.25]) == 4
    assert min(seeds.values()) == 1
    assert set(seeds.values()) <= {1, 3, 4}


def test_count_is_of_points_and_run_cap_of_runs(workdir, run_sweep):
    args = ["--replicates", "2", "--workers", "1", *QUICK_OVERRIDES]
    run_sweep({**RANDOM, "run_cap": 5}, *args, "--no-racing")
    assert check_sweep(workdir) == {0: 2, 2: 2, 4: 1}
    run_sweep({**RANDOM, "run_cap": 5}, "--resume", "--count", "4")
    assert sorted(check_sweep(workdir).values()) == [2, 2, 2, 2]


def test_resume_with_more_replicates_runs_the_missing_ones(workdir, run_sweep):
    run_sweep(GRID, *QUICK_OVERRIDES, "seed=3")
    sweep = sweep_dir(workdir)
    before = sweep.table
    result = run_sweep(GRID, "--resume", "--replicates", "2")
    assert result.stderr == "replicates: 1 → 2\n"
    assert [row["seconds"] for row in sweep.table[:4]] == [row["seconds"] for row in before]
    run_sweep(GRID, "--resume", "--replicates", "3", "--no-racing")
    assert sorted(check_sweep(workdir, first_seed=3).values()) == [3, 3, 3, 3]
    settings = json.loads((sweep.path / "settings.json").read_text())
    assert (settings["replicates"], settings["racing"]) == (3, False)
    with assert_unchanged(sweep.path):
        result = run_sweep(GRID, "--resume", "--replicates", "2", status=2)
    assert result.stderr == (
        "--replicates=2: this sweep was started with 3; give 3 or more, or start a new one with "
        "--name=NAME.\n"
    )


@pytest.mark.parametrize(
    ("change", "args", "message"),
    [
        ({}, ["--replicates", "0"], "argument --replicates: 0 must be a whole number, at least 1"),
        ({}, ["--replicates", "1001"], "--replicates=1001: there can be 1000 at most."),
        ({}, ["--no-racing"], "--no-racing: has no effect with one seed per point; add"),
        (
            {"metric": None},
            ["--replicates", "2"],
            "--replicates=2: points need a metric to be compared by; add one to the file.",
        ),
        *(
            (
                {"parameters": {**GRID["parameters"], "seed": seed}},
                ["--replicates", "2"],
                "--replicates=2: seed is a parameter of the sweep file, too; remove it there, and",
            )
            for seed in ({"values": [0, 1]}, {"value": 3})
        ),
    ],
)
def test_refused_replicates_leave_nothing_behind(workdir, run_sweep, change, args, message):
    content = {key: value for key, value in {**GRID, **change}.items() if value is not None}
    for flags in ([], ["--check"]):
        result = run_sweep(content, *args, *flags, *QUICK_OVERRIDES, status=2)
        assert message in result.stderr
    assert not (workdir.path / "runs").exists()


def test_lost_study_is_restored_with_its_replicates(workdir, run_sweep):
    args = ["--replicates", "2", "--workers", "1", *QUICK_OVERRIDES]
    run_sweep(RANDOM, *args, "--count", "3")
    sweep = sweep_dir(workdir)
    before = [{**row, "seconds": ""} for row in sweep.table]
    (sweep.path / "study.log").unlink()
    result = run_sweep(RANDOM, "--resume", "--count", "3")
    assert "restored from" in result.stderr
    assert [{**row, "seconds": ""} for row in sweep.table] == before


def test_early_termination_judges_the_first_seed_only(workdir, run_sweep):
    hyperband = {"type": "hyperband", "min_iter": 2, "eta": 2}
    content = {**RANDOM, "early_terminate": hyperband}
    args = ["--count", "6", "--replicates", "2", "--no-racing", "--workers", "1"]
    run_sweep(content, *args, "epochs=6", "tracking=disabled")
    table = sweep_dir(workdir).table
    pruned = {row["number"] for row in table if row["state"] == "pruned"}
    assert pruned
    assert len(table) == 12 - len(pruned)
    assert {row["replicate"] for row in table if row["state"] == "pruned"} == {"0"}
    assert not pruned & {row["replicate_of"] for row in table}


def test_target_is_reached_by_the_mean_over_all_seeds(workdir, run_sweep):
    parameters = {"lr": {"values": [0.05, 0.2, 0.1]}}
    metric = {"name": "val/loss", "target": 0.7}
    args = ["--replicates", "2", "--no-racing", "--workers", "1", *QUICK_OVERRIDES]
    result = run_sweep({**GRID, "metric": metric, "parameters": parameters}, *args)
    table = sweep_dir(workdir).table
    means = [sum(float(row["objective"]) for row in table[n : n + 2]) / 2 for n in (0, 2)]
    assert means[1] <= 0.7 < means[0]
    assert len(table) == 4
    assert "The target 0.7 has been reached." in result.stdout


def test_wandb_shows_the_trial_and_the_point_of_each_run(workdir, run_sweep):
    run_sweep(RANDOM, "--count", "2", "--replicates", "2", "--no-racing", "epochs=1")
    sweep = sweep_dir(workdir)
    for row in sweep.table:
        log, stat = find_log(next((sweep.path / row["folder"]).rglob("*.wandb")).parent)
        config = read_wandb_log(log, stat.st_size, stat.st_mtime_ns)["config"]
        number = int(row["number"])
        assert (config["trial"], config["seed"]) == (number, int(row["seed"]))
        assert config["point"] == int(row["replicate_of"] or number)


def test_diverged_replicate_ends_the_race_of_its_point(workdir, run_sweep):
    content = {**GRID, "parameters": {"lr": {"values": [0.05, 1e30]}}}
    args = ["--replicates", "2", "--no-racing", "--workers", "1"]
    result = run_sweep(content, *args, *QUICK_OVERRIDES)
    states = [(row["lr"], row["state"]) for row in sweep_dir(workdir).table]
    assert states == [("0.05", "finished"), ("0.05", "finished"), ("1e+30", "diverged")]
    assert "lr=0.05" in result.stdout.splitlines()[-1]


@repeat(1, 20)
def test_kill_9_loses_and_doubles_no_replicate(workdir, run_sweep, repetition):
    args = ["--count", "4", "--replicates", "3", "--workers", "2", "epochs=20", "tracking=disabled"]
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(RANDOM))
    rng, sweep = random.Random(repetition), sweep_dir(workdir, "killed")
    resume, finished = [], {}
    for _ in range(1 + repetition % 3):
        ends = len(list(sweep.path.glob("trials/*/summary.json"))) + rng.randrange(1, 3)
        process = workdir.start(SWEEP_SCRIPT, "small.yaml", *args, "--name", "killed", *resume)
        kill_after_trials(process, sweep, ends, rng)
        resume = ["--resume"] if (sweep.path / "sweep.yaml").exists() else []
        finished |= {
            run.path: run.exact_results
            for run in sweep.trials
            if (run.path / "summary.json").exists() and run.summary["status"] == "finished"
        }
    run_sweep(RANDOM, *args, "--name", "killed", "--resume")
    run_sweep(RANDOM, *args, "--name", "whole", "--no-racing")
    counts = check_sweep(workdir, "killed")
    assert len(counts) == 4
    assert max(counts.values()) == 3
    whole = {
        (row["lr"], row["seed"]): RunDir(sweep_dir(workdir, "whole").path / row["folder"])
        for row in sweep_dir(workdir, "whole").table
    }
    for row in sweep.table:
        run = RunDir(sweep.path / row["folder"])
        assert run.exact_results == whole[row["lr"], row["seed"]].exact_results
        assert finished.get(run.path, run.exact_results) == run.exact_results
    points = nn.load_sweep(sweep.path).points_dataframe()
    for _, point in points.iterrows():
        values = [float(row["objective"]) for row in sweep.table
                  if int(row["replicate_of"] or row["number"]) == point["number"]]  # fmt: skip
        assert point["num_seeds"] == len(values)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["file", "postgres"])
def test_two_machines_share_replicates_and_one_is_killed(
    workdir, start_machine, read_log, request, kind
):
    url = request.getfixturevalue("database_url") if kind == "postgres" else "shared.log"
    storage = {"storage": url, "name": f"replicates{secrets.token_hex(4)}"}
    args = ["--count", "4", "--replicates", "3", "--no-racing"]
    first = start_machine(1, *args, **storage)
    second = start_machine(2, *args, **storage)
    wait_until(lambda: finished_runs(workdir, 1) and finished_runs(workdir, 2))
    first.kill()
    assert second.wait(timeout=400) == 0, read_log(2)
    table = read_trials_table(workdir, 2)

    def find_run(row):
        machine = 1 if ":" in row["folder"] else 2
        return finished_runs(workdir, machine)[f"{int(row['number']):04}"]

    assert sorted(check_rows(table, find_run).values()) == [3] * 4
    refused = start_machine(3, *args[:-1], "--replicates", "4", **storage)
    assert refused.wait(timeout=120) == 2
    assert read_log(3) == (
        "--replicates=4: this sweep has 3; leave it out, or add --resume where it ran before.\n"
    )
    assert not (workdir.path / "machine3").exists()
    # a machine that is resumed with more seeds raises those of the other
    resumed = start_machine(2, "--count", "4", "--replicates", "4", "--resume", **storage)
    assert resumed.wait(timeout=400) == 0, read_log(2)
    assert sorted(check_rows(read_trials_table(workdir, 2), find_run).values()) == [4] * 4
