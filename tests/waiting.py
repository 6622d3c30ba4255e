"""Waiting for other processes, with a deadline."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(condition: Callable[[], Value], timeout_seconds: float = 120) -> Value:
    """Return the first true value of a condition; fail if there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out after {timeout_seconds} s"
        time.sleep(0.005)
    return value


def interrupt_when_started(
    start: Callable[[], subprocess.Popen[str]], delay: float, interrupt: Callable[[int], None]
) -> tuple[int, str]:
    """Start a command, interrupt it after a delay, and return its exit status and its errors.

    If Python was still starting, where no code of the command can handle Ctrl-C, this is repeated
    with a longer delay.
    """
    while True:
        process = start()
        time.sleep(delay)
        interrupt(process.pid)
        _, errors = process.communicate(timeout=60)
        if process.returncode != -signal.SIGINT and "Fatal Python error: init_" not in errors:
            return process.returncode, errors
        delay += 0.1


def count_epochs(run_directory: Path) -> int:
    """Count the lines in the history of a run, which may not have started yet."""
    history = run_directory / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.exists() else 0
