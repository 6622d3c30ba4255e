"""Closed or full standard streams lose output, never work."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml

from nn.config.compose import compose_config
from nn.runs.runner import run
from tests.conftest import ROOT, Run
from tests.loopback import Loopback
from tests.waiting import wait_until

EXAMPLES = {"notebook"}  # a notebook-style script without a command line
SCRIPTS = sorted({path.stem for path in (ROOT / "scripts").glob("*.py")} - EXAMPLES)
CLOSED = [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"]
FULL = "The output could not be written: No space left on device.\n"
WORDS = ["tracking=disabled", "model.hidden=[4]", "epochs=2"]
SWEEP = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"min": 0.01, "max": 0.5}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "run"
    run(compose_config(WORDS), path)
    return Run(path)


@pytest.fixture
def command(workplace):
    """Run a script with its streams redirected by a shell."""

    def start(redirected, name, *words, **environment):
        script = str(ROOT / f"scripts/{name}.py")
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, script, *words],
            cwd=workplace.path,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return start


def test_unbuffered_output_is_not_buffered(workplace):
    code = """
import os
from nn.cli.launch import launch
launch(lambda: (print("seen"), os._exit(0)), prints_result=True, exits_at_once=False)
"""
    done = workplace.run("-u", "-c", code)
    assert (done.stdout, done.stderr) == ("seen\n", "")


def trains(command, redirected, path, trained):
    done = command(redirected, "train", *WORDS, "hydra.run.dir=new")
    assert Run(path / "new").bits == trained.bits
    return done, 0


def predicts(command, redirected, path, trained):
    np.save(path / "images.npy", np.zeros((3, 8, 8), np.uint8))
    done = command(redirected, "predict", str(trained.path), "images.npy", "--output", "out.csv")
    assert (path / "out.csv").read_text().count("\n") == 4
    return done, 1


def reports(command, redirected, path, trained):
    done = command(redirected, "report", str(trained.path), "--output", "page.html")
    assert (path / "page.html").stat().st_size > 10_000
    return done, 1


def uploads(command, redirected, path, trained):
    with Loopback() as server:
        done = command(redirected, "upload", str(trained.path), **server.environment)
        assert len(server.runs) == 1
    return done, 1


def sweeps(command, redirected, path, trained):
    (path / "small.yaml").write_text(yaml.safe_dump(SWEEP))
    done = command(redirected, "sweep", "small.yaml", "--count", "3", "--workers", "1", *WORDS)
    with (path / "runs/sweeps/small/trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["finished"] * 3
    return done, 0


COMMANDS = [trains, predicts, reports, uploads, sweeps]


@pytest.mark.sampled(8)
@pytest.mark.parametrize("redirected", [*CLOSED, "2>/dev/full"])
@pytest.mark.parametrize("works", COMMANDS)
def test_closed_streams_and_a_full_stderr_cost_nothing(
    workplace, command, trained, works, redirected
):
    done, _ = works(command, redirected, workplace.path, trained)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("works", COMMANDS)
def test_a_full_stdout_fails_where_the_output_is_a_result_and_the_work_is_done(
    workplace, command, trained, works
):
    done, status = works(command, "> /dev/full", workplace.path, trained)
    assert (done.returncode, done.stderr) == (status, FULL if status else "")


@pytest.mark.parametrize("redirected", [*CLOSED, "> /dev/full", "2> /dev/full"])
def test_the_status_of_a_mistake_is_that_of_a_mistake_whatever_can_be_said(
    workplace, command, redirected
):
    for name in SCRIPTS:
        done = command(redirected, name, "--imaginary=1")
        assert done.returncode == 2, name
        assert "Traceback" not in done.stderr
    assert list(workplace.path.iterdir()) == []


def test_a_sweep_that_fails_says_so_by_its_status_on_a_full_screen(workplace, command):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SWEEP))
    words = ["sweep", "small.yaml", "--count", "9", "model=imaginary"]
    assert command("> /dev/full 2> /dev/full", *words).returncode == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_sweep_prints_how_to_resume_however_its_streams_are_buffered(
    workplace, number, unbuffered
):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SWEEP))
    words = [str(ROOT / "scripts/sweep.py"), "small.yaml", "--workers", "1", "epochs=5000"]
    with workplace.start(*words, PYTHONUNBUFFERED=unbuffered) as process:
        wait_until(lambda: list(workplace.path.rglob("history.jsonl")))
        process.send_signal(number)
        assert "Stopped. To resume: python " in process.communicate(timeout=60)[1]
        assert process.returncode == -number


def test_the_command_to_resume_keeps_the_overrides_behind_two_dashes(workplace):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SWEEP))
    words = ["small.yaml", "--workers", "1", "--count", "1", "--", "epochs=5000"]
    with workplace.start(str(ROOT / "scripts/sweep.py"), *words) as process:
        wait_until(lambda: list(workplace.path.rglob("history.jsonl")))
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1].endswith("--count 1 --resume -- epochs=5000\n")
