"""Write the offline W&B runs of trials that have ended, in processes beside the workers."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from threading import Thread

from nn.errors import SaveError
from nn.runs.signals import SignalHandler
from nn.runs.upload import is_offline_run_due, write_offline_run
from nn.sweeps.processes import spawn_process, terminate_with_parent
from nn.sweeps.worker import redirect_output

MAX_BACKLOG = 24
"""Runs that wait per process before another process is started, whose imports take a second."""


class OfflineRunWriters:
    """Up to `max_processes` processes, started when they are first needed.

    A trial thus ends without waiting for W&B. The run directory shows what is written, so that
    nothing is lost or written twice when the sweep is killed and resumed.
    """

    def __init__(self, max_processes: int, signal_handler: SignalHandler) -> None:
        self.max_processes, self.signal_handler = max_processes, signal_handler
        self.requested: set[Path] = set()
        self._queue: Queue[Path] = Queue()
        self._threads: list[_WriterThread] = []

    def add(self, trial_dir: Path) -> None:
        """Write the offline run of a trial in the background, if it is tracked offline."""
        if not is_offline_run_due(trial_dir):
            return
        self.requested.add(trial_dir)
        self._queue.put(trial_dir)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        num_threads = len(self._threads)
        has_capacity = self._queue.qsize() <= MAX_BACKLOG * num_threads
        if not has_capacity and num_threads < self.max_processes:
            with self.signal_handler.defer_signals():
                self._threads.append(_WriterThread(self._queue))

    @property
    def missing(self) -> list[Path]:
        """The directories whose offline runs were requested and have not been written."""
        return [*filter(is_offline_run_due, sorted(self.requested))]

    def wait(self, deadline: float) -> None:
        """Wait until everything is written, or no process is left, or until a deadline."""
        while (
            self._queue.unfinished_tasks
            and any(thread.is_alive() for thread in self._threads)
            and time.monotonic() < deadline
        ):
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the processes; the runs that they have not written are due when it is resumed."""
        for thread in self._threads:
            thread.process.kill()


class _WriterThread(Thread):
    """Hands queued directories to a process one by one, until the process dies."""

    def __init__(self, queue: Queue[Path]) -> None:
        super().__init__(daemon=True)
        self._queue = queue
        # here, since the death of the thread that starts it would end the process
        self.process, self._connection = spawn_process(_serve_requests)
        self.start()

    def run(self) -> None:
        is_alive = True
        while is_alive:
            trial_dir = self._queue.get()
            try:
                self._connection.send(trial_dir)
                self._connection.recv()
            except (EOFError, OSError):
                is_alive = False
            self._queue.task_done()


def _serve_requests(connection: Connection) -> None:
    """Write the requested runs until the connection is closed; SIGINT is left to the sweep."""
    terminate_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            trial_dir: Path = connection.recv()
            with redirect_output(trial_dir):
                try:
                    write_offline_run(trial_dir)
                except SaveError as error:
                    with suppress(OSError):
                        print(error, file=sys.stderr)
            connection.send(None)
