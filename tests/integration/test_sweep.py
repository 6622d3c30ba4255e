"""scripts/sweep.py runs W&B sweep files without a server."""

from __future__ import annotations

import csv
import os
import pty
import random
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

import nn
from nn.errors import UserError
from nn.runs.reader import read_json
from nn.sweeps.lint import find_errors
from nn.sweeps.samplers import registry
from nn.sweeps.trials_reader import load_sweep_trials
from tests import postgres
from tests.conftest import REPORT_SCRIPT, ROOT, SWEEP_SCRIPT, TRAIN_SCRIPT, RunDir, repeat
from tests.report.report_page import ReportPage
from tests.waiting import count_epochs, wait_until

SMALL_SWEEP = {
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.5},
        "depth": {"values": [1, 2]},
    },
}
QUICK_OVERRIDES = ("epochs=2", "tracking=disabled")


class SweepDir:
    """A sweep directory, read back."""

    def __init__(self, path):
        self.path = path

    @property
    def table(self):
        with (self.path / "trials.csv").open() as file:
            return list(csv.DictReader(file))

    @property
    def trials(self):
        return [RunDir(path.parent) for path in sorted(self.path.glob("trials/*/config.yaml"))]


@pytest.fixture
def run_sweep(workdir):
    """Return a function that writes a sweep file and runs it."""
    (workdir.path / "scripts").symlink_to(ROOT / "scripts")

    def run(content, *args, status=0):
        (workdir.path / "small.yaml").write_text(yaml.safe_dump(content))
        result = workdir.run(SWEEP_SCRIPT, "small.yaml", *args)
        assert result.returncode == status, result.stdout + result.stderr
        return result

    return run


def sweep_dir(workdir, name="small"):
    return SweepDir(workdir.path / "runs/sweeps" / name)


def interrupt_first_trial(workdir, content, *args):
    """Start a sweep, terminate it within its first trial, and return that trial's run."""
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(content))
    process = workdir.start(SWEEP_SCRIPT, "small.yaml", *args, "checkpoint_every=0")
    first = RunDir(sweep_dir(workdir).path / "trials/0000")
    wait_until(lambda: count_epochs(first.path) >= 20)
    process.terminate()
    process.communicate(timeout=60)
    return first


def trial_points(sweep):
    return [(row["lr"], row["depth"]) for row in sweep.table]


def test_sweep_writes_a_run_directory_per_trial_and_a_table(workdir, run_sweep):
    result = run_sweep(SMALL_SWEEP, "--count", "5", "epochs=2")
    sweep = sweep_dir(workdir)
    names = {path.name for path in sweep.path.iterdir()}
    locks, data = (
        {".lock", ".study.log.lock", ".study.log.trials.lock"},
        {"study.log", "trials.csv", "trials"},
    )
    assert names == {"settings.json", "sweep.yaml", *locks, *data}
    assert [path.name for path in sorted((sweep.path / "trials").iterdir())] == [
        f"{number:04}" for number in range(5)
    ]
    for row, trial in zip(sweep.table, sweep.trials, strict=True):
        config = yaml.safe_load((trial.path / "config.yaml").read_text())
        assert config["lr"] == float(row["lr"])
        assert config["depth"] == int(row["depth"])
        assert config["tracking"]["group"] == "small"
        assert row["state"] == "finished"
        best = min(line["val/loss"] for line in trial.history)
        assert float(row["objective"]) == best
        assert trial.path == sweep.path / row["folder"]
        for score in ("val/accuracy", "val/loss", "test/accuracy", "test/loss", "seconds"):
            assert float(row[score]) == trial.summary[score]
        assert int(row["epochs_trained"]) == 2
        assert list(trial.path.glob("wandb/offline-run-*/*.wandb"))
    titles, first = (result.stdout.splitlines()[line].split() for line in (6, 7))
    best = dict(zip(titles, first, strict=True))
    row = sweep.table[int(best["trial"])]
    for score in ("val/accuracy", "test/accuracy"):
        assert best[score] == f"{float(row[score]):.4f}"
    assert "Parameter importance (fANOVA, 5 finished points): " in result.stdout
    assert "5 finished points are few" in result.stdout
    assert "Trials: 5, in runs/sweeps/small" in result.stdout


