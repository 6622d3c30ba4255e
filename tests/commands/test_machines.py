"""One sweep on several machines: trials lost on one are resumed on another."""

from __future__ import annotations

import csv
import os
import secrets
import signal
import subprocess
import time

import optuna
import pytest
import yaml

from nn.sweeps.trials import SweepTrials
from tests.conftest import ROOT, Run
from tests.waiting import wait_until

SWEEP = str(ROOT / "scripts/sweep.py")
TRIALS = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"min": 0.01, "max": 0.5}, "epochs": {"value": 60}},
}
OFF = ("tracking=disabled",)


@pytest.fixture
def machine(workplace):
    """Start a sweep process with its own directory, standing in for a machine."""
    (workplace.path / "trials.yaml").write_text(yaml.dump(TRIALS))
    started = []

    def start(number, *words, storage, name="shared", sweep="trials.yaml", overrides=OFF):
        line, settings = workplace.command(
            SWEEP, sweep, "--storage", storage, "--grace-period", "3", "--name", name,
            "--output", f"machine{number}", "--workers", "1", *words, *overrides,
        )  # fmt: skip
        log = (workplace.path / f"log{number}.txt").open("a")
        started.append(subprocess.Popen(line, stdout=log, stderr=log, **settings))
        log.close()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def said(workplace):
    """Read the output of a machine."""
    return lambda number: (workplace.path / f"log{number}.txt").read_text()


def rows(workplace, number):
    """Read the table of trials that a machine has written."""
    text = (workplace.path / f"machine{number}/trials.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def finished(workplace, number):
    """Return the summaries of the trials that a machine has finished, by trial number."""
    found = (workplace.path / f"machine{number}/trials").glob("*/summary.json")
    runs = [Run(file.parent) for file in found]
    return {run.path.name: run for run in runs if run.summary["status"] == "finished"}


def same_trial(workplace, row, number, name):
    run = finished(workplace, number)[name]
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    assert config["lr"] == float(row["lr"])
    values = [line["val/loss"] for line in run.history if line["val/loss"] is not None]
    assert float(row["objective"]) == min(values)


def test_a_machine_that_is_killed_loses_only_what_another_takes_up(
    workplace,
    machine,
    database,
):
    name = f"sweep{secrets.token_hex(4)}"
    first = machine(1, "--count", "40", storage=database, name=name)
    second = machine(2, "--count", "40", storage=database, name=name)
    wait_until(lambda: len(finished(workplace, 1)) + len(finished(workplace, 2)) >= 20)
    first.kill()
    assert second.wait(timeout=180) == 0
    table = rows(workplace, 2)
    assert [int(row["number"]) for row in table] == list(range(40))
    assert {row["state"] for row in table} == {"finished"}
    assert len({row["lr"] for row in table}) == 40
    for row in table:
        number = 1 if ":" in row["folder"] else 2
        same_trial(workplace, row, number, f"{int(row['number']):04}")
    assert any(":" in row["folder"] for row in table)
    assert any(":" not in row["folder"] for row in table)


@pytest.mark.soak
def test_a_database_that_goes_away_for_ten_seconds_costs_nothing(
    workplace,
    machine,
    said,
    postgres,
):
    first = machine(1, "--count", "30", storage=postgres.url)
    second = machine(2, "--count", "30", storage=postgres.url)
    wait_until(lambda: len(finished(workplace, 1)) + len(finished(workplace, 2)) >= 6)
    postgres.stop()
    time.sleep(10)
    postgres.start()
    assert first.wait(timeout=180) == 0, said(1)
    assert second.wait(timeout=180) == 0, said(2)
    table = rows(workplace, 1)
    assert [row["state"] for row in table] == ["finished"] * 30
    assert len(finished(workplace, 1)) + len(finished(workplace, 2)) == 30
    assert f"{postgres.url} is unavailable; retrying" in said(1) + said(2)


def test_machines_share_a_file_on_a_disk_that_they_share(workplace, machine):
    first = machine(1, "--count", "16", storage="shared.log")
    second = machine(2, "--count", "16", storage="shared.log")
    wait_until(lambda: finished(workplace, 1) and finished(workplace, 2))
    first.kill()
    assert second.wait(timeout=120) == 0
    table = rows(workplace, 2)
    assert [row["state"] for row in table] == ["finished"] * 16
    assert len({row["lr"] for row in table}) == 16


def test_each_machine_keeps_the_whole_study_for_a_report(workplace, machine):
    first = machine(1, "--count", "3", storage="shared.log")
    assert first.wait(timeout=60) == 0
    second = machine(2, "--count", "6", storage="shared.log")
    assert second.wait(timeout=60) == 0
    done = workplace.run(str(ROOT / "scripts/report.py"), "machine2")
    assert done.returncode == 0, done.stderr
    assert len(SweepTrials.load(workplace.path / "machine2").rank_trials()) == 6


def test_machines_may_share_the_folder_too(workplace, machine, said):
    first = machine(0, "--count", "8", storage="machine0.log")
    second = machine(0, "--count", "8", storage="machine0.log")
    assert (first.wait(timeout=120), second.wait(timeout=120)) == (0, 0), said(0)
    assert len(finished(workplace, 0)) == 8


def test_a_machine_that_is_stopped_leaves_its_trials_at_once(workplace, machine):
    first = machine(1, "--count", "6", "--grace-period", "1000", storage="shared.log")
    wait_until(lambda: finished(workplace, 1))
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=30) == -signal.SIGTERM
    second = machine(2, "--count", "6", "--grace-period", "1000", storage="shared.log")
    assert second.wait(timeout=60) == 0
    assert [row["state"] for row in rows(workplace, 2)] == ["finished"] * 6


