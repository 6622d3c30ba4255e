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
from contextlib import contextmanager, suppress

import pytest
import yaml

from tests.commands.test_machines import SWEEP, TRIALS, finished, rows
from tests.conftest import Run, draws
from tests.postgres import children
from tests.waiting import wait_until

ENDS = {signal.SIGINT: 130, signal.SIGTERM: -signal.SIGTERM, signal.SIGHUP: -signal.SIGHUP}


@pytest.fixture
def sweep(workplace):
    """Start a sweep in its own process group."""
    (workplace.path / "trials.yaml").write_text(yaml.dump(TRIALS))
    started = []

    def start(*words, count=1000, storage=None, program=(SWEEP,)):
        shared = ["--storage", storage, "--grace-period", "3"] if storage else []
        line, settings = workplace.command(
            *program, "trials.yaml", *shared, "--output", "machine1", "--name", "shared",
            "--workers", "2", "--count", str(count), *words, "tracking=disabled",
        )  # fmt: skip
        with (workplace.path / "log.txt").open("a") as log:
            process = subprocess.Popen(
                line, stdout=log, stderr=log, start_new_session=True, **settings
            )
        process.log = workplace.path / "log.txt"
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def said(workplace):
    return lambda: (workplace.path / "log.txt").read_text()


def stopped(process, number):
    """Stop a sweep and check its exit status."""
    process.send_signal(number)
    assert process.wait(timeout=60) == ENDS[number], process.log.read_text()


@contextmanager
def away(server, how):
    """Make a server unavailable within the block."""
    if how == "down":
        server.stop()
    if how == "frozen":
        server.freeze()
    try:
        yield
    finally:
        if how == "down":
            server.start()
        if how == "frozen":
            server.thaw()


def trials(workplace):
    """Count the trials that have started."""
    return len(list((workplace.path / "machine1/trials").glob("*")))


def whole(workplace, count):
    """Check that every trial is listed once and has run to its end once."""
    table = rows(workplace, 1)
    assert [int(row["number"]) for row in table] == list(range(count))
    assert {row["state"] for row in table} == {"finished"}
    assert len({row["lr"] for row in table}) == count
    runs = finished(workplace, 1)
    assert sorted(runs) == [f"{number:04}" for number in range(count)]
    for run in runs.values():
        assert [record["epoch"] for record in run.history] == list(range(1, 61))


@draws(1, 17)
def test_a_stop_at_any_moment_is_quick_and_loses_nothing(workplace, sweep, said, postgres, draw):
    chance = random.Random(draw)
    for how in chance.sample(["there", "down", "frozen"], 3):
        begun = trials(workplace)
        process = sweep(storage=postgres.url)
        if chance.random() < 0.3:  # while it starts
            wait_until(lambda pid=process.pid: children(pid))
        else:
            wait_until(lambda begun=begun: trials(workplace) > begun)
        time.sleep(chance.uniform(0, 3))
        with away(postgres, how):
            time.sleep(chance.choice([0, 0.01, 1]))
            stopped(process, signal.SIGTERM)
    count = trials(workplace) + 5
    assert sweep(storage=postgres.url, count=count).wait(timeout=120) == 0, said()
    whole(workplace, count)
    assert "Traceback" not in said()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda each: each.name)
@pytest.mark.parametrize("how", ["down", "frozen"])
def test_any_signal_stops_a_sweep_whose_database_is_away(
    workplace, sweep, said, postgres, how, number
):
    process = sweep(storage=postgres.url)
    wait_until(lambda: finished(workplace, 1))
    with away(postgres, how):
        time.sleep(2)
        stopped(process, number)
    assert "\nStopped. To resume: python " in said()
    assert f"--storage {postgres.url}" in said().splitlines()[-1]


def test_a_server_that_never_answers_does_not_keep_a_sweep_from_being_stopped(sweep):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = sweep(storage=f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/b")
        silent.settimeout(60)
        with silent.accept()[0]:
            stopped(process, signal.SIGTERM)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["shared.log", None], ids=["shared", "own"])
@pytest.mark.parametrize("lock", ["lock", "trials.lock"])
@pytest.mark.parametrize("before", [True, False], ids=["at-the-start", "later"])
def test_a_lock_that_is_never_given_back_does_not_keep_a_sweep_from_being_stopped(
    workplace, sweep, name, lock, before
):
    folder = workplace.path if name else workplace.path / "machine1"
    process = sweep(storage=name, count=1 if before else 1000)
    wait_until(lambda: process.poll() == 0 if before else finished(workplace, 1))
    with (folder / f".{name or 'study.log'}.{lock}").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if before:
            process = sweep("--resume", storage=name)
        time.sleep(3)
        stopped(process, signal.SIGTERM)
    assert rows(workplace, 1)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", ENDS, ids=lambda each: each.name)
def test_a_folder_that_hangs_does_not_keep_a_sweep_from_being_stopped(workplace, sweep, number):
    process = sweep()
    wait_until(lambda: finished(workplace, 1))
    with (workplace.path / "machine1/.trials.csv.new").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        stopped(process, number)
    for history in (workplace.path / "machine1/trials").glob("*/history.jsonl"):
        assert Run(history.parent).summary["status"] in ("interrupted", "finished")


def test_a_second_ctrl_c_ends_a_sweep_at_once(workplace, sweep):
    patient = (
        "import runpy, sys\n"
        "from nn.runs import signals\n"
        "signals.STOP_TIMEOUT_SECONDS = 1000\n"
        "del sys.argv[0]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    process = sweep(program=("-c", patient, SWEEP))
    wait_until(lambda: finished(workplace, 1))
    with (workplace.path / "machine1/.trials.csv.new").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(2, process.send_signal, [signal.SIGINT]).start()
        stopped(process, signal.SIGINT)


def test_a_worker_that_is_frozen_does_not_keep_a_sweep_from_being_stopped(workplace, sweep):
    process = sweep()
    wait_until(lambda: finished(workplace, 1))
    for each in children(process.pid):
        os.kill(each, signal.SIGSTOP)
    stopped(process, signal.SIGTERM)


@draws(1, 20)
def test_ctrl_c_at_any_moment_is_answered_without_a_traceback(sweep, said, draw):
    process = sweep()
    wait_until(lambda: children(process.pid))
    time.sleep(random.Random(draw).uniform(0, 3))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=60) == 130, said()
    assert re.fullmatch(r"(trial .*\n)*(\nStopped\. .*\n)?", said())


def test_a_sweep_whose_terminal_goes_away_ends_by_the_hangup(workplace):
    on_a_terminal = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    (workplace.path / "trials.yaml").write_text(yaml.dump(TRIALS))
    words = [SWEEP, "trials.yaml", "--output", "machine1", "tracking=disabled"]
    line, settings = workplace.command("-c", on_a_terminal, *words)
    ours, theirs = pty.openpty()
    settings |= {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(line, start_new_session=True, **settings)
    try:
        os.close(theirs)
        wait_until(lambda: os.read(ours, 65536) and finished(workplace, 1))
        os.close(ours)
        assert process.wait(timeout=60) == -signal.SIGHUP
    finally:
        process.kill()
        process.wait()
