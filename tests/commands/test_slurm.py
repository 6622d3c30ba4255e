"""The README's Slurm scripts, with stand-ins for the parts of Slurm that they use."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
import yaml

from tests.commands.readmes import read_blocks
from tests.commands.test_machines import rows
from tests.conftest import ROOT, Run
from tests.loopback import QUICK_AGENT, Loopback
from tests.waiting import wait_until

STUDY, AGENT = (block.text for block in read_blocks("sweeps/README.md") if block.language == "bash")
WORDS = ["epochs=20000", "tracking.confusion_every=20000", "checkpoint_every=0"]


@pytest.fixture
def job(workplace, monkeypatch):
    """Start a Slurm job whose `scontrol` records its calls."""
    tools = workplace.path / "tools"
    tools.mkdir()
    programs = {
        "scontrol": f'echo "$@" >> {workplace.path}/scontrol.txt',
        "python": f'exec {sys.executable} "$@"',
        "wandb": f'exec {sys.executable} {QUICK_AGENT} "$@"',
    }
    for program, line in programs.items():
        (tools / program).write_text(f"#!/bin/sh\n{line}\n")
        (tools / program).chmod(0o755)
    for name in ("scripts", "sweeps"):
        (workplace.path / name).symlink_to(ROOT / name)
    started = []

    def start(script, **environment):
        (workplace.path / "job.sh").write_text(script)
        started.append(
            subprocess.Popen(
                ["bash", "job.sh"],
                cwd=workplace.path,
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


def requeued(workplace):
    file = workplace.path / "scontrol.txt"
    return file.read_text() if file.exists() else ""


def running(path):
    files = (path / "trials").glob("*/history.jsonl")
    return [file for file in files if file.read_bytes().count(b"\n") > 20]


def test_a_sweep_that_slurm_cuts_off_is_queued_again_and_goes_on(workplace, job):
    script = STUDY.replace("/shared/", f"{workplace.path}/").replace("--count 1000", "--count 3")
    script = script.replace("sweeps/bayes.yaml", "sweeps/bayes.yaml tracking=disabled WORDS")
    long = script.replace("WORDS", " ".join(WORDS))
    first = job(long)
    wait_until(lambda: running(workplace.path / "sweep"))
    cut = running(workplace.path / "sweep")[0].parent
    first.send_signal(signal.SIGTERM)
    first.wait(timeout=60)
    assert requeued(workplace) == "requeue 7_3\n"
    wait_until(lambda: (cut / "summary.json").exists())
    begun = Run(cut).history
    assert Run(cut).summary["status"] == "interrupted"
    again = job(long)
    wait_until(lambda: len(Run(cut).history) > len(begun))
    again.send_signal(signal.SIGTERM)
    again.wait(timeout=60)
    assert Run(cut).history[: len(begun)] == begun
    assert [row["state"] for row in table(workplace)][:1] == ["running"]


def test_a_sweep_that_slurm_cuts_off_is_queued_again_though_its_database_is_frozen(
    workplace, job, postgres
):
    script = re.sub(r"--storage \S+", f"--storage {postgres.url}", STUDY)
    script = script.replace("/shared/", f"{workplace.path}/")
    words = ["sweeps/bayes.yaml", "tracking=disabled", *WORDS]
    script = script.replace("sweeps/bayes.yaml", " ".join(words))
    cut = job(script)
    wait_until(lambda: running(workplace.path / "sweep"))
    postgres.freeze()
    cut.send_signal(signal.SIGTERM)
    wait_until(lambda: requeued(workplace) == "requeue 7_3\n")
    run = running(workplace.path / "sweep")[0].parent
    wait_until(lambda: (run / "summary.json").exists())
    assert Run(run).summary["status"] == "interrupted"


def table(workplace):
    (workplace.path / "machine0").symlink_to(workplace.path / "sweep")
    return rows(workplace, 0)


def test_a_trial_that_slurm_cuts_off_goes_back_into_the_queue_of_its_sweep(workplace, job):
    sweep = yaml.safe_load((ROOT / "sweeps/random.yaml").read_text())
    sweep["parameters"]["tracking.preemptible"] = {"value": True}
    sweep["command"][3:3] = ["epochs=4000", "tracking.confusion_every=4000"]
    (workplace.path / "own.yaml").write_text(yaml.dump(sweep))
    with Loopback() as server:
        done = workplace.run(
            QUICK_AGENT, "sweep", "--project", "digits", "own.yaml", **server.environment
        )
        assert done.returncode == 0, done.stderr
        (name,) = server.sweeps
        script = AGENT.replace("ENTITY/PROJECT/SWEEP", f"--count 1 somebody/digits/{name}")
        first = job(script, **server.environment)
        wait_until(lambda: server.runs)
        (run_id,) = server.runs
        path = workplace.path / "runs" / name / run_id
        wait_until(lambda: path.exists() and len(Run(path).history) > 20)
        first.send_signal(signal.SIGTERM)
        first.wait(timeout=60)
        assert requeued(workplace) == "requeue 7_3\n"
        wait_until(lambda: server.runs[run_id].state == "preempted")
        again = job(script, **server.environment)
        again.wait(timeout=120)
        assert list(server.runs) == [run_id]
        assert server.runs[run_id].state == "finished"
        assert len(server.runs[run_id].history) == len(Run(path).history) == 4000