def test_printed_command_reproduces_the_best_trial_exactly(workdir, run_sweep):
    result = run_sweep(SMALL_SWEEP, "--count", "4", *QUICK_OVERRIDES)
    args = shlex.split(result.stdout.splitlines()[-1])
    assert args[:2] == ["python", TRAIN_SCRIPT]
    reproduced = workdir.run(*args[1:], "hydra.run.dir=again")
    assert reproduced.returncode == 0, reproduced.stderr
    sweep = sweep_dir(workdir)
    best = min(sweep.table, key=lambda row: float(row["objective"]))
    assert (
        RunDir(workdir.path / "again").exact_results
        == RunDir(sweep.path / best["folder"]).exact_results
    )


@pytest.mark.soak
def test_trials_of_a_seed_do_not_depend_on_the_number_of_workers(workdir, run_sweep):
    for name, workers in (("one", "1"), ("two", "2")):
        run_sweep(
            SMALL_SWEEP, "--count", "4", "--workers", workers, "--name", name, *QUICK_OVERRIDES
        )
    run_sweep(SMALL_SWEEP, "--count", "4", "--seed", "1", "--name", "other", *QUICK_OVERRIDES)
    one, two, other = (trial_points(sweep_dir(workdir, name)) for name in ("one", "two", "other"))
    assert one == two != other
    objectives = [
        [row["objective"] for row in sweep_dir(workdir, name).table] for name in ("one", "two")
    ]
    assert objectives[0] == objectives[1]


def test_bayes_is_reproducible_with_one_worker_and_a_seed(workdir, run_sweep):
    for name in ("one", "two"):
        args = ["--count", "12", "--workers", "1", "--seed", "3", "--name", name]
        run_sweep({**SMALL_SWEEP, "method": "bayes"}, *args, *QUICK_OVERRIDES)
    assert trial_points(sweep_dir(workdir, "one")) == trial_points(sweep_dir(workdir, "two"))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_sampler_is_kept_on_resume(workdir, run_sweep, sampler):
    bayes = {**SMALL_SWEEP, "method": "bayes"}
    result = run_sweep(
        bayes, "--sampler", sampler, "--count", "2", "--workers", "1", *QUICK_OVERRIDES
    )
    assert result.stderr == ""
    settings = read_json(sweep_dir(workdir).path, "settings.json")
    assert (settings["sampler"], settings["max_trials"]) == (sampler, 2)
    run_sweep(bayes, "--resume", "--count", "4", "--workers", "1")
    assert read_json(sweep_dir(workdir).path, "settings.json") == settings | {"max_trials": 4}
    tried = trial_points(sweep_dir(workdir))
    assert len(set(tried)) == len(tried) == 4


@pytest.mark.sampled(1)
@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc"])
def test_every_sampler_accepts_every_seed(run_sweep, sampler):
    args = ["--sampler", sampler, "--seed", str(2**64), "--count", "1", "--workers", "1"]
    run_sweep({**SMALL_SWEEP, "method": "bayes"}, *args, *QUICK_OVERRIDES)


@pytest.mark.parametrize(
    ("method", "sampler", "message"),
    [
        ("random", "tpe", "--sampler=tpe: this option requires method: bayes, not method: random."),
        ("grid", "gp", "--sampler=gp: this option requires method: bayes, not method: grid."),
        ("bayes", "tpo", "--sampler=tpo: there is no such sampler; did you mean tpe?"),
        ("bayes", "?", "--sampler=?: there is no such sampler; available: gp, tpe, cmaes, random,"),
    ],
)
def test_invalid_sampler_is_refused(workdir, run_sweep, method, sampler, message):
    parameters = {"depth": {"values": [1, 2]}}
    args = ["--sampler", sampler, *QUICK_OVERRIDES]
    result = run_sweep({**SMALL_SWEEP, "method": method, "parameters": parameters}, *args, status=2)
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
    assert not (workdir.path / "runs").exists()


