"""A stopped sweep ends promptly, even if a server, disk or worker does not respond."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
import yaml

from tests.conftest import SWEEP_SCRIPT, RunDir, repeat
from tests.integration.test_shared_sweep import SWEEP_CONFIG, finished_runs, read_trials_table
from tests.postgres import child_pids
from tests.waiting import wait_until

EXIT_STATUSES = {signal.SIGINT: 130, signal.SIGTERM: -signal.SIGTERM, signal.SIGHUP: -signal.SIGHUP}


@pytest.fixture
def start_sweep(workdir, start_logged):
    """Start a sweep with two workers."""
    (workdir.path / "trials.yaml").write_text(yaml.dump(SWEEP_CONFIG))

    def start(*args, count=1000, storage=None, program=(SWEEP_SCRIPT,)):
        shared = ["--storage", storage, "--grace-period", "3"] if storage else []
        process = start_logged(
            "log.txt", *program, "trials.yaml", *shared, "--output", "machine1", "--name", "shared",
            "--workers", "2", "--count", str(count), *args, "tracking=disabled",
        )  # fmt: skip
        process.log = workdir.path / "log.txt"
        return process

    return start


@pytest.fixture
def read_log(workdir):
    return lambda: (workdir.path / "log.txt").read_text()


def stop_sweep(process, number):
    """Stop a sweep and check its exit status."""
    process.send_signal(number)
    assert process.wait(timeout=60) == EXIT_STATUSES[number], process.log.read_text()


@contextmanager
def outage(server, kind):
    """Make a server unavailable within the block."""
    if kind == "down":
        server.stop()
    if kind == "frozen":
        server.freeze()
    try:
        yield
    finally:
        if kind == "down":
            server.start()
        if kind == "frozen":
            server.thaw()


def count_trials(workdir):
    """Count the trials that have started."""
    return len(list((workdir.path / "machine1/trials").glob("*")))


def check_complete(workdir, count):
    """Check that every trial is listed once and has run to its end once."""
    table = read_trials_table(workdir, 1)
    assert [int(row["number"]) for row in table] == list(range(count))
    assert {row["state"] for row in table} == {"finished"}
    assert len({row["lr"] for row in table}) == count
    runs = finished_runs(workdir, 1)
    assert sorted(runs) == [f"{number:04}" for number in range(count)]
    for run in runs.values():
        assert [record["epoch"] for record in run.history] == list(range(1, 61))


@pytest.mark.soak
@repeat(1, 17)
def test_stop_at_any_moment_is_prompt_and_loses_nothing(
    workdir, start_sweep, read_log, postgres, repetition
):
    rng = random.Random(repetition)
    for how in rng.sample(["there", "down", "frozen"], 3):
        num_started = count_trials(workdir)
        process = start_sweep(storage=postgres.url)
        if rng.random() < 0.3:  # while it starts
            wait_until(lambda pid=process.pid: child_pids(pid))
        else:
            wait_until(lambda num_started=num_started: count_trials(workdir) > num_started)
        time.sleep(rng.uniform(0, 3))
        with outage(postgres, how):
            time.sleep(rng.choice([0, 0.01, 1]))
            stop_sweep(process, signal.SIGTERM)
    count = count_trials(workdir) + 5
    assert start_sweep(storage=postgres.url, count=count).wait(timeout=120) == 0, read_log()
    check_complete(workdir, count)
    assert "Traceback" not in read_log()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda each: each.name)
@pytest.mark.parametrize("how", ["down", "frozen"])
def test_any_signal_stops_a_sweep_whose_database_is_unavailable(
    workdir, start_sweep, read_log, postgres, how, number
):
    process = start_sweep(storage=postgres.url)
    wait_until(lambda: finished_runs(workdir, 1))
    with outage(postgres, how):
        time.sleep(2)
        stop_sweep(process, number)
    assert "\nStopped. To resume: python " in read_log()
    assert f"--storage {postgres.url}" in read_log().splitlines()[-1]


def test_unresponsive_server_does_not_block_stopping(start_sweep):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = start_sweep(storage=f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/b")
        silent.settimeout(60)
        with silent.accept()[0]:
            stop_sweep(process, signal.SIGTERM)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["shared.log", None], ids=["shared", "own"])
@pytest.mark.parametrize("lock", ["lock", "trials.lock"])
@pytest.mark.parametrize("before", [True, False], ids=["at-the-start", "later"])
def test_held_lock_does_not_block_stopping(workdir, start_sweep, name, lock, before):
    folder = workdir.path if name else workdir.path / "machine1"
    process = start_sweep(storage=name, count=1 if before else 1000)
    wait_until(lambda: process.poll() == 0 if before else finished_runs(workdir, 1))
    with (folder / f".{name or 'study.log'}.{lock}").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if before:
            process = start_sweep("--resume", storage=name)
        time.sleep(3)
        stop_sweep(process, signal.SIGTERM)
    assert read_trials_table(workdir, 1)


@pytest.mark.soak
@pytest.mark.parametrize("number", EXIT_STATUSES, ids=lambda each: each.name)
def test_hanging_output_directory_does_not_block_stopping(workdir, start_sweep, number):
    process = start_sweep()
    wait_until(lambda: finished_runs(workdir, 1))
    with (workdir.path / "machine1/.trials.csv.new").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        stop_sweep(process, number)
    for history in (workdir.path / "machine1/trials").glob("*/history.jsonl"):
        assert RunDir(history.parent).summary["status"] in ("interrupted", "finished")


def test_second_ctrl_c_ends_a_sweep_immediately(workdir, start_sweep):
    patient = (
        "import runpy, sys\n"
        "from nn.runs import signals\n"
        "signals.STOP_TIMEOUT_SECONDS = 1000\n"
        "del sys.argv[0]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    process = start_sweep(program=("-c", patient, SWEEP_SCRIPT))
    wait_until(lambda: finished_runs(workdir, 1))
    with (workdir.path / "machine1/.trials.csv.new").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(2, process.send_signal, [signal.SIGINT]).start()
        stop_sweep(process, signal.SIGINT)


@pytest.mark.soak
def test_frozen_worker_does_not_block_stopping(workdir, start_sweep):
    process = start_sweep()
    wait_until(lambda: finished_runs(workdir, 1))
    for each in child_pids(process.pid):
        os.kill(each, signal.SIGSTOP)
    stop_sweep(process, signal.SIGTERM)


@repeat(1, 20)
def test_ctrl_c_at_any_moment_prints_no_traceback(start_sweep, read_log, repetition):
    process = start_sweep()
    wait_until(lambda: child_pids(process.pid))
    time.sleep(random.Random(repetition).uniform(0, 3))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=60) == 130, read_log()
    assert re.fullmatch(r"(trial .*\n)*(\nStopped\. .*\n)?", read_log())


def test_sweep_ends_on_terminal_hangup(workdir):
    on_a_terminal = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    (workdir.path / "trials.yaml").write_text(yaml.dump(SWEEP_CONFIG))
    args = [SWEEP_SCRIPT, "trials.yaml", "--output", "machine1", "tracking=disabled"]
    line, settings = workdir.popen_args("-c", on_a_terminal, *args)
    controller, terminal = pty.openpty()
    settings |= {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    process = subprocess.Popen(line, start_new_session=True, **settings)
    try:
        os.close(terminal)
        wait_until(lambda: os.read(controller, 65536) and finished_runs(workdir, 1))
        os.close(controller)
        assert process.wait(timeout=60) == -signal.SIGHUP
    finally:
        process.kill()
        process.wait()
