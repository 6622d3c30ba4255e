"""A worker: a process that imports everything once and runs trial after trial."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nn.config.composed import configuration
from nn.errors import Diverged, Mistake, NotSaved, Pruned
from nn.run import run
from nn.tracking.files import lock

PATIENCE = 30.0
"""Seconds to wait for a folder that a process at its end still holds."""


@dataclass(frozen=True)
class Order:
    """A trial to be run, or to be taken up again where its folder has a run."""

    number: int
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


def work(line: Connection) -> None:
    """Run what is ordered until the line is closed."""
    _end_with_parent()
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    while True:
        try:
            order: Order = line.recv()
        except (EOFError, OSError):  # reset, if the sweep has ended before it heard a report
            return
        order.folder.mkdir(parents=True, exist_ok=True)
        log = (order.folder / "output.txt").open("a", encoding="utf-8")
        try:
            with log, redirect_stdout(log), redirect_stderr(log):
                report = _carried_out(order, line)
            line.send(report)
        except (KeyboardInterrupt, EOFError, OSError):  # the sweep has ended or is about to
            return


def _carried_out(order: Order, line: Connection) -> Report:
    """Run a trial, and tell how it has ended."""

    def watch(record: Mapping[str, Any]) -> None:
        line.send(Report(order.number, record=record))
        ends = order.judged and line.recv()
        if ends and record["epoch"] < config["epochs"]:
            raise Pruned

    try:
        config = configuration(order.words)
        _wait_until_free(order.folder)
        run(config, order.folder, (order.folder / "config.yaml").exists(), watch)
        return Report(order.number, status="finished")
    except Diverged as error:
        return Report(order.number, status="diverged", reason=str(error))
    except Pruned:
        return Report(order.number, status="pruned")
    except (EOFError, ConnectionError):
        raise
    except (Mistake, NotSaved) as error:
        return Report(order.number, status="failed", reason=str(error))
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        return Report(order.number, status="failed", reason=reason)


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
