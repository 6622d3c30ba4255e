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

from nn.errors import Mistake
from nn.interrupts import Interrupts
from nn.sweeps.search import Search
from nn.sweeps.space import words
from nn.sweeps.worker import Order, Report, work

LOOK = 1.0
"""Seconds from one look at what other machines do to the next."""
TRIES = 2
"""How often a trial may take its process down with it."""


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
        workers: list[Worker],
        count: int | None,
        fixed: tuple[Sequence[str], Sequence[str]],
        screen: Screen,
        interrupts: Interrupts,
    ) -> None:
        self.trials, self.count, self.fixed, self.screen = trials, count, fixed, screen
        self.interrupts = interrupts
        self.sweep = trials.sweep
        self.again = deque(trials.take_up())
        self.looked = time.monotonic()
        self.deaths: Counter[int] = Counter()
        self.compared: set[int] = set()
        self.best: tuple[float, int] | None = None
        self.took: list[float] = []
        self.began = time.monotonic()
        self.reached = False
        self.failed: list[str | None] = []
        self._compare()
        self.workers = workers

    @property
    def running(self) -> list[Running]:
        """The trials under way."""
        return [worker.trial for worker in self.workers if worker.trial]

    @property
    def reason(self) -> str:
        """Why nothing more is begun."""
        if self.reached and self.sweep.metric:
            return f"The target {self.sweep.metric.target:g} is reached."
        if self.trials.exhausted(None):
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
            by_line = {worker.line: worker for worker in self.workers}
            sentinels = [worker.process.sentinel for worker in self.workers]
            heard = wait([*by_line, *sentinels], timeout=0.25)
            with self.interrupts.held_off():
                for each in heard:
                    if isinstance(each, Connection):
                        self._listen(by_line[each])

    def _keep_busy(self) -> None:
        """Give each worker a trial, and dead ones a successor."""
        for place, worker in enumerate(self.workers):
            if not worker.process.is_alive():
                self.workers[place] = self._replaced(worker)
        for worker in self.workers:
            if worker.trial is None:
                self._order(worker)

    def _look_around(self) -> None:
        """See now and then what other machines have done, and take up what they left."""
        if self.trials.shared and time.monotonic() - self.looked > LOOK:
            self.again += self.trials.take_up()
            self._compare()
            self.looked = time.monotonic()

    def _order(self, worker: Worker) -> None:
        """Give a worker the next trial, if there is one."""
        if self.again:
            number = self.again.popleft()
        elif self.reached or self.trials.exhausted(self.count):
            return
        else:
            begun = self.trials.begin(self.count)
            if begun is None:
                return
            number = begun
        before, after = self.fixed
        order = Order(
            number,
            (*before, *words(self.trials.point(number)), *after),
            self.trials.path(number),
            judged=self.sweep.early_terminate is not None,
        )
        worker.trial = Running(number)
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
        value = self.trials.end(trial.number, report.status, report.reason)
        self.took.append(time.monotonic() - trial.began)
        self._compare()
        self.screen.ended(self, trial, report, value)
        if report.status == "failed":
            self.failed.append(report.reason)
            if len(self.failed) == len(self.took) == 3:
                raise Mistake(f"The first three trials have all failed: {report.reason}")

    def _replaced(self, worker: Worker) -> Worker:
        """Put a new worker in the place of a dead one, and see to the trial that it had."""
        worker.line.close()
        trial, key = worker.trial, -1 if worker.trial is None else worker.trial.number
        self.deaths[key] += 1
        if trial is None and self.deaths[key] > 2 * len(self.workers):
            raise Mistake("The workers die before they run a trial; is there enough memory?")
        if trial and self.deaths[key] < TRIES:
            self.again.appendleft(trial.number)
        elif trial:
            status = worker.process.exitcode
            reason = f"its process died {TRIES} times, at last with status {status}"
            self._ended(trial, Report(trial.number, status="failed", reason=reason))
        return Worker()

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


@contextmanager
def crew(size: int) -> Iterator[list[Worker]]:
    """Start workers, and end them; what they run is saved, to be taken up again."""
    workers = [Worker() for _ in range(size)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.line.close()
            if worker.trial and worker.process.is_alive():
                worker.process.terminate()
        until = time.monotonic() + 10
        for worker in workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
