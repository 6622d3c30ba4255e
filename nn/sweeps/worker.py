"""A worker: a process that imports everything once and runs trial after trial."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

from nn.config.compose import configuration
from nn.errors import Diverged, Mistake, NotSaved, Pruned, is_external
from nn.io.files import lock, write_whole
from nn.io.serialization import to_json
from nn.runs.reader import read_json
from nn.runs.runner import run
from nn.runs.signals import Stopped

PATIENCE = 30.0
"""Seconds to wait for a folder that a process at its end still holds."""
RECORD = "trial.json"
"""The file in a trial's directory that says which point it tried."""


@dataclass(frozen=True)
class Order:
    """A trial to be run, or to be taken up again where its folder has a run."""

    number: int
    parameters: Mapping[str, Any]
    words: tuple[str, ...]
    folder: Path
    judged: bool = False
    """Whether each epoch waits for word that it may go on."""


@dataclass(frozen=True)
class Report:
    """What a worker tells: an epoch's record, or how a trial has ended."""

    number: int
    record: Mapping[str, Any] | None = None
    status: str | None = None
    reason: str | None = None
    external: bool = False
    """Whether a failure has a reason outside of the trial, so that a retry may succeed."""


def work(line: Connection) -> None:
    """Be the process of a worker; Ctrl-C is blocked when this is called."""
    _end_with_parent()
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    serve(line)


def serve(line: Connection) -> None:
    """Run what is ordered until the line is closed."""
    while True:
        try:
            order: Order = line.recv()
        except (EOFError, OSError):  # reset, if the sweep has ended before it heard a report
            return
        try:
            with _log(order.folder) as log, redirect_stdout(log), redirect_stderr(log):
                report = _carried_out(order, line)
            line.send(report)
        except (KeyboardInterrupt, EOFError, OSError):  # the sweep has ended or is about to
            return


@contextmanager
def _log(directory: Path) -> Iterator[TextIO]:
    """Open the log of a trial; what cannot be written to it is lost, which costs no trial."""
    log = _open_log(directory)
    try:
        yield log
    finally:
        with suppress(OSError):
            log.close()


def _open_log(directory: Path) -> TextIO:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return (directory / "output.txt").open("a", encoding="utf-8")
    except OSError:
        return Path(os.devnull).open("w", encoding="utf-8")


def _write_record(order: Order) -> None:
    """Write once which point the directory holds; refuse one that holds another trial."""
    record = to_json({"number": order.number, "parameters": order.parameters})
    written = read_json(order.folder, RECORD)
    if not written:
        write_whole(order.folder / RECORD, record.encode())
    elif written != json.loads(record):
        raise Mistake(f"{order.folder} holds a trial of another sweep.")


def _carried_out(order: Order, line: Connection) -> Report:
    """Run a trial, and tell how it has ended."""

    def watch(record: Mapping[str, Any]) -> None:
        try:
            line.send(Report(order.number, record=record))
            ends = order.judged and line.recv()
        except (EOFError, OSError):
            raise Stopped(signal.SIGTERM) from None  # the sweep has ended, and with it the trial
        if ends and record["epoch"] < config["epochs"]:
            raise Pruned

    try:
        config = configuration(order.words)
        order.folder.mkdir(parents=True, exist_ok=True)
        _wait_until_free(order.folder)
        _write_record(order)
        run(config, order.folder, (order.folder / "config.yaml").exists(), watch)
        return Report(order.number, status="finished")
    except Diverged as error:
        return Report(order.number, status="diverged", reason=str(error))
    except Pruned:
        return Report(order.number, status="pruned")
    except (Mistake, NotSaved) as error:
        return _failed(order, str(error), error)
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        return _failed(order, f"{type(error).__name__}: {error}", error)


def _failed(order: Order, reason: str, error: Exception) -> Report:
    return Report(order.number, status="failed", reason=reason, external=is_external(error))


def _wait_until_free(folder: Path) -> None:
    """Give whoever dies in a folder a moment to let go of it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(Mistake):
            os.close(lock(folder / ".lock"))
            return
        time.sleep(0.1)


def _end_with_parent() -> None:
    """Ask Linux for a SIGTERM when the sweep's own process dies, however it does."""
    if sys.platform == "linux":
        parent, end_of_parent = os.getppid(), 1
        ctypes.CDLL(None).prctl(end_of_parent, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
