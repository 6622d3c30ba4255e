"""The engine of a sweep: gives trials to workers, and takes note of what comes of them."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from nn.errors import SweepError
from nn.runs.signals import BoundedSignalHandler
from nn.sweeps.space import to_overrides
from nn.sweeps.study import SweepStudy
from nn.sweeps.worker import TrialRequest, WorkerMessage, worker_main

SYNC_INTERVAL_SECONDS = 1.0
"""Seconds from one look at what other machines do to the next."""
MAX_CRASHES_PER_TRIAL = 2
"""How often a trial may take its process down with it before it waits for the next resume."""
MAX_CONSECUTIVE_FAILURES = 3
"""After so many external failures without a success in between the sweep stops."""
KILL_MARGIN_SECONDS = 1.0
"""Seconds before the end of a sweep that is stopped at which workers that are not done die."""


@dataclass
class RunningTrial:
    """A trial under way."""

    number: int
    epoch: int = 0
    value: float | None = None
    start_time: float = field(default_factory=time.monotonic)


class SweepDisplay(Protocol):
    """Where a sweep is shown."""

    def show_progress(self, runner: SweepRunner) -> None:
        """Show what runs."""

    def print_trial_result(
        self, runner: SweepRunner, trial: RunningTrial, message: WorkerMessage, value: float | None
    ) -> None:
        """Show how a trial has ended."""


class SweepRunner:
    """Workers and the trials that they run."""

    def __init__(
        self,
        study: SweepStudy,
        pool: WorkerPool,
        max_trials: int | None,
        fixed_overrides: tuple[Sequence[str], Sequence[str]],
        display: SweepDisplay,
        signal_handler: BoundedSignalHandler,
    ) -> None:
        self.study, self.max_trials, self.fixed_overrides, self.display = (
            study,
            max_trials,
            fixed_overrides,
            display,
        )
        self.signal_handler = signal_handler
        self.sweep = study.sweep
        self.resume_queue = deque(study.reclaim_stale_trials(retry_failed=True))
        self.last_sync_time = time.monotonic()
        self.crash_counts: Counter[int] = Counter()
        self.num_idle_crashes = 0
        self.compared_trials: set[int] = set()
        self.best: tuple[float, int] | None = None
        self.trial_seconds: list[float] = []
        self.start_time = time.monotonic()
        self.is_target_reached = False
        self.num_consecutive_failures = 0
        self._update_best()
        self.pool = pool

    @property
    def running_trials(self) -> list[RunningTrial]:
        """The trials under way."""
        return [worker.trial for worker in self.pool.workers if worker.trial]

    @property
    def stop_reason(self) -> str:
        """Why nothing more is begun."""
        if self.is_target_reached and self.sweep.metric:
            return f"The target {self.sweep.metric.target:g} is reached."
        if self.study.is_exhausted(None) and not self.study.failed_trials:
            return "Every point of the grid has been tried."
        return ""

    @property
    def total_trials(self) -> int | None:
        """How many trials there will be, if that is known."""
        limits = [
            limit for limit in (self.max_trials, self.study.num_grid_points) if limit is not None
        ]
        return min(limits, default=None)

    def run(self) -> None:
        """Run trials until there is nothing more to begin; signals come while this waits."""
        while True:
            with self.signal_handler.defer_signals():
                self._sync_with_other_machines()
                self._assign_trials()
                if not self.running_trials and not self.study.remote_trials:
                    return
                self.display.show_progress(self)
            workers_by_connection = {worker.connection: worker for worker in self.pool.workers}
            sentinels = [worker.process.sentinel for worker in self.pool.workers]
            ready = wait([*workers_by_connection, *sentinels], timeout=0.25)
            with self.signal_handler.defer_signals():
                for connection in ready:
                    if isinstance(connection, Connection):
                        self._receive_message(workers_by_connection[connection])

    def _assign_trials(self) -> None:
        """Give each worker a trial, and start another as long as there are more of them."""
        for worker in list(self.pool.workers):
            if not worker.process.is_alive():
                self.pool.remove_worker(worker)
                self._handle_crash(worker)
        while (number := self._next_trial_number()) is not None:
            self._start_trial(self.pool.get_idle_worker(), number)

    def _sync_with_other_machines(self) -> None:
        """See now and then what other machines have done, and take up what they left."""
        if self.study.is_shared and time.monotonic() - self.last_sync_time > SYNC_INTERVAL_SECONDS:
            self.resume_queue += self.study.reclaim_stale_trials()
            self._update_best()
            self.last_sync_time = time.monotonic()

    def _next_trial_number(self) -> int | None:
        """Return the number of the next trial, if there is one and a worker may take it."""
        if len(self.running_trials) == self.pool.size:
            return None
        if self.resume_queue:
            return self.resume_queue.popleft()
        if self.is_target_reached or self.study.is_exhausted(self.max_trials):
            return None
        return self.study.ask(self.max_trials)

    def _start_trial(self, worker: Worker, number: int) -> None:
        """Give a worker a trial."""
        overrides_before, overrides_after = self.fixed_overrides
        point = self.study.get_point(number)
        request = TrialRequest(
            number,
            point,
            (*overrides_before, *to_overrides(point), *overrides_after),
            self.study.get_trial_dir(number),
            is_prunable=self.sweep.early_terminate is not None,
        )
        worker.trial, worker.was_used = RunningTrial(number), True
        worker.send(request)

    def _receive_message(self, worker: Worker) -> None:
        """Take what a worker says; one that has died says no more."""
        try:
            message: WorkerMessage = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            return
        trial = worker.trial
        assert trial is not None
        if message.epoch_record is not None:
            self._handle_epoch(worker, trial, message.epoch_record)
            return
        worker.trial = None
        self._handle_trial_end(trial, message)

    def _handle_epoch(self, worker: Worker, trial: RunningTrial, epoch_record: Any) -> None:
        metric, early_terminate = self.sweep.metric, self.sweep.early_terminate
        trial.epoch = epoch_record["epoch"]
        value = epoch_record.get(metric.name) if metric else None
        if value is not None:
            trial.value = value
        if early_terminate:
            should_prune = value is not None and self.study.should_prune(
                trial.number, trial.epoch, value
            )
            worker.send(should_prune)

    def _handle_trial_end(self, trial: RunningTrial, message: WorkerMessage) -> None:
        assert message.status is not None
        value = self.study.tell(trial.number, message.status, message.reason, message.is_external)
        self.trial_seconds.append(time.monotonic() - trial.start_time)
        self._update_best()
        self.display.print_trial_result(self, trial, message, value)
        self._check_consecutive_failures(message)

    def _check_consecutive_failures(self, message: WorkerMessage) -> None:
        """Stop a sweep in which nothing succeeds."""
        if message.status != "failed":
            self.num_consecutive_failures = 0
            return
        all_failed = self.num_consecutive_failures + 1 == len(self.trial_seconds)
        self.num_consecutive_failures += message.is_external or all_failed
        if self.num_consecutive_failures == MAX_CONSECUTIVE_FAILURES:
            which = "first" if all_failed else "last"
            raise SweepError(f"The {which} three trials have all failed: {message.reason}")

    def _handle_crash(self, worker: Worker) -> None:
        """Take note of a worker that has died, and start its trial again, but not for ever."""
        trial, exit_code = worker.trial, worker.process.exitcode
        if trial is None:
            self.num_idle_crashes += 1
            if self.num_idle_crashes > 2 * self.pool.size:
                raise SweepError("The workers die before they run a trial; is there enough memory?")
            return
        self.crash_counts[trial.number] += 1
        reason = f"its process died with status {exit_code}"
        if self.crash_counts[trial.number] < MAX_CRASHES_PER_TRIAL and self.study.can_retry(
            trial.number
        ):
            self.study.tell(trial.number, "failed", reason, is_external=True)
            self.study.retry_trial(trial.number)
            self.resume_queue.appendleft(trial.number)
        else:
            message = WorkerMessage(trial.number, status="failed", reason=reason, is_external=True)
            self._handle_trial_end(trial, message)

    def _update_best(self) -> None:
        """Find the best of all, and whether it is good enough."""
        metric = self.sweep.metric
        for trial in self.study.trials:
            value = trial.user_attrs.get("objective")
            if metric is None or value is None or trial.number in self.compared_trials:
                continue
            self.compared_trials.add(trial.number)
            if self.best is None or metric.is_better(value, self.best[0]):
                self.best = value, trial.number
            self.is_target_reached = self.is_target_reached or metric.reaches_target(value)


class Worker:
    """A process, and the line to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, child_connection = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=worker_main, args=(child_connection,), daemon=True
        )
        with _block_sigint():
            self.process.start()
        child_connection.close()
        self.trial: RunningTrial | None = None
        self.was_used = False

    def send(self, message: Any) -> None:
        """Say something; a worker that has died does not hear it."""
        try:
            self.connection.send(message)
        except OSError:
            self.process.join()


