"""One sweep on several machines: trials lost on one are resumed on another."""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import signal
import time

import optuna
import pytest
import yaml

from nn.report.data.sweep import SweepReader
from nn.sweeps.trials_reader import load_sweep_trials
from tests.conftest import REPORT_SCRIPT, SWEEP_SCRIPT, RunDir
from tests.waiting import wait_until

SWEEP_CONFIG = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"min": 0.01, "max": 0.5}, "epochs": {"value": 60}},
}
OFF = ("tracking=disabled",)


@pytest.fixture
def start_machine(workdir, start_logged):
    """Start a sweep process with its own directory, standing in for a machine."""
    (workdir.path / "trials.yaml").write_text(yaml.dump(SWEEP_CONFIG))

    def start(number, *args, storage, name="shared", sweep="trials.yaml", overrides=OFF):
        return start_logged(
            f"log{number}.txt", SWEEP_SCRIPT, sweep, "--storage", storage, "--grace-period", "3",
            "--name", name, "--output", f"machine{number}", "--workers", "1", *args, *overrides,
        )  # fmt: skip

    return start


@pytest.fixture
def read_log(workdir):
    """Read the output of a machine."""
    return lambda number: (workdir.path / f"log{number}.txt").read_text()


def read_trials_table(workdir, number):
    """Read the table of trials that a machine has written."""
    text = (workdir.path / f"machine{number}/trials.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def finished_runs(workdir, number):
    """Return the summaries of the trials that a machine has finished, by trial number."""
    summaries = (workdir.path / f"machine{number}/trials").glob("*/summary.json")
    runs = [RunDir(file.parent) for file in summaries]
    return {run.path.name: run for run in runs if run.summary["status"] == "finished"}


def check_trial_matches_row(workdir, row, number, name):
    run = finished_runs(workdir, number)[name]
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    assert config["lr"] == float(row["lr"])
    values = [line["val/loss"] for line in run.history if line["val/loss"] is not None]
    assert float(row["objective"]) == min(values)


def test_trials_of_a_killed_machine_are_reclaimed(workdir, start_machine, database_url):
    name = f"sweep{secrets.token_hex(4)}"
    first = start_machine(1, "--count", "40", storage=database_url, name=name)
    second = start_machine(2, "--count", "40", storage=database_url, name=name)
    wait_until(lambda: len(finished_runs(workdir, 1)) + len(finished_runs(workdir, 2)) >= 20)
    first.kill()
    assert second.wait(timeout=180) == 0
    table = read_trials_table(workdir, 2)
    assert [int(row["number"]) for row in table] == list(range(40))
    assert {row["state"] for row in table} == {"finished"}
    assert len({row["lr"] for row in table}) == 40
    for row in table:
        number = 1 if ":" in row["folder"] else 2
        check_trial_matches_row(workdir, row, number, f"{int(row['number']):04}")
    assert any(":" in row["folder"] for row in table)
    assert any(":" not in row["folder"] for row in table)


@pytest.mark.soak
def test_database_outage_loses_nothing(workdir, start_machine, read_log, postgres):
    first = start_machine(1, "--count", "30", storage=postgres.url)
    second = start_machine(2, "--count", "30", storage=postgres.url)
    wait_until(lambda: len(finished_runs(workdir, 1)) + len(finished_runs(workdir, 2)) >= 6)
    postgres.stop()
    time.sleep(10)
    postgres.start()
    assert first.wait(timeout=180) == 0, read_log(1)
    assert second.wait(timeout=180) == 0, read_log(2)
    table = read_trials_table(workdir, 1)
    assert [row["state"] for row in table] == ["finished"] * 30
    assert len(finished_runs(workdir, 1)) + len(finished_runs(workdir, 2)) == 30
    assert f"{postgres.url} is unavailable; retrying" in read_log(1) + read_log(2)


@pytest.mark.soak
def test_machines_can_share_a_journal_file(workdir, start_machine):
    first = start_machine(1, "--count", "16", storage="shared.log")
    second = start_machine(2, "--count", "16", storage="shared.log")
    wait_until(lambda: finished_runs(workdir, 1) and finished_runs(workdir, 2))
    first.kill()
    assert second.wait(timeout=120) == 0
    table = read_trials_table(workdir, 2)
    assert [row["state"] for row in table] == ["finished"] * 16
    assert len({row["lr"] for row in table}) == 16


@pytest.mark.soak
def test_each_machine_has_the_whole_study(workdir, start_machine):
    first = start_machine(1, "--count", "3", storage="shared.log")
    assert first.wait(timeout=60) == 0
    second = start_machine(2, "--count", "6", storage="shared.log")
    assert second.wait(timeout=60) == 0
    result = workdir.run(REPORT_SCRIPT, "machine2")
    assert result.returncode == 0, result.stderr
    assert len(load_sweep_trials(workdir.path / "machine2").rank_trials()) == 6


@pytest.mark.soak
def test_machines_may_share_the_output_directory(workdir, start_machine, read_log):
    first = start_machine(0, "--count", "8", storage="machine0.log")
    second = start_machine(0, "--count", "8", storage="machine0.log")
    assert (first.wait(timeout=120), second.wait(timeout=120)) == (0, 0), read_log(0)
    assert len(finished_runs(workdir, 0)) == 8


@pytest.mark.sampled(1)
@pytest.mark.parametrize("has_journal", [True, False])
def test_reports_follow_a_shared_sweep_while_it_runs(workdir, start_machine, has_journal):
    """From the journal, or as with a database from the directories of the trials."""
    machine, folder = (
        start_machine(1, "--count", "6", storage="shared.log"),
        workdir.path / "machine1",
    )
    wait_until((folder / "sweep.yaml").exists)
    if not has_journal:
        settings = json.loads((folder / "settings.json").read_text())
        settings.pop("journal")
        (folder / "settings.json").write_text(json.dumps(settings))
    reader = SweepReader(folder)

    def count_trials():
        reader.update()
        return reader.record()["status_counts"]

    wait_until(lambda: count_trials().keys() == {"running", "finished"})
    assert reader.record()["status"] == "running"
    assert not (folder / "study.log").exists()
    assert machine.wait(timeout=120) == 0
    assert count_trials() == {"finished": 6}
    assert reader.record()["status"] == "finished"


def test_stopped_machine_releases_its_trials_immediately(workdir, start_machine):
    first = start_machine(1, "--count", "6", "--grace-period", "1000", storage="shared.log")
    wait_until(lambda: finished_runs(workdir, 1))
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=30) == -signal.SIGTERM
    second = start_machine(2, "--count", "6", "--grace-period", "1000", storage="shared.log")
    assert second.wait(timeout=60) == 0
    assert [row["state"] for row in read_trials_table(workdir, 2)] == ["finished"] * 6