def test_sampler_with_a_missing_package_is_refused(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    for sampler, package in (("cmaes", "cmaes"), ("optuna-gp", "torch")):
        with pytest.raises(UserError, match=f"{sampler} needs {package}, which is not installed"):
            registry.resolve_sampler_name(sampler, "bayes")


@pytest.mark.soak
def test_values_of_running_trials_are_stored_for_imputation(workdir, run_sweep):
    metric = {"name": "val/loss", "impute": "latest", "impute_while_running": "best"}
    content = {**SMALL_SWEEP, "method": "bayes", "metric": metric}
    run_sweep(content, "--count", "10", "--workers", "2", *QUICK_OVERRIDES)
    trials = load_sweep_trials(sweep_dir(workdir).path).trials
    assert [sorted(trial.intermediate_values) for trial in trials] == [[1, 2]] * 10
    result = run_sweep(content, "--name", "other", "--sampler", "tpe", status=2)
    assert result.stderr == (
        "--sampler=tpe: metric.impute and metric.impute_while_running need the sampler gp; leave "
        "them out.\n"
    )


def test_project_of_the_file_is_that_of_the_trials(workdir, run_sweep):
    content = {**SMALL_SWEEP, "project": "digits", "entity": "us"}
    run_sweep(content, "--count", "1", "epochs=1")
    (trial,) = sweep_dir(workdir).trials
    config = yaml.safe_load((trial.path / "config.yaml").read_text())
    assert (config["tracking"]["project"], config["tracking"]["entity"]) == ("digits", "us")
    result = run_sweep({**content, "project": "a/b"}, "--name", "other", status=2)
    assert result.stderr.startswith("small.yaml: tracking.project=a/b: tracking.project must be ")


def test_grid_tries_each_point_once_and_ends(workdir, run_sweep):
    grid = {"lr": {"values": [0.05, 0.1, 0.05]}, "depth": {"values": [0, 1, 2]}}
    result = run_sweep({**SMALL_SWEEP, "method": "grid", "parameters": grid}, *QUICK_OVERRIDES)
    tried = trial_points(sweep_dir(workdir))
    assert len(tried) == len(set(tried)) == 6
    assert "Every point of the grid has been tried." in result.stdout


def test_grid_steps_start_at_min_and_exclude_max(workdir, run_sweep):
    steps = {"width": {"distribution": "q_uniform", "min": 9, "max": 14, "q": 2}}
    run_sweep({**SMALL_SWEEP, "method": "grid", "parameters": steps}, *QUICK_OVERRIDES)
    assert [row["width"] for row in sweep_dir(workdir).table] == ["9", "11", "13"]


def test_huge_grid_starts_in_order(workdir, run_sweep):
    huge = {
        "weight_decay": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.000001},
        "lr": {"values": [(n + 1) / 2000 for n in range(1000)]},
        "seed": {"min": 0, "max": 10**12},
    }
    content = {**SMALL_SWEEP, "method": "grid", "parameters": huge}
    run_sweep(content, "--count", "3", *QUICK_OVERRIDES)
    tried = [
        (row["lr"], row["seed"], float(row["weight_decay"])) for row in sweep_dir(workdir).table
    ]
    assert tried == [("0.0005", "0", 0.0), ("0.0005", "0", 1e-6), ("0.0005", "0", 2e-6)]


def test_finite_space_is_exhausted_before_points_repeat(workdir, run_sweep):
    parameters = {"lr": {"values": [0.05, 0.1]}, "depth": {"values": [0, 1, 2]}}
    run_sweep({**SMALL_SWEEP, "parameters": parameters}, "--count", "7", *QUICK_OVERRIDES)
    tried = trial_points(sweep_dir(workdir))
    assert len(set(tried[:6])) == 6
    assert len(tried) == 7


def test_reaching_the_target_ends_the_sweep(workdir, run_sweep):
    metric = {"name": "val/accuracy", "goal": "maximize", "target": 0.5}
    run_sweep({**SMALL_SWEEP, "metric": metric, "run_cap": 30}, "--workers", "1", *QUICK_OVERRIDES)
    table = sweep_dir(workdir).table
    assert float(table[-1]["objective"]) >= 0.5
    assert all(float(row["objective"]) < 0.5 for row in table[:-1])


