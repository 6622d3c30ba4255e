"""Start the processes of a sweep, which end with it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Concatenate, ParamSpec

P = ParamSpec("P")


def spawn_process(
    target: Callable[Concatenate[Connection, P], None], *args: P.args, **kwargs: P.kwargs
) -> tuple[SpawnProcess, Connection]:
    """Start a process with SIGINT blocked, and return it with a connection to it."""
    context = multiprocessing.get_context("spawn")
    connection, child_connection = context.Pipe()
    process = context.Process(
        target=target, args=(child_connection, *args), kwargs=kwargs, daemon=True
    )
    with _block_sigint():
        process.start()
    child_connection.close()
    return process, connection


def terminate_with_parent() -> None:
    """Ask Linux to send SIGTERM when the parent process dies, even by SIGKILL."""
    if sys.platform == "linux":
        parent_pid, pr_set_pdeathsig = os.getppid(), 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != parent_pid:  # the parent died before the call
            os._exit(1)


@contextmanager
def _block_sigint() -> Iterator[None]:
    """Block SIGINT, so that a process started here inherits the mask and unblocks it when ready.

    Python prints a traceback for a Ctrl-C that arrives while a process starts.
    """
    # otherwise the first start of a process starts the tracker, which unblocks SIGINT
    resource_tracker.ensure_running()
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