def test_a_machine_that_resumes_keeps_its_overrides(workplace, machine, said):
    first = machine(1, "--count", "2", storage="shared.log")
    assert first.wait(timeout=60) == 0
    second = machine(1, "--count", "3", "--resume", storage="shared.log", overrides=())
    assert second.wait(timeout=60) == 0, said(1)
    assert len(finished(workplace, 1)) == 3


def test_early_ends_heed_the_trials_of_other_machines(workplace, machine):
    content = {
        "method": "grid",
        "metric": {"name": "val/loss"},
        "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
        "parameters": {"lr": {"values": [0.1, 0.2, 0.3]}, "epochs": {"value": 8}},
    }
    (workplace.path / "good.yaml").write_text(yaml.dump(content))
    good = machine(1, storage="shared.log", sweep="good.yaml")
    assert good.wait(timeout=60) == 0
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(workplace.path / "shared.log"))
    )
    study = optuna.load_study(study_name="shared", storage=storage)
    for trial in study.trials:
        run = Run(workplace.path / f"machine1/trials/{trial.number:04}")
        values = {line["epoch"]: line["val/loss"] for line in run.history}
        assert trial.intermediate_values == pytest.approx(values)


def test_any_sampler_of_a_sweep_is_shared(workplace, machine):
    content = {**TRIALS, "method": "bayes"}
    (workplace.path / "bayes.yaml").write_text(yaml.dump(content))
    processes = [machine(n, "--count", "12", "epochs=2", storage="s.log", sweep="bayes.yaml")
                 for n in (1, 2)]  # fmt: skip
    assert [process.wait(timeout=120) for process in processes] == [2, 2]  # epochs is searched
    content["parameters"] = {"lr": {"min": 0.01, "max": 0.5}}
    (workplace.path / "bayes.yaml").write_text(yaml.dump(content))
    processes = [machine(n, "--count", "12", "epochs=2", storage="s.log", sweep="bayes.yaml")
                 for n in (3, 4)]  # fmt: skip
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len({row["lr"] for row in rows(workplace, 3)}) == 12


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        (
            "mysql://a:secret@b/c",
            "--storage=mysql://a:***@b/c: the scheme is not supported; write ",
        ),
        (
            "postgresql://a:secret@127.0.0.1:1/c",
            "--storage=postgresql://a:***@127.0.0.1:1/c cannot",
        ),
        ("postgresql://[", "cannot be used"),
        ("nowhere/study.log", "nowhere/study.log: a study cannot be stored there: No such"),
        ("scripts.txt", "scripts.txt is not a study file."),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_in_a_sentence(
    workplace, machine, said, storage, told
):
    (workplace.path / "scripts.txt").write_text("this is\nno journal\n")
    process = machine(1, "--count", "2", storage=storage)
    assert process.wait(timeout=60) == 2
    assert told in said(1)
    assert said(1).count("\n") == 1
    assert "secret" not in said(1)
    assert not (workplace.path / "machine1").exists()


def test_a_driver_that_is_missing_is_named(workplace, machine, said, monkeypatch):
    (workplace.path / "psycopg.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", f"{workplace.path}:{os.environ.get('PYTHONPATH', '')}")
    process = machine(1, "--count", "2", storage="postgresql://a@b/c")
    assert process.wait(timeout=60) == 2
    assert said(1) == (
        "--storage=postgresql://a@b/c needs psycopg, which is not installed; "
        'run pip install -e ".[postgres]".\n'
    )


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("words", "change", "told"),
    [
        (["--seed", "3"], {}, "seed: 0 was changed to 3"),
        ([], {"method": "bayes"}, "method: random was changed to bayes"),
        (
            [],
            {"parameters": {"lr": {"min": 0.01, "max": 0.6}}},
            "parameters.lr: {distribution: uniform, min: 0.01, max: 0.5} was changed to "
            "{distribution: uniform, min: 0.01, max: 0.6}",
        ),
    ],
)
def test_another_sweep_of_the_same_name_is_refused(workplace, machine, said, words, change, told):
    content = {**TRIALS, "parameters": {"lr": {"min": 0.01, "max": 0.5}}}
    (workplace.path / "one.yaml").write_text(yaml.dump(content))
    first = machine(1, "--count", "1", "epochs=2", storage="s.log", sweep="one.yaml")
    assert first.wait(timeout=60) == 0
    (workplace.path / "two.yaml").write_text(yaml.dump(content | change))
    second = machine(2, "epochs=2", *words, storage="s.log", sweep="two.yaml")
    assert second.wait(timeout=60) == 2
    assert said(2) == (
        f"--storage=s.log: shared is another sweep: {told}; --name=NAME starts a new one.\n"
    )


def test_the_local_executor_of_submitit_runs_a_multirun(workplace):
    done = workplace.train("--multirun", "hydra/launcher=submitit_local", "lr=0.05,0.1", "epochs=2")
    assert done.returncode == 0, done.stderr
    assert [run.summary["status"] for run in workplace.runs] == ["finished"] * 2