@pytest.mark.soak
def test_resumed_machine_keeps_its_overrides(workdir, start_machine, read_log):
    first = start_machine(1, "--count", "2", storage="shared.log")
    assert first.wait(timeout=60) == 0
    second = start_machine(1, "--count", "3", "--resume", storage="shared.log", overrides=())
    assert second.wait(timeout=60) == 0, read_log(1)
    assert len(finished_runs(workdir, 1)) == 3


def test_pruning_considers_trials_of_other_machines(workdir, start_machine):
    content = {
        "method": "grid",
        "metric": {"name": "val/loss"},
        "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
        "parameters": {"lr": {"values": [0.1, 0.2, 0.3]}, "epochs": {"value": 8}},
    }
    (workdir.path / "good.yaml").write_text(yaml.dump(content))
    good = start_machine(1, storage="shared.log", sweep="good.yaml")
    assert good.wait(timeout=60) == 0
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(workdir.path / "shared.log"))
    )
    study = optuna.load_study(study_name="shared", storage=storage)
    for trial in study.trials:
        run = RunDir(workdir.path / f"machine1/trials/{trial.number:04}")
        values = {line["epoch"]: line["val/loss"] for line in run.history}
        assert trial.intermediate_values == pytest.approx(values)


@pytest.mark.soak
def test_bayes_sweeps_can_be_shared(workdir, start_machine):
    content = {**SWEEP_CONFIG, "method": "bayes"}
    (workdir.path / "bayes.yaml").write_text(yaml.dump(content))
    processes = [start_machine(n, "--count", "12", "epochs=2", storage="s.log", sweep="bayes.yaml")
                 for n in (3, 4)]  # fmt: skip
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len({row["lr"] for row in read_trials_table(workdir, 3)}) == 12


