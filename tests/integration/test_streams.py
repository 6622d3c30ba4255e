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
from tests.conftest import ROOT, SWEEP_SCRIPT, RunDir
from tests.fake_wandb import FakeWandbServer
from tests.waiting import wait_until

EXAMPLES = {"notebook"}  # a notebook-style script without a command line
SCRIPT_NAMES = sorted({path.stem for path in (ROOT / "scripts").glob("*.py")} - EXAMPLES)
CLOSED_STREAMS = [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"]
DISK_FULL_MESSAGE = "The output could not be written: No space left on device.\n"
OVERRIDES = ["tracking=disabled", "model.hidden=[4]", "epochs=2"]
SWEEP_CONFIG = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"min": 0.01, "max": 0.5}},
}


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained_run") / "run"
    run(compose_config(OVERRIDES), path)
    return RunDir(path)


@pytest.fixture
def run_redirected(workdir):
    """Run a script with its streams redirected by a shell."""

    def start(redirected, name, *args, **environment):
        script = str(ROOT / f"scripts/{name}.py")
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, script, *args],
            cwd=workdir.path,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return start


def test_unbuffered_output_is_not_buffered(workdir):
    code = """
import os
from nn.cli.launch import launch
launch(lambda: (print("seen"), os._exit(0)), prints_result=True, exits_at_once=False)
"""
    result = workdir.run("-u", "-c", code)
    assert (result.stdout, result.stderr) == ("seen\n", "")


def check_train(run_redirected, redirected, path, trained_run):
    result = run_redirected(redirected, "train", *OVERRIDES, "hydra.run.dir=new")
    assert RunDir(path / "new").exact_results == trained_run.exact_results
    return result, 0


def check_predict(run_redirected, redirected, path, trained_run):
    np.save(path / "images.npy", np.zeros((3, 8, 8), np.uint8))
    result = run_redirected(
        redirected, "predict", str(trained_run.path), "images.npy", "--output", "out.csv"
    )
    assert (path / "out.csv").read_text().count("\n") == 4
    return result, 1


def check_report(run_redirected, redirected, path, trained_run):
    result = run_redirected(redirected, "report", str(trained_run.path), "--output", "page.html")
    assert (path / "page.html").stat().st_size > 10_000
    return result, 1


def check_upload(run_redirected, redirected, path, trained_run):
    with FakeWandbServer() as server:
        result = run_redirected(redirected, "upload", str(trained_run.path), **server.environment)
        assert len(server.runs) == 1
    return result, 1


def check_sweep(run_redirected, redirected, path, trained_run):
    (path / "small.yaml").write_text(yaml.safe_dump(SWEEP_CONFIG))
    result = run_redirected(
        redirected, "sweep", "small.yaml", "--count", "3", "--workers", "1", *OVERRIDES
    )
    with (path / "runs/sweeps/small/trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["finished"] * 3
    return result, 0


COMMAND_CHECKS = [check_train, check_predict, check_report, check_upload, check_sweep]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("redirected", [*CLOSED_STREAMS, "2>/dev/full"])
@pytest.mark.parametrize("check_command", COMMAND_CHECKS)
def test_closed_streams_or_full_stderr_do_not_affect_the_work(
    workdir, run_redirected, trained_run, check_command, redirected
):
    result, _ = check_command(run_redirected, redirected, workdir.path, trained_run)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("check_command", COMMAND_CHECKS)
def test_full_stdout_fails_only_commands_whose_output_is_the_result(
    workdir, run_redirected, trained_run, check_command
):
    result, status = check_command(run_redirected, "> /dev/full", workdir.path, trained_run)
    assert (result.returncode, result.stderr) == (status, DISK_FULL_MESSAGE if status else "")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("redirected", [*CLOSED_STREAMS, "> /dev/full", "2> /dev/full"])
def test_usage_errors_exit_with_2_even_without_streams(workdir, run_redirected, redirected):
    for name in SCRIPT_NAMES:
        result = run_redirected(redirected, name, "--imaginary=1")
        assert result.returncode == 2, name
        assert "Traceback" not in result.stderr
    assert list(workdir.path.iterdir()) == []


def test_failing_sweep_exits_with_2_when_its_streams_are_full(workdir, run_redirected):
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SWEEP_CONFIG))
    args = ["sweep", "small.yaml", "--count", "9", "model=imaginary"]
    assert run_redirected("> /dev/full 2> /dev/full", *args).returncode == 2


@pytest.mark.sampled(2)
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_stopped_sweep_prints_its_resume_command_regardless_of_buffering(
    workdir, number, unbuffered
):
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SWEEP_CONFIG))
    args = [SWEEP_SCRIPT, "small.yaml", "--workers", "1", "epochs=5000"]
    with workdir.start(*args, PYTHONUNBUFFERED=unbuffered) as process:
        wait_until(lambda: list(workdir.path.rglob("history.jsonl")))
        process.send_signal(number)
        assert "Stopped. To resume: python " in process.communicate(timeout=60)[1]
        assert process.returncode == -number


def test_resume_command_keeps_overrides_after_double_dash(workdir):
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SWEEP_CONFIG))
    args = ["small.yaml", "--workers", "1", "--count", "1", "--", "epochs=5000"]
    with workdir.start(SWEEP_SCRIPT, *args) as process:
        wait_until(lambda: list(workdir.path.rglob("history.jsonl")))
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1].endswith("--count 1 --resume -- epochs=5000\n")