@contextmanager
def _block_sigint() -> Iterator[None]:
    """Start a process in which Ctrl-C waits until the process is ready for it.

    Python would print a traceback for one that comes while it starts.
    """
    resource_tracker.ensure_running()  # which the first start does otherwise, and unblocks Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerPool:
    """Workers, which start as they are needed."""

    def __init__(self, size: int, signal_handler: BoundedSignalHandler) -> None:
        self.size, self.signal_handler = size, signal_handler
        self.workers: list[Worker] = []

    def start_workers(self, num_workers: float) -> None:
        """Start some workers before they are needed, since that takes them a while."""
        while len(self.workers) < num_workers:
            self._start_worker()

    def get_idle_worker(self) -> Worker:
        """Return a worker without a trial, which may have to be started."""
        return (
            next((worker for worker in self.workers if not worker.trial), None)
            or self._start_worker()
        )

    def remove_worker(self, worker: Worker) -> None:
        """Forget a worker that has died."""
        worker.connection.close()
        self.workers.remove(worker)

    def shutdown(self) -> None:
        """Ask workers to save what they run, and to end; one that has run nothing may just die."""
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


@contextmanager
def worker_pool(size: int, signal_handler: BoundedSignalHandler) -> Iterator[WorkerPool]:
    """End the workers at the end; what they run is saved, to be taken up again."""
    pool = WorkerPool(size, signal_handler)
    try:
        yield pool
    finally:
        pool.shutdown()
        deadline = min(time.monotonic() + 10, signal_handler.deadline - KILL_MARGIN_SECONDS)
        for worker in pool.workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        for worker in pool.workers:
            worker.process.kill()