def test_machines_must_share_the_trials_of_a_warm_start(workdir, start_machine, read_log):
    content = {**SWEEP_CONFIG, "method": "bayes"}
    (workdir.path / "bayes.yaml").write_text(yaml.dump(content))
    early = start_machine(0, "--count", "2", "epochs=1", storage="early.log")
    assert early.wait(timeout=60) == 0

    def start(number, *args):
        args = ("--count", str(number), *args, "epochs=1")
        process = start_machine(number, *args, storage="s.log", sweep="bayes.yaml")
        return process.wait(timeout=60)

    assert start(1, "--warm-start", "machine0") == 0
    assert start(2) == 2
    assert re.search(r"prior_trials: 2 trials \(SHA-256 \w{8}\) → none; --name", read_log(2))
    assert not (workdir.path / "machine2").exists()
    (workdir.path / "machine0").rename(workdir.path / "copied")
    assert start(3, "--warm-start", "copied") == 0, read_log(3)
    assert len(read_trials_table(workdir, 3)) == 3


@pytest.mark.parametrize(
    ("storage", "message"),
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
def test_unusable_storage_gives_a_one_line_error(
    workdir, start_machine, read_log, storage, message
):
    (workdir.path / "scripts.txt").write_text("this is\nno journal\n")
    process = start_machine(1, "--count", "2", storage=storage)
    assert process.wait(timeout=60) == 2
    assert message in read_log(1)
    assert read_log(1).count("\n") == 1
    assert "secret" not in read_log(1)
    assert not (workdir.path / "machine1").exists()


def test_missing_database_driver_is_named(workdir, start_machine, read_log, monkeypatch):
    (workdir.path / "psycopg.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", f"{workdir.path}:{os.environ.get('PYTHONPATH', '')}")
    process = start_machine(1, "--count", "2", storage="postgresql://a@b/c")
    assert process.wait(timeout=60) == 2
    assert read_log(1) == (
        "--storage=postgresql://a@b/c needs psycopg, which is not installed; "
        'run pip install -e ".[postgres]".\n'
    )


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("args", "change", "message"),
    [
        (["--seed", "3"], {}, "seed: 0 → 3"),
        ([], {"method": "bayes"}, "method: random → bayes"),
        (
            [],
            {"parameters": {"lr": {"min": 0.01, "max": 0.6}}},
            "lr: 0.01 ... 0.5 → 0.01 ... 0.6",
        ),
    ],
)
def test_different_sweep_of_the_same_name_is_refused(
    workdir, start_machine, read_log, args, change, message
):
    content = {**SWEEP_CONFIG, "parameters": {"lr": {"min": 0.01, "max": 0.5}}}
    (workdir.path / "one.yaml").write_text(yaml.dump(content))
    first = start_machine(1, "--count", "1", "epochs=2", storage="s.log", sweep="one.yaml")
    assert first.wait(timeout=60) == 0
    (workdir.path / "two.yaml").write_text(yaml.dump(content | change))
    second = start_machine(2, "epochs=2", *args, storage="s.log", sweep="two.yaml")
    assert second.wait(timeout=60) == 2
    assert read_log(2) == (
        f"--storage=s.log: shared is another sweep: {message}; --name=NAME starts a new one.\n"
    )


@pytest.mark.soak
def test_submitit_local_executor_runs_a_multirun(workdir):
    result = workdir.train("--multirun", "hydra/launcher=submitit_local", "lr=0.05,0.1", "epochs=2")
    assert result.returncode == 0, result.stderr
    assert [run.summary["status"] for run in workdir.runs] == ["finished"] * 2