def test_run_cap_is_the_default_count(workdir, run_sweep):
    run_sweep({**SMALL_SWEEP, "run_cap": 2}, *QUICK_OVERRIDES)
    assert len(sweep_dir(workdir).table) == 2


def test_hyperband_prunes_trials(workdir, run_sweep):
    hyperband = {"type": "hyperband", "min_iter": 2, "eta": 2}
    run_sweep(
        {**SMALL_SWEEP, "early_terminate": hyperband},
        "--count",
        "8",
        "epochs=8",
        QUICK_OVERRIDES[1],
    )
    sweep = sweep_dir(workdir)
    assert {row["state"] for row in sweep.table} == {"finished", "pruned"}
    for row, trial in zip(sweep.table, sweep.trials, strict=True):
        assert trial.summary["status"] == row["state"]
        assert (len(trial.history) == 8) == (row["state"] == "finished")


def test_sweep_continues_after_a_diverged_trial(workdir, run_sweep):
    wild = {"lr": {"values": [0.05, 1e30]}, "depth": {"value": 1}}
    result = run_sweep({**SMALL_SWEEP, "method": "grid", "parameters": wild}, *QUICK_OVERRIDES)
    assert [row["state"] for row in sweep_dir(workdir).table] == ["finished", "diverged"]
    assert "diverged" in result.stdout


@pytest.mark.soak
def test_existing_sweep_is_refused_without_resume(workdir, run_sweep):
    run_sweep(SMALL_SWEEP, "--count", "1", *QUICK_OVERRIDES)
    result = run_sweep(SMALL_SWEEP, "--count", "1", *QUICK_OVERRIDES, status=2)
    assert result.stderr == (
        "runs/sweeps/small exists; --resume continues that sweep, --name=NAME starts a new one.\n"
    )
    run_sweep(SMALL_SWEEP, "--count", "3", "--resume")
    assert len(sweep_dir(workdir).table) == 3
    result = run_sweep(SMALL_SWEEP, "--resume", "--seed", "5", status=2)
    assert result.stderr == "--seed=5: this sweep was started with 0.\n"
    result = run_sweep(SMALL_SWEEP, "--resume", "--name", "none", status=2)
    assert result.stderr == "runs/sweeps/none: there is no sweep to resume.\n"


def check_complete(sweep, count, output=""):
    """Check that there are n trials, each listed once and as its run directory says."""
    table = sweep.table
    assert [int(row["number"]) for row in table] == list(range(count))
    assert len(set(trial_points(sweep))) == count
    assert {row["state"] for row in table} == {"finished"}, output
    for row in table:
        trial = RunDir(sweep.path / row["folder"])
        assert trial.summary["status"] == "finished"
        assert float(row["objective"]) == min(line["val/loss"] for line in trial.history)


def kill_after_trials(process, sweep, number, rng):
    """Kill a sweep soon after a number of its trials have ended."""
    wait_until(
        lambda: (
            len(list(sweep.path.glob("trials/*/summary.json"))) >= number
            or process.poll() is not None
        )
    )
    time.sleep(rng.random() * 0.2)
    process.kill()
    process.communicate()
    time.sleep(1)  # its workers have received the signal and are ending


@repeat(1, 20)
def test_kill_9_of_the_whole_sweep_loses_no_trial(workdir, run_sweep, repetition):
    args = ["--count", "6", "epochs=20", "tracking=disabled"]
    run_sweep(SMALL_SWEEP, *args, "--name", "unbroken")
    rng = random.Random(repetition)
    process = workdir.start(SWEEP_SCRIPT, "small.yaml", *args, "--name", "killed")
    sweep, ends = sweep_dir(workdir, "killed"), rng.randrange(1, 5)
    kill_after_trials(process, sweep, ends, rng)
    result = {
        trial.path: trial.summary["weights/sha256"]
        for trial in sweep.trials
        if (trial.path / "summary.json").exists() and trial.summary["status"] == "finished"
    }
    assert len(result) >= ends - 1
    reproduced = run_sweep(SMALL_SWEEP, *args, "--name", "killed", "--resume")
    check_complete(sweep, 6, reproduced.stdout)
    assert trial_points(sweep) == trial_points(sweep_dir(workdir, "unbroken"))
    for path, digest in result.items():
        assert RunDir(path).summary["weights/sha256"] == digest
    for trial, expected in zip(sweep.trials, sweep_dir(workdir, "unbroken").trials, strict=True):
        assert trial.exact_results == expected.exact_results


