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
from nn.runs.signals import BoundedInterrupts
from nn.sweeps.space import words
from nn.sweeps.study import Search
from nn.sweeps.worker import Order, Report, work

LOOK = 1.0
"""Seconds from one look at what other machines do to the next."""
MAX_CRASHES = 2
"""How often a trial may take its process down with it before it waits for the next resume."""
MAX_FAILURES_IN_A_ROW = 3
"""After so many external failures without a success in between the sweep stops."""
KILL_SECONDS = 1.0
"""Seconds before the end of a sweep that is stopped at which workers that are not done die."""


@dataclass
class Running:
    """A trial under way."""

    number: int
    epoch: int = 0
    value: float | None = None
    began: float = field(default_factory=time.monotonic)


class Screen(Protocol):
    """Where a sweep is shown."""

    def show(self, engine: Engine) -> None:
        """Show what runs."""

    def ended(self, engine: Engine, trial: Running, report: Report, value: float | None) -> None:
        """Show how a trial has ended."""


class Engine:
    """Workers and the trials that they run."""

    def __init__(
        self,
        trials: Search,
        pool: WorkerPool,
        count: int | None,
        fixed: tuple[Sequence[str], Sequence[str]],
        screen: Screen,
        interrupts: BoundedInterrupts,
    ) -> None:
        self.trials, self.count, self.fixed, self.screen = trials, count, fixed, screen
        self.interrupts = interrupts
        self.sweep = trials.sweep
        self.again = deque(trials.take_up(retry=True))
        self.looked = time.monotonic()
        self.crashes: Counter[int] = Counter()
        self.idle_crashes = 0
        self.compared: set[int] = set()
        self.best: tuple[float, int] | None = None
        self.took: list[float] = []
        self.began = time.monotonic()
        self.reached = False
        self.failures_in_a_row = 0
        self._compare()
        self.pool = pool

    @property
    def running(self) -> list[Running]:
        """The trials under way."""
        return [worker.trial for worker in self.pool.workers if worker.trial]

    @property
    def reason(self) -> str:
        """Why nothing more is begun."""
        if self.reached and self.sweep.metric:
            return f"The target {self.sweep.metric.target:g} is reached."
        if self.trials.exhausted(None) and not self.trials.failed:
            return "Every point of the grid has been tried."
        return ""

    @property
    def total(self) -> int | None:
        """How many trials there will be, if that is known."""
        limits = [limit for limit in (self.count, self.trials.limit) if limit is not None]
        return min(limits, default=None)

    def go(self) -> None:
        """Run trials until there is nothing more to begin; signals come while this waits."""
        while True:
            with self.interrupts.held_off():
                self._look_around()
                self._keep_busy()
                if not self.running and not self.trials.elsewhere:
                    return
                self.screen.show(self)
            by_line = {worker.line: worker for worker in self.pool.workers}
            sentinels = [worker.process.sentinel for worker in self.pool.workers]
            heard = wait([*by_line, *sentinels], timeout=0.25)
            with self.interrupts.held_off():
                for each in heard:
                    if isinstance(each, Connection):
                        self._listen(by_line[each])

    def _keep_busy(self) -> None:
        """Give each worker a trial, and start another as long as there are more of them."""
        for worker in list(self.pool.workers):
            if not worker.process.is_alive():
                self.pool.remove(worker)
                self._crashed(worker)
        while (number := self._next_trial()) is not None:
            self._order(self.pool.idle(), number)

    def _look_around(self) -> None:
        """See now and then what other machines have done, and take up what they left."""
        if self.trials.shared and time.monotonic() - self.looked > LOOK:
            self.again += self.trials.take_up()
            self._compare()
            self.looked = time.monotonic()

    def _next_trial(self) -> int | None:
        """Return the number of the next trial, if there is one and a worker may take it."""
        if len(self.running) == self.pool.size:
            return None
        if self.again:
            return self.again.popleft()
        if self.reached or self.trials.exhausted(self.count):
            return None
        return self.trials.begin(self.count)

    def _order(self, worker: Worker, number: int) -> None:
        """Give a worker a trial."""
        before, after = self.fixed
        point = self.trials.point(number)
        order = Order(
            number,
            point,
            (*before, *words(point), *after),
            self.trials.path(number),
            judged=self.sweep.early_terminate is not None,
        )
        worker.trial, worker.used = Running(number), True
        worker.send(order)

    def _listen(self, worker: Worker) -> None:
        """Take what a worker says; one that has died says no more."""
        try:
            report: Report = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            return
        trial = worker.trial
        assert trial is not None
        if report.record is not None:
            self._epoch(worker, trial, report.record)
            return
        worker.trial = None
        self._ended(trial, report)

    def _epoch(self, worker: Worker, trial: Running, record: Any) -> None:
        metric, rule = self.sweep.metric, self.sweep.early_terminate
        trial.epoch = record["epoch"]
        value = record.get(metric.name) if metric else None
        if value is not None:
            trial.value = value
        if rule:
            lags = value is not None and self.trials.lags(trial.number, trial.epoch, value)
            worker.send(lags)

    def _ended(self, trial: Running, report: Report) -> None:
        assert report.status is not None
        value = self.trials.end(trial.number, report.status, report.reason, report.external)
        self.took.append(time.monotonic() - trial.began)
        self._compare()
        self.screen.ended(self, trial, report, value)
        self._check_failures(report)

    def _check_failures(self, report: Report) -> None:
        """Stop a sweep in which nothing succeeds."""
        if report.status != "failed":
            self.failures_in_a_row = 0
            return
        at_first = self.failures_in_a_row + 1 == len(self.took)
        self.failures_in_a_row += report.external or at_first
        if self.failures_in_a_row == MAX_FAILURES_IN_A_ROW:
            which = "first" if at_first else "last"
            raise SweepError(f"The {which} three trials have all failed: {report.reason}")

    def _crashed(self, worker: Worker) -> None:
        """Take note of a worker that has died, and start its trial again, but not for ever."""
        trial, status = worker.trial, worker.process.exitcode
        if trial is None:
            self.idle_crashes += 1
            if self.idle_crashes > 2 * self.pool.size:
                raise SweepError("The workers die before they run a trial; is there enough memory?")
            return
        self.crashes[trial.number] += 1
        reason = f"its process died with status {status}"
        if self.crashes[trial.number] < MAX_CRASHES and self.trials.can_fail_again(trial.number):
            self.trials.end(trial.number, "failed", reason, external=True)
            self.trials.retry(trial.number)
            self.again.appendleft(trial.number)
        else:
            report = Report(trial.number, status="failed", reason=reason, external=True)
            self._ended(trial, report)

    def _compare(self) -> None:
        """Find the best of all, and whether it is good enough."""
        metric = self.sweep.metric
        for trial in self.trials.all:
            value = trial.user_attrs.get("objective")
            if metric is None or value is None or trial.number in self.compared:
                continue
            self.compared.add(trial.number)
            if self.best is None or metric.better(value, self.best[0]):
                self.best = value, trial.number
            self.reached = self.reached or metric.reached(value)


