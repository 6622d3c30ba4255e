"""When a signal may strike: Ctrl-C, the end of a job, a terminal that goes away."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import FrameType
from typing import Any, NoReturn, TypeVar

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
STOP_SECONDS = 8.0
"""Seconds from the signal to the end of a process whose stop is bounded."""
LAST_CALLS_SECONDS = 3.0
"""Seconds from the signal within which calls that may hang are still waited for."""
hangs_at_exit = threading.Event()
"""Set when a library would wait at the process's exit for something that does not answer."""

Result = TypeVar("Result")
Taker = TypeVar("Taker", bound="Interrupts")


class Stopped(KeyboardInterrupt):
    """A signal has asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """Raises `Stopped` when a signal comes, but not while it is held off."""

    def __init__(self) -> None:
        self._held, self._waiting = 0, 0

    def strike(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self._waiting = number
        if not self._held:
            self._raise()

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Let what must not be torn end first."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if self._waiting and not self._held:
                self._raise()

    @contextmanager
    def let_in(self) -> Iterator[None]:
        """Be open to signals for a while within what holds them off."""
        held, self._held = self._held, 0
        try:
            if self._waiting:
                self._raise()
            yield
        finally:
            self._held = held

    def _raise(self) -> None:
        number, self._waiting = self._waiting, 0
        raise Stopped(number)


class BoundedInterrupts(Interrupts):
    """Interrupts of a process that ends `STOP_SECONDS` after the first signal at the latest.

    Calls that may hang run in a thread of their own, so that the main thread is always free to
    take a signal. A second thread ends the process if the orderly way out takes too long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deadline = math.inf
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._signals: SimpleQueue[int] = SimpleQueue()  # put() is safe in a signal handler
        self._caller = threading.Thread(target=self._call, daemon=True)
        self._caller.start()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def stopping(self) -> bool:
        """Whether a signal has come."""
        return self.deadline < math.inf

    def strike(self, number: int, frame: FrameType | None) -> None:
        """Take the first signal, and end at once by a Ctrl-C after it."""
        if not self.stopping:
            self.deadline = time.monotonic() + STOP_SECONDS
            self._signals.put(number)
            super().strike(number, frame)
        elif number == signal.SIGINT:
            end_at_once(number)

    def call(self, function: Callable[[], Result]) -> Result:
        """Run a function that may hang; signals come in meanwhile, and leave it to itself.

        Calls run one after the other. Once a signal has come, they are waited for only as long as
        `LAST_CALLS_SECONDS` allows; `TimeoutError` says that this was not enough.
        """
        if threading.current_thread() is self._caller:
            return function()
        future: Future[Result] = Future()
        self._calls.put((future, function))
        with self.let_in():
            if not self.stopping:
                return future.result()
            until = self.deadline - STOP_SECONDS + LAST_CALLS_SECONDS
            return future.result(max(0.0, until - time.monotonic()))

    def _call(self) -> None:
        while True:
            future, function = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
            del future, function  # neither keeps what it refers to alive until the next call

    def _watch(self) -> None:
        number = self._signals.get()
        time.sleep(STOP_SECONDS)
        end_at_once(number)


class ParentInterrupts(Interrupts):
    """Interrupts of a process whose child processes must not outlive it.

    At the first signal they end in their own way, within `STOP_SECONDS` or else by force; at a
    second one by force.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ending: list[BaseProcess] = []

    def strike(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self._ending:
            self._kill()
            return
        self._ending = multiprocessing.active_children()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._ending:
            child.terminate()
        for child in self._ending:
            child.join(max(0.0, deadline - time.monotonic()))
        self._kill()
        super().strike(number, frame)

    def _kill(self) -> None:
        for child in self._ending:
            if child.pid is not None and child.is_alive():  # joblib's have no kill()
                os.kill(child.pid, signal.SIGKILL)


def is_child() -> bool:
    """Whether another process has started this one to work for it."""
    return multiprocessing.parent_process() is not None


def interruptible() -> AbstractContextManager[Interrupts]:
    """Turn signals into `Stopped`, all but those that the process was started to ignore."""
    return handled_by(Interrupts())


@contextmanager
def handled_by(interrupts: Taker) -> Iterator[Taker]:
    """Have signals taken, all but those that the process was started to ignore."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, interrupts.strike)
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_by(interrupt: KeyboardInterrupt) -> NoReturn:
    """End the process as the signal has asked: by that signal, or with 130 after Ctrl-C."""
    number = getattr(interrupt, "number", signal.SIGINT)
    if number != signal.SIGINT:
        with suppress(OSError):  # the terminal may be what has gone away
            sys.stdout.flush()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(130)


def end_at_once(number: int) -> NoReturn:
    """End the process as the signal has asked, from any thread and whatever the others wait for."""
    if number != signal.SIGINT:
        ctypes.CDLL(None).signal(number, int(signal.SIG_DFL))  # Python's needs the main thread
        signal.raise_signal(number)
    os._exit(130)