def worker_pids(process):
    """Return the process ids of a sweep's spawned workers."""
    pids = []
    for pid in postgres.child_pids(process.pid):
        with suppress(OSError):  # it may just have ended
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                pids.append(pid)
    return pids


@repeat(1, 20)
def test_kill_9_of_single_workers_loses_nothing(workdir, run_sweep, repetition):
    args = ["--count", "6", "epochs=100", "tracking=disabled"]
    rng = random.Random(repetition)
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SMALL_SWEEP))
    process = workdir.start(SWEEP_SCRIPT, "small.yaml", *args)
    sweep = sweep_dir(workdir)
    for num_started in (1, 5):  # far enough apart that no trial is hit twice
        wait_until(
            lambda num_started=num_started: (
                len(list(sweep.path.glob("trials/*/history.jsonl"))) >= num_started
                or process.poll() is not None
            )
        )
        time.sleep(rng.random() * 0.1)
        if workers := worker_pids(process):
            os.kill(rng.choice(workers), signal.SIGKILL)
    out, errors = process.communicate(timeout=120)
    if process.returncode == 1:  # the same trial was hit twice
        run_sweep(SMALL_SWEEP, *args, "--resume")
    else:
        assert process.returncode == 0, out + errors
    check_complete(sweep, 6, out)


def test_sweep_can_be_resumed_after_ctrl_c(workdir, run_sweep):
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SMALL_SWEEP))
    args = ["--count", "4", "epochs=60", "tracking=disabled"]
    process = workdir.start(SWEEP_SCRIPT, "small.yaml", *args)
    wait_until(lambda: list(sweep_dir(workdir).path.glob("trials/*/history.jsonl")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    command = errors.strip().splitlines()[-1].partition("To resume: ")[2]
    assert command.endswith(
        "scripts/sweep.py small.yaml --count 4 epochs=60 tracking=disabled --resume"
    )
    result = workdir.run(*shlex.split(command)[1:])
    assert result.returncode == 0, result.stderr
    check_complete(sweep_dir(workdir), 4)


@pytest.mark.soak
def test_time_between_stop_and_resume_is_not_running_time(workdir, run_sweep):
    args = ["--count", "2", "--workers", "1"]
    began = time.monotonic()
    first = interrupt_first_trial(workdir, SMALL_SWEEP, *args, "epochs=300", "tracking=disabled")
    time.sleep(8)
    run_sweep(SMALL_SWEEP, "--resume", *args)
    longest = time.monotonic() - began - 8

    assert len(first.summary["sessions"]) == 2
    result = workdir.run(REPORT_SCRIPT, "runs/sweeps/small")
    assert result.returncode == 0, result.stderr
    page = ReportPage(sweep_dir(workdir).path / "report.html")
    trained = sum(trial.summary["seconds"] for trial in sweep_dir(workdir).trials)
    assert trained <= page.key_figures["Running time"] <= longest
    assert "The sweep was paused once, for " in page.text
    assert len(page.charts["timeline"]["layout"]["shapes"]) == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"parameters": {"lr": {"min": 0, "max": 1}}},
            "parameters.lr: min 0 and max 1 are integers, so only integers would be "
            "tried; write 0.0 and 1.0.",
        ),
        (
            {"parameters": {"optimizer.momentum": {"min": 0, "max": 1}}},
            "parameters.optimizer.momentum: min 0 and max 1 are integers",
        ),
        (
            {"parameters": {"learning_rate": {"value": 0.1}}},
            "parameters.learning_rate: learning_rate=0.1: there is no setting learning_rate; did",
        ),
        (
            {"parameters": {"lr": {"values": [0.1, "fast"]}}},
            "parameters.lr: lr=fast: lr must be a number above 0.",
        ),
        (
            {"parameters": {"dropout": {"min": 0.0, "max": 1.0}}},
            "parameters.dropout: dropout=1.0: dropout must be a number, at least 0 and below 1.",
        ),
        (
            {"parameters": {"optimizer": {"values": ["sgd", "adm"]}}},
            "parameters.optimizer: optimizer=adm: there is no such optimizer; did you mean adam?",
        ),
        (
            {"metric": {"name": "val/los"}},
            "metric.name: val/los is never logged; did you mean val/loss?",
        ),
        (
            {
                "metric": {"name": "test/loss"},
                "early_terminate": {"type": "hyperband", "min_iter": 2},
            },
            "metric.name: test/loss is logged once, at the end of a run, too late for hyperband;",
        ),
    ],
)
def test_lint_errors_refuse_the_sweep(run_sweep, change, message):
    for args in (["--check"], []):
        result = run_sweep({**SMALL_SWEEP, **change}, *args, status=2)
        assert f"small.yaml: {message}" in result.stderr
        assert "Traceback" not in result.stderr


