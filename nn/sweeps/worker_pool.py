"""Worker processes of a sweep: a pool that starts them when needed and shuts them down."""

from __future__ import annotations

import time
from typing import Self

from nn.config.search_path import get_config_dir
from nn.errors import SweepError
from nn.runs.signals import BoundedSignalHandler
from nn.sweeps.console import RunningTrial
from nn.sweeps.offline_runs import OfflineRunWriters
from nn.sweeps.processes import spawn_process
from nn.sweeps.worker import Decision, TrialRequest, worker_main

SHUTDOWN_TIMEOUT_SECONDS = 10.0
"""Seconds that workers have to save their state at the end of a sweep before they are killed."""
KILL_MARGIN_SECONDS = 1.0
"""Seconds before the deadline of a stopped sweep at which its workers are killed."""


class Worker:
    """A worker process and the connection to it."""

    def __init__(self) -> None:
        self.process, self.connection = spawn_process(worker_main, get_config_dir())
        self.trial: RunningTrial | None = None
        self.was_used = False

    def send(self, message: TrialRequest | Decision) -> None:
        """Send a request, or a decision on the running trial; do nothing if the worker has died."""
        try:
            self.connection.send(message)
        except OSError:
            self.process.join()


class WorkerPool:
    """Up to `size` worker processes, started when they are first needed.

    On exit from the context, running trials are saved and can be resumed.
    """

    def __init__(self, size: int, signal_handler: BoundedSignalHandler) -> None:
        self.size, self.signal_handler = size, signal_handler
        self.workers: list[Worker] = []
        self.offline_runs = OfflineRunWriters(size, signal_handler)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        deadline = min(
            time.monotonic() + SHUTDOWN_TIMEOUT_SECONDS,
            self.signal_handler.deadline - KILL_MARGIN_SECONDS,
        )
        for worker in self.workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        for worker in self.workers:
            worker.process.kill()
        self.offline_runs.wait(deadline)
        self.offline_runs.kill()

    def start_workers(self, num_workers: float) -> None:
        """Start workers ahead of time, because their imports take a while."""
        while len(self.workers) < num_workers:
            self._start_worker()

    def get_idle_worker(self) -> Worker:
        """Return a worker without a trial, starting one if all are busy."""
        idle_workers = [worker for worker in self.workers if not worker.trial]
        return idle_workers[0] if idle_workers else self._start_worker()

    def remove_worker(self, worker: Worker) -> None:
        """Remove a worker that has died."""
        worker.connection.close()
        self.workers.remove(worker)

    def shutdown(self) -> None:
        """Ask the workers to save their trials and exit, without waiting for them.

        An idle worker exits when its connection is closed; one that has run nothing may still be
        importing, so it is terminated.
        """
        for worker in self.workers:
            worker.connection.close()
            if worker.trial or not worker.was_used:
                worker.process.terminate()
            worker.trial, worker.was_used = None, True

    def _start_worker(self) -> Worker:
        try:
            with self.signal_handler.defer_signals():
                self.workers.append(Worker())
        except OSError as error:
            raise SweepError(f"A worker process cannot be started: {error.strerror}.") from None
        return self.workers[-1]
