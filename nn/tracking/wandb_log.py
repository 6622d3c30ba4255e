"""Records of W&B's transaction log, the .wandb file of a run, read by `wandb leet inspect`."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer

from nn.errors import UserError
from nn.io.paths import relpath
from nn.io.serialization import JsonObject

INSPECT_COMMAND = (sys.executable, "-P", "-m", "wandb", "leet", "inspect", "--json")
"""Prints one JSON object per record; -P imports nothing from the current directory."""
LOG_PATTERN = "run-*.wandb"
MAX_LOG_BYTES = 2**30
"""Larger logs are not read."""
MAX_LINE_BYTES = 2**22
"""Longer records count as damaged."""
TIMEOUT_SECONDS = 300
"""A log of 200,000 history records takes about 30."""


def find_log(run_dir: Path) -> tuple[Path, os.stat_result]:
    """Return the transaction log of a W&B run directory and its status.

    Raises:
        UserError: There is not exactly one, or it is not a regular file, or too large.
    """
    logs = sorted(run_dir.glob(LOG_PATTERN))
    if len(logs) != 1:
        raise UserError(
            f"{relpath(run_dir)} is not the directory of a W&B run: it has {len(logs)} files "
            f"named {LOG_PATTERN}, and must have one."
        )
    try:
        status = logs[0].lstat()
    except OSError as error:
        raise UserError(f"{relpath(logs[0])} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{relpath(logs[0])} must be a regular file.")
    if status.st_size > MAX_LOG_BYTES:
        raise UserError(
            f"{relpath(logs[0])} has {status.st_size:,} bytes; at most {MAX_LOG_BYTES:,} are "
            "allowed."
        )
    return logs[0], status


def read_records(log: Path) -> Iterator[JsonObject | None]:
    """Yield the records of a log as they are read, with None in place of a damaged part.

    Raises:
        UserError: wandb is not available, refuses the file, or takes too long.
    """
    message, num_records, has_timed_out = "it printed no records", 0, Event()
    with _start_inspect(log) as process:

        def stop() -> None:
            has_timed_out.set()
            _kill(process)

        timer = Timer(TIMEOUT_SECONDS, stop)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            while line := process.stdout.readline(MAX_LINE_BYTES):
                if line.startswith(b"{"):
                    num_records += 1
                    yield _parse_record(line)
                elif b"corrupt" in line:
                    yield None
                elif line.strip():
                    message = line.decode("utf-8", "replace")
            exit_status = process.wait()
        finally:
            timer.cancel()
            _kill(process)
    if has_timed_out.is_set():
        raise UserError(f"{relpath(log)} cannot be read within {TIMEOUT_SECONDS} seconds.")
    if exit_status:
        if not num_records:
            raise UserError(f"{relpath(log)} cannot be read: {_format_reason(message)}.")
        yield None


def _start_inspect(log: Path) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own, since it starts a process itself."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    try:
        return subprocess.Popen(
            [*INSPECT_COMMAND, str(log.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**inherited, "WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"},
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"{relpath(log)} cannot be read: {error.strerror}.") from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group unless its first process, which outlives the others, has ended."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _parse_record(line: bytes) -> JsonObject | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _format_reason(message: str) -> str:
    """Return the command's last message in a form that fits into a sentence."""
    text = "".join(character for character in message if character.isprintable()).strip()
    return text.removeprefix("Error: ").removesuffix(".")[:200]