def test_searched_parameter_cannot_be_overridden(run_sweep):
    result = run_sweep(SMALL_SWEEP, "lr=0.1", status=2)
    assert result.stderr == "small.yaml: lr=0.1: this is a parameter of the sweep; leave it out.\n"


@pytest.mark.soak
def test_constant_can_be_overridden(workdir, run_sweep):
    content = {**SMALL_SWEEP, "parameters": {"epochs": {"value": 9}, "depth": {"values": [1, 2]}}}
    run_sweep(content, "--count", "1", "epochs=2", "lr=0.1")
    run_sweep(content, "--count", "2", "--resume")
    run_sweep(content, "--count", "3", "--resume", "epochs=2", "lr=0.1")
    sweep = sweep_dir(workdir)
    sweep_settings = read_json(sweep.path, "settings.json")
    assert sweep_settings["overrides"] == ["epochs=2", "lr=0.1"]
    assert sweep_settings["constants"] == {"epochs": 2}
    assert [row["epochs"] for row in sweep.table] == ["2", "2", "2"]
    for trial in sweep.trials:
        assert read_json(trial.path, "trial.json")["parameters"]["epochs"] == 2
        assert len(trial.history) == 2
        (config,) = trial.path.glob("wandb/offline-run-*/files/settings.yaml")
        assert yaml.safe_load(config.read_text())["epochs"] == 2
    assert nn.load_sweep(sweep.path).best_params["epochs"] == 2
    result = workdir.run(REPORT_SCRIPT, str(sweep.path))
    assert result.returncode == 0, result.stderr
    result = run_sweep(content, "--count", "4", "--resume", "epochs=1")
    assert result.stderr == "epochs: 2 → 1\n"
    assert [row["epochs"] for row in sweep.table] == ["2", "2", "2", "1"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=0", "small.yaml: parameters.epochs: epochs=0: epochs must be a whole number"),
        ("epochs=[", "epochs=[: this cannot be parsed; write a list as [1,2]"),
        ("epochs=1,2", "epochs=1,2: several values; write a list as [1,2]."),
    ],
)
def test_invalid_override_of_a_constant_is_refused(workdir, run_sweep, override, message):
    content = {**SMALL_SWEEP, "parameters": {"epochs": {"value": 9}, "depth": {"values": [1, 2]}}}
    assert run_sweep(content, override, status=2).stderr.startswith(message)
    assert not (workdir.path / "runs").exists()


@pytest.mark.soak
def test_machines_must_agree_on_an_overridden_constant(workdir, run_sweep):
    content = {**SMALL_SWEEP, "parameters": {"epochs": {"value": 9}, "depth": {"values": [1, 2]}}}
    args = ["--storage", "study.log", "tracking=disabled"]
    run_sweep(content, "--count", "1", "--output", "a", *args, "epochs=2")
    result = run_sweep(content, "--count", "2", "--output", "b", *args, "epochs=3", status=2)
    assert "overrides: ['tracking=disabled', 'epochs=2'] → ['tracking" in result.stderr
    run_sweep(content, "--count", "2", "--output", "b", *args, "epochs=2")
    assert [row["epochs"] for row in SweepDir(workdir.path / "b").table] == ["2", "2"]


