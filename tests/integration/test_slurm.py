"""The README's Slurm scripts, with stand-ins for the parts of Slurm that they use."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT, RunDir
from tests.fake_wandb import WANDB_CLI, FakeWandbServer
from tests.integration.readmes import read_blocks
from tests.integration.test_shared_sweep import read_trials_table
from tests.waiting import wait_until

STUDY_SCRIPT, AGENT_SCRIPT = (
    block.text for block in read_blocks("sweeps/README.md") if block.language == "bash"
)
OVERRIDES = ["epochs=20000", "tracking.confusion_every=20000", "checkpoint_every=0"]


@pytest.fixture
def start_job(workdir, monkeypatch):
    """Start a Slurm job whose `scontrol` records its calls."""
    tools = workdir.path / "tools"
    tools.mkdir()
    programs = {
        "scontrol": f'echo "$@" >> {workdir.path}/scontrol.txt',
        "python": f'exec {sys.executable} "$@"',
        "wandb": f'exec {sys.executable} {WANDB_CLI} "$@"',
    }
    for program, line in programs.items():
        (tools / program).write_text(f"#!/bin/sh\n{line}\n")
        (tools / program).chmod(0o755)
    for name in ("scripts", "sweeps"):
        (workdir.path / name).symlink_to(ROOT / name)
    started = []

    def start(script, **environment):
        (workdir.path / "job.sh").write_text(script)
        started.append(
            subprocess.Popen(
                ["bash", "job.sh"],
                cwd=workdir.path,
                env={
                    **os.environ,
                    **environment,
                    "PATH": f"{tools}:{os.environ['PATH']}",
                    "SLURM_ARRAY_JOB_ID": "7",
                    "SLURM_ARRAY_TASK_ID": "3",
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def scontrol_calls(workdir):
    file = workdir.path / "scontrol.txt"
    return file.read_text() if file.exists() else ""


def running_histories(path):
    files = (path / "trials").glob("*/history.jsonl")
    return [file for file in files if file.read_bytes().count(b"\n") > 20]


def test_preempted_sweep_is_requeued_and_resumes(workdir, start_job):
    script = STUDY_SCRIPT.replace("/shared/", f"{workdir.path}/").replace(
        "--count 1000", "--count 3"
    )
    script = script.replace("sweeps/bayes.yaml", "sweeps/bayes.yaml tracking=disabled WORDS")
    long = script.replace("WORDS", " ".join(OVERRIDES))
    first = start_job(long)
    wait_until(lambda: running_histories(workdir.path / "sweep"))
    cut = running_histories(workdir.path / "sweep")[0].parent
    first.send_signal(signal.SIGTERM)
    first.wait(timeout=60)
    assert scontrol_calls(workdir) == "requeue 7_3\n"
    wait_until(lambda: (cut / "summary.json").exists())
    first_history = RunDir(cut).history
    assert RunDir(cut).summary["status"] == "interrupted"
    requeued = start_job(long)
    wait_until(lambda: len(RunDir(cut).history) > len(first_history))
    requeued.send_signal(signal.SIGTERM)
    requeued.wait(timeout=60)
    assert RunDir(cut).history[: len(first_history)] == first_history
    assert [row["state"] for row in read_table(workdir)][:1] == ["running"]


@pytest.mark.soak
def test_preempted_sweep_is_requeued_even_if_its_database_hangs(workdir, start_job, postgres):
    script = re.sub(r"--storage \S+", f"--storage {postgres.url}", STUDY_SCRIPT)
    script = script.replace("/shared/", f"{workdir.path}/")
    args = ["sweeps/bayes.yaml", "tracking=disabled", *OVERRIDES]
    script = script.replace("sweeps/bayes.yaml", " ".join(args))
    cut = start_job(script)
    wait_until(lambda: running_histories(workdir.path / "sweep"))
    postgres.freeze()
    cut.send_signal(signal.SIGTERM)
    wait_until(lambda: scontrol_calls(workdir) == "requeue 7_3\n")
    run = running_histories(workdir.path / "sweep")[0].parent
    wait_until(lambda: (run / "summary.json").exists())
    assert RunDir(run).summary["status"] == "interrupted"


def read_table(workdir):
    (workdir.path / "machine0").symlink_to(workdir.path / "sweep")
    return read_trials_table(workdir, 0)


@pytest.mark.soak
def test_preempted_agent_trial_returns_to_its_sweeps_queue(workdir, start_job):
    sweep = yaml.safe_load((ROOT / "sweeps/random.yaml").read_text())
    sweep["parameters"]["tracking.preemptible"] = {"value": True}
    sweep["command"][3:3] = ["epochs=4000", "tracking.confusion_every=4000"]
    (workdir.path / "own.yaml").write_text(yaml.dump(sweep))
    with FakeWandbServer() as server:
        result = workdir.run(
            WANDB_CLI, "sweep", "--project", "digits", "own.yaml", **server.environment
        )
        assert result.returncode == 0, result.stderr
        (name,) = server.sweeps
        script = AGENT_SCRIPT.replace("ENTITY/PROJECT/SWEEP", f"--count 1 somebody/digits/{name}")
        first = start_job(script, **server.environment)
        wait_until(lambda: server.runs)
        (run_id,) = server.runs
        path = workdir.path / "runs" / name / run_id
        wait_until(lambda: path.exists() and len(RunDir(path).history) > 20)
        first.send_signal(signal.SIGTERM)
        first.wait(timeout=60)
        assert scontrol_calls(workdir) == "requeue 7_3\n"
        wait_until(lambda: server.runs[run_id].state == "preempted")
        requeued = start_job(script, **server.environment)
        requeued.wait(timeout=120)
        assert list(server.runs) == [run_id]
        assert server.runs[run_id].state == "finished"
        assert len(server.runs[run_id].history) == len(RunDir(path).history) == 4000
