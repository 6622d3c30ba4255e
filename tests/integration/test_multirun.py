"""`--multirun` ends with a table of its jobs and an exit status that reflects their outcomes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest

from tests.conftest import TRAIN_SCRIPT
from tests.waiting import wait_until

FAILING_MODEL = """
import os, signal
from nn.layers import Dense, Flatten

class Breaking(Dense):
    def forward(self, *args, **settings):
        raise MemoryError("no room for this layer")

class Killing(Dense):
    def forward(self, *args, **settings):
        os.kill(os.getpid(), signal.SIGKILL)

class Model:
    def __init__(self, layer: str):
        self.layer = {"sound": Dense, "breaking": Breaking, "killing": Killing}[layer]
    def build_layers(self, num_classes, rngs):
        return [Flatten(), self.layer(num_classes)]
"""
LAUNCHERS = [[], ["hydra/launcher=joblib"], ["hydra/launcher=submitit_local"]]


@pytest.fixture
def multirun(workdir):
    """Run several jobs of a model that fails on request."""
    (workdir.path / "own.py").write_text(FAILING_MODEL)
    (workdir.path / "conf/model").mkdir(parents=True)
    (workdir.path / "conf/model/own.yaml").write_text("_target_: own.Model\nlayer: sound\n")

    def multirun(*args, status):
        result = workdir.train(
            "--config-dir", "conf", "--multirun", "hydra.sweep.dir=jobs", "epochs=1", *args
        )
        assert result.returncode == status, result.stdout + result.stderr
        lines = result.stdout.splitlines()
        begin = next(n for n, line in enumerate(lines) if line.startswith("job "))
        return result, [line.split() for line in lines[begin:]]

    return multirun


@pytest.mark.sampled(2)
@pytest.mark.parametrize("launcher", LAUNCHERS, ids=str)
def test_jobs_are_ranked_by_validation_with_their_varied_settings(workdir, multirun, launcher):
    _, (title, *rows, empty, total) = multirun(*launcher, "lr=0.01,0.1", "depth=1,2", status=0)
    assert " ".join(title) == "job lr depth status val accuracy test accuracy directory"
    runs = {run.path.name: run.summary for run in workdir.runs}
    assert {row[0] for row in rows} == set(runs) == {"0", "1", "2", "3"}
    for number, _, _, status, val, test, folder in rows:
        summary = runs[number]
        assert (status, folder) == ("finished", f"jobs/{number}")
        assert val == f"{summary['val/accuracy']:.4f}"
        assert test == f"{summary['test/accuracy']:.4f}"
    assert [row[4] for row in rows] == sorted((row[4] for row in rows), reverse=True)
    assert sorted((row[0], *row[1:3]) for row in rows) == [
        *[("0", "0.01", "1"), ("1", "0.01", "2"), ("2", "0.1", "1"), ("3", "0.1", "2")]
    ]
    assert empty == []
    assert " ".join(total) == "Jobs: 4, 4 finished, in jobs"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("launcher", LAUNCHERS, ids=str)
def test_failed_job_is_listed_with_its_reason(multirun, launcher):
    result, lines = multirun(*launcher, "model=own", "model.layer=breaking,sound", status=1)
    assert [line[:3] for line in lines[1:3]] == [
        ["1", "sound", "finished"],
        ["0", "breaking", "failed"],
    ]
    assert "Job 0 failed: no room for this layer" in result.stdout
    assert " ".join(lines[-1]) == "Jobs: 2, 1 finished, in jobs"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("launcher", LAUNCHERS, ids=str)
def test_diverged_jobs_exit_with_3_unless_one_failed(workdir, multirun, launcher):
    result, lines = multirun(*launcher, "lr=5000,0.1", "depth=2", status=3)
    assert [line[:3] for line in lines[1:3]] == [
        ["1", "0.1", "finished"],
        ["0", "5000", "diverged"],
    ]
    assert "Job 0 diverged: Training diverged in epoch 1" in result.stdout
    shutil.rmtree(workdir.path / "jobs")
    args = ["model=own", "model.layer=breaking,sound", "lr=0.1,1e39"]
    result, lines = multirun(*launcher, *args, status=1)
    statuses = [line[3] for line in lines[1:5]]
    assert statuses == ["finished", "failed", "failed", "diverged"], lines


@pytest.mark.sampled(1)
@pytest.mark.parametrize("launcher", LAUNCHERS[1:], ids=str)
def test_killed_job_counts_as_failed(multirun, launcher):
    result, lines = multirun(*launcher, "model=own", "model.layer=killing", "seed=0,1", status=1)
    assert [line[2] for line in lines[1:3]] == ["failed", "failed"]
    assert (
        "Job 0 failed: it did not start, or its process ended before it finished" in result.stdout
    )


def test_job_whose_result_cannot_be_saved_fails(multirun, workdir):
    (workdir.path / "jobs/1/summary.json").mkdir(parents=True)
    _, lines = multirun("lr=0.1,0.01", status=1)
    assert [line[:3] for line in lines[1:3]] == [["0", "0.1", "finished"], ["1", "0.01", "failed"]]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("launcher", LAUNCHERS[:2], ids=str)
def test_jobs_may_change_into_their_directories(multirun, launcher):
    _, lines = multirun(*launcher, "lr=0.1,0.01", "hydra.job.chdir=true", status=0)
    assert [line[2] for line in lines[1:3]] == ["finished", "finished"]
    assert " ".join(lines[-1]) == "Jobs: 2, 2 finished, in jobs"


@pytest.mark.soak
def test_multirun_directory_may_contain_a_timestamp(workdir):
    for args in ([], ["hydra.sweep.dir=${now:%f}"]):
        result = workdir.train("--multirun", "lr=0.1,0.01", "epochs=1", *args)
        assert result.returncode == 0, result.stderr
    assert len(workdir.runs) == 4


def test_multirun_directory_cannot_depend_on_the_job(workdir):
    result = workdir.train("--multirun", "lr=0.1,0.01", "hydra.sweep.dir=runs/lr${lr}", "epochs=1")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "hydra.sweep.dir=runs/lr0.1: the jobs of a multirun share one directory; only "
        "hydra.sweep.subdir may depend on their settings.\n"
    )
    assert not workdir.runs


@pytest.mark.soak
def test_only_the_best_of_many_jobs_are_shown(multirun):
    _, (_, *rows) = multirun("seed=range(30)", "dataset.max_samples=100", status=0)
    assert len(rows) == 22
    assert " ".join(rows[-1]) == "Jobs: 30, 30 finished, in jobs"


def test_single_run_shows_no_table(workdir):
    result = workdir.train("epochs=1")
    assert result.returncode == 0
    assert "Jobs:" not in result.stdout
    assert not list(workdir.path.rglob(".jobs"))


def stop_jobs(workdir, send, number, *args, files):
    """Stop a multirun when its jobs have written files; return its status and the runs'."""
    args = ["--multirun", "hydra/launcher=joblib", *args, "tracking=disabled"]
    line, settings = workdir.popen_args(TRAIN_SCRIPT, *args, "hydra.sweep.dir=jobs")
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **settings
    )
    wait_until(lambda: all((workdir.path / "jobs" / file).exists() for file in files))
    send(process.pid, number)
    _, errors = process.communicate(timeout=60)  # until no worker holds the streams open
    assert "Traceback" not in errors
    return process.returncode, {run.path.name: run.summary["status"] for run in workdir.runs}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to one", "to all"])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_stop_ends_workers_and_starts_no_further_job(workdir, send, number, status):
    args = ["hydra.launcher.n_jobs=2", "seed=range(6)", "epochs=1000000"]
    files = ["0/history.jsonl", "1/history.jsonl"]
    stopped = stop_jobs(workdir, send, number, *args, files=files)
    assert stopped == (status, {"0": "interrupted", "1": "interrupted"})


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to one", "to all"])
def test_ctrl_c_keeps_a_running_job_while_other_workers_are_idle(workdir, send):
    args = ["hydra.launcher.n_jobs=3", "epochs=1,1000000"]
    files = ["0/summary.json", "1/history.jsonl"]
    stopped = stop_jobs(workdir, send, signal.SIGINT, *args, files=files)
    assert stopped == (130, {"0": "finished", "1": "interrupted"})