def test_check_reports_all_errors_at_once(run_sweep):
    result = run_sweep(
        {**SMALL_SWEEP, "method": "grit", "run_cap": 0, "mtric": 1}, "--check", status=2
    )
    assert len(result.stderr.splitlines()) == 3


def test_warnings_are_printed_by_check_and_once_before_a_sweep(workdir, run_sweep):
    content = {**SMALL_SWEEP, "metric": {"name": "val/accuracy"}}
    message = "small.yaml: metric: val/accuracy is minimized, which is W&B's default; write goal: "
    for args in (["--check"], ["--count", "1", *QUICK_OVERRIDES]):
        assert run_sweep(content, *args).stderr == f"{message}maximize.\n"


def test_duplicate_key_is_refused_with_its_lines(workdir, run_sweep):
    (workdir.path / "twice.yaml").write_text(
        "method: random\nparameters:\n  lr: {values: [0.1]}\n  lr: {values: [0.2]}\n"
    )
    for args in (["--check"], ["--count", "1", *QUICK_OVERRIDES]):
        result = workdir.run(SWEEP_SCRIPT, "twice.yaml", *args)
        assert result.returncode == 2
        assert result.stderr == (
            "twice.yaml: parameters.lr: this key is given twice, in lines 3 and 4; keep one.\n"
        )
    assert not (workdir.path / "runs").exists()


@pytest.mark.soak
def test_sweep_survives_the_death_of_its_only_worker(workdir, run_sweep):
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SMALL_SWEEP))
    args = ["--count", "3", "--workers", "1", "epochs=300", "tracking=disabled"]
    process = workdir.start(SWEEP_SCRIPT, "small.yaml", *args)
    wait_until(lambda: (sweep_dir(workdir).path / "study.log").exists() and worker_pids(process))
    os.kill(worker_pids(process)[0], signal.SIGKILL)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    check_complete(sweep_dir(workdir), 3, out)


def test_nested_and_listed_values_run(workdir, run_sweep):
    parameters = {
        "optimizer": {"parameters": {"momentum": {"values": [0.5, 0.9]}}},
        "model.hidden": {"values": [[8, 4], [16]]},
        "patience": {"value": None},
        "restore_best": {"value": True},
        "tracking.tags": {"value": ["a b", "c,d"]},
    }
    run_sweep({**SMALL_SWEEP, "method": "grid", "parameters": parameters}, "epochs=2")
    sweep = sweep_dir(workdir)
    assert [(row["optimizer.momentum"], row["model.hidden"]) for row in sweep.table] == [
        ("0.5", "[8, 4]"),
        ("0.9", "[8, 4]"),
        ("0.5", "[16]"),
        ("0.9", "[16]"),
    ]
    config = yaml.safe_load((sweep.trials[0].path / "config.yaml").read_text())
    assert config["model"]["hidden"] == [8, 4]
    assert config["tracking"]["tags"] == ["a b", "c,d"]
    assert (config["patience"], config["restore_best"]) == (None, True)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda f: f.stem)