class Worker:
    """A process, and the line to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=work, args=(theirs,), daemon=True)
        with _interrupts_blocked():
            self.process.start()
        theirs.close()
        self.trial: Running | None = None
        self.used = False

    def send(self, message: Any) -> None:
        """Say something; a worker that has died does not hear it."""
        try:
            self.line.send(message)
        except OSError:
            self.process.join()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
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

    def __init__(self, size: int, interrupts: BoundedInterrupts) -> None:
        self.size, self.interrupts = size, interrupts
        self.workers: list[Worker] = []

    def start(self, number: float) -> None:
        """Start some workers before they are needed, since that takes them a while."""
        while len(self.workers) < number:
            self._start()

    def idle(self) -> Worker:
        """Return a worker without a trial, which may have to be started."""
        return next((worker for worker in self.workers if not worker.trial), None) or self._start()

    def remove(self, worker: Worker) -> None:
        """Forget a worker that has died."""
        worker.line.close()
        self.workers.remove(worker)

    def dismiss(self) -> None:
        """Ask workers to save what they run, and to end; one that has run nothing may just die."""
        for worker in self.workers:
            worker.line.close()
            if worker.trial or not worker.used:
                worker.process.terminate()
            worker.trial, worker.used = None, True

    def _start(self) -> Worker:
        try:
            with self.interrupts.held_off():
                self.workers.append(Worker())
        except OSError as error:
            raise SweepError(f"A worker process cannot be started: {error.strerror}.") from None
        return self.workers[-1]


@contextmanager
def worker_pool(size: int, interrupts: BoundedInterrupts) -> Iterator[WorkerPool]:
    """End the workers at the end; what they run is saved, to be taken up again."""
    pool = WorkerPool(size, interrupts)
    try:
        yield pool
    finally:
        pool.dismiss()
        until = min(time.monotonic() + 10, interrupts.deadline - KILL_SECONDS)
        for worker in pool.workers:
            worker.process.join(max(0.0, until - time.monotonic()))
        for worker in pool.workers:
            worker.process.kill()