def test_project_sweep_files_run(workdir, file):
    content = yaml.safe_load(file.read_text())
    if content["parameters"].pop("dataset", None):  # which is missing without a network
        assert file.stem == "mnist"
    digits = ["dataset=digits"] if file.stem in ("mnist", "claims") else []
    (workdir.path / file.name).write_text(yaml.safe_dump(content))
    (workdir.path / "scripts").symlink_to(ROOT / "scripts")
    result = workdir.run(SWEEP_SCRIPT, file.name, "--count", "3", "tracking=disabled", *digits)
    assert result.returncode == 0, result.stderr
    table = sweep_dir(workdir, file.stem).table
    early = {"pruned"} if file.stem == "hyperband" else set()
    assert {"finished"} <= {row["state"] for row in table} <= {"finished"} | early


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["none.yaml"], "none.yaml: there is no such file."),
        (["small.yaml", "--count", "0"], "0 must be a whole number, at least 1"),
        (["small.yaml", "--workers", "x"], "x must be a whole number, at least 1"),
        (["small.yaml", "--name", "../up"], "'../up' must consist of letters, digits, - and _"),
        (["small.yaml", "epochs"], "epochs: a setting is written KEY=VALUE"),
        (["small.yaml", "epochs=0"], "epochs=0: epochs must be a whole number, at least 1."),
        (["small.yaml", "--output", "/proc/none"], "nothing can be written there"),
        ([], "the following arguments are required: file"),
    ],
)
def test_usage_errors_are_one_line(workdir, args, message):
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SMALL_SWEEP))
    result = workdir.run(SWEEP_SCRIPT, *args)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in workdir.path.iterdir()] == ["small.yaml"]


def test_terminal_shows_a_live_table(workdir):
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SMALL_SWEEP))
    controller, terminal = pty.openpty()
    line, settings = workdir.popen_args(
        SWEEP_SCRIPT, "small.yaml", "--count", "3", "epochs=80", QUICK_OVERRIDES[1]
    )
    process = subprocess.Popen(line, stdout=terminal, stderr=subprocess.PIPE, **settings)
    os.close(terminal)
    output = b""
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:
            break
        if not part:
            break
        output += part
    process.communicate()
    os.close(controller)
    text = output.decode()
    assert "of 3 done" in text
    assert "best" in text
    assert "left" in text


def test_override_may_set_an_option_of_a_searched_choice(tmp_path):
    file = tmp_path / "small.yaml"

    def check(models, override):
        parameters = {"model": {"values": models}}
        file.write_text(yaml.safe_dump({**SMALL_SWEEP, "parameters": parameters}))
        return find_errors(file, [override])

    assert check(["mlp", "cnn"], "model.activation=tanh") == []
    (error,) = check(["mlp", "cnn"], "model.kernel_size=5")
    assert error.startswith("model.kernel_size=5: there is no setting model.kernel_size")
    assert check(["cnn"], "model.kernel_size=5") == []
    (error,) = check(["cnn"], "model.kernal=5")
    assert "did you mean model.kernel_size?" in error


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["a,b=[c]", "123", "null", "my sweep (1)", "it's"])
def test_sweep_may_be_named_after_any_file(workdir, name):
    (workdir.path / f"{name}.yaml").write_text(yaml.safe_dump(SMALL_SWEEP))
    result = workdir.run(SWEEP_SCRIPT, f"{name}.yaml", "--count", "1", "--workers", "1", "epochs=1")
    assert result.returncode == 0, result.stdout + result.stderr
    (trial,) = sweep_dir(workdir, name).trials
    assert yaml.safe_load((trial.path / "config.yaml").read_text())["tracking"]["group"] == name


def test_warm_start_proposes_a_good_point_first_and_survives_a_resume(workdir, run_sweep):
    bayes = SMALL_SWEEP | {"method": "bayes"}
    run_sweep(bayes, "--count", "6", "--workers", "1", *QUICK_OVERRIDES)
    best = min(float(row["objective"]) for row in sweep_dir(workdir).table)
    args = ["--name", "next", "--workers", "1"]
    result = run_sweep(
        bayes, "--count", "1", *args, "--warm-start", "small", *QUICK_OVERRIDES, "seed=1"
    )
    assert "Warm start: 6 earlier trials of 1 task." in result.stdout
    sweep = sweep_dir(workdir, "next")
    assert len(sweep.table) == 1
    assert float(sweep.table[0]["objective"]) < 1.5 * best
    (workdir.path / "runs/sweeps/small").rename(workdir.path / "elsewhere")
    run_sweep(bayes, "--count", "3", *args, "--resume")
    assert len(sweep.table) == 3
    result = run_sweep(bayes, *args, "--resume", "--warm-start", "elsewhere", status=2)
    assert "this sweep was started with runs/sweeps/small; --name=NAME starts" in result.stderr
