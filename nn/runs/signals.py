"""Signal handling: SIGINT (Ctrl-C), SIGTERM (a job ends) and SIGHUP (a terminal closes)."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn, TypeVar

HANDLED_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
STOP_TIMEOUT_SECONDS = 8.0
"""Seconds from the first signal after which a process with `BoundedSignalHandler` is ended."""
PENDING_CALLS_TIMEOUT_SECONDS = 3.0
"""Seconds from the first signal during which calls that may hang are still waited for."""
hangs_at_exit = threading.Event()
"""Set when a library's exit hooks would wait for something that does not respond."""

Result = TypeVar("Result")
Handler = TypeVar("Handler", bound="SignalHandler")


class SignalInterrupt(KeyboardInterrupt):
    """Raised when a signal asks the process to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class SignalHandler:
    """Raises `SignalInterrupt` on a signal, at once or when signals are no longer deferred.

    An interrupt is lost if it is raised within a finalizer or a library that catches everything.
    Until `acknowledge_interrupt` is called, it is therefore raised again at the end of each
    `defer_signals`, at the start of each `allow_signals`, and when the handler is removed.
    """

    def __init__(self) -> None:
        self._defer_depth, self._pending_signal = 0, 0

    def handle_signal(self, signum: int, _frame: FrameType | None) -> None:
        """Raise `SignalInterrupt`, or remember the signal while signals are deferred."""
        self._pending_signal = signum
        if not self._defer_depth:
            self.raise_pending_interrupt()

    def acknowledge_interrupt(self) -> None:
        """Do not raise the interrupt again, because it has reached the code that handles it."""
        self._pending_signal = 0

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Defer signals until the block exits."""
        self._defer_depth += 1
        try:
            yield
        finally:
            self._defer_depth -= 1
            if not self._defer_depth:
                self.raise_pending_interrupt()

    @contextmanager
    def allow_signals(self) -> Iterator[None]:
        """Let signals interrupt this block, although it runs within `defer_signals`."""
        saved_depth, self._defer_depth = self._defer_depth, 0
        try:
            self.raise_pending_interrupt()
            yield
        finally:
            self._defer_depth = saved_depth

    def raise_pending_interrupt(self) -> None:
        """Raise the interrupt of a signal that has not reached the code that handles it."""
        if self._pending_signal:
            raise SignalInterrupt(self._pending_signal)


class BoundedSignalHandler(SignalHandler):
    """The handler of a process that ends within `STOP_TIMEOUT_SECONDS` of the first signal.

    Calls that may hang run in a separate thread, so that the main thread can always handle
    signals. Another thread ends the process if an orderly exit takes too long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deadline = math.inf
        self._call_queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._signal_queue: SimpleQueue[int] = SimpleQueue()  # put() is safe in a signal handler
        self._call_thread = threading.Thread(target=self._process_calls, daemon=True)
        self._call_thread.start()
        threading.Thread(target=self._exit_at_deadline, daemon=True).start()

    @property
    def is_stopping(self) -> bool:
        """Whether a signal has been received."""
        return self.deadline < math.inf

    def handle_signal(self, signum: int, frame: FrameType | None) -> None:
        """Handle the first signal; exit immediately on a later Ctrl-C."""
        if not self.is_stopping:
            self.deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
            self._signal_queue.put(signum)
            super().handle_signal(signum, frame)
        elif signum == signal.SIGINT:
            exit_immediately(signum)

    def run_in_thread(self, function: Callable[[], Result]) -> Result:
        """Run a function that may hang; a signal interrupts the wait for it, not the function.

        Calls run one after another. After a signal they are waited for until
        `PENDING_CALLS_TIMEOUT_SECONDS` have passed.

        Raises:
            TimeoutError: The function did not return in time, or raised this itself.
        """
        if threading.current_thread() is self._call_thread:
            return function()
        future: Future[Result] = Future()
        # an interrupt within Future.result() may leave its lock released, which is a RuntimeError
        is_running = threading.Lock()
        is_running.acquire()
        self._call_queue.put(partial(_resolve, future, function, is_running))
        with self.allow_signals():
            timeout = -1.0  # wait forever
            if self.is_stopping:
                first_signal = self.deadline - STOP_TIMEOUT_SECONDS
                calls_deadline = first_signal + PENDING_CALLS_TIMEOUT_SECONDS
                timeout = max(0.0, calls_deadline - time.monotonic())
            is_running.acquire(timeout=timeout)
        return future.result(0)

    def _process_calls(self) -> None:
        while True:  # without a variable, which would keep the objects of a call alive
            self._call_queue.get()()

    def _exit_at_deadline(self) -> None:
        signum = self._signal_queue.get()
        time.sleep(STOP_TIMEOUT_SECONDS)
        exit_immediately(signum)


def _resolve(
    future: Future[Result], function: Callable[[], Result], is_running: threading.Lock
) -> None:
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)
    finally:
        is_running.release()


class ParentSignalHandler(SignalHandler):
    """The handler of a process whose worker processes must not outlive it.

    The first signal terminates the workers that are busy, waits until they have recorded how their
    work ended, but at most `STOP_TIMEOUT_SECONDS`, and kills all; a second signal kills them at
    once. Idle workers live on until then: an executor that loses one kills the others.
    """

    def __init__(self, find_busy_pids: Callable[[], set[int]]) -> None:
        super().__init__()
        self._find_busy_pids = find_busy_pids
        self._is_stopping = False

    def handle_signal(self, signum: int, frame: FrameType | None) -> None:
        """Stop the child processes, then raise `SignalInterrupt`."""
        children = multiprocessing.active_children()
        if not self._is_stopping:
            self._is_stopping = True
            self._terminate_busy(children)
        for child in children:
            if child.pid is not None and child.is_alive():  # joblib's have no kill()
                os.kill(child.pid, signal.SIGKILL)
        super().handle_signal(signum, frame)

    def _terminate_busy(self, children: Sequence[BaseProcess]) -> None:
        terminated: set[BaseProcess] = set()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            busy_pids = self._find_busy_pids()
            busy = {child for child in children if child.pid in busy_pids and child.is_alive()}
            if not busy:
                break
            for child in busy - terminated:
                child.terminate()
            terminated |= busy
            time.sleep(0.02)


def is_child_process() -> bool:
    """Whether this process was started by `multiprocessing`."""
    return multiprocessing.parent_process() is not None


def interruptible(
    signals: Sequence[int] = HANDLED_SIGNALS,
) -> AbstractContextManager[SignalHandler]:
    """Raise `SignalInterrupt` on signals, except those that the process was started to ignore."""
    return install_signal_handler(SignalHandler(), signals)


@contextmanager
def install_signal_handler(
    handler: Handler, signals: Sequence[int] = HANDLED_SIGNALS
) -> Iterator[Handler]:
    """Install a handler for signals, except those that the process was started to ignore."""
    previous_handlers, previous_hook = {}, sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        sys.unraisablehook = partial(_report_unraisable, previous_hook)
        for signum in signals:
            if signal.getsignal(signum) != signal.SIG_IGN:
                previous_handlers[signum] = signal.signal(signum, handler.handle_signal)
    try:
        yield handler
    finally:
        for signum, previous_handler in previous_handlers.items():
            signal.signal(signum, previous_handler)
        sys.unraisablehook = previous_hook
        handler.raise_pending_interrupt()


def _report_unraisable(
    hook: Callable[[sys.UnraisableHookArgs], object], unraisable: sys.UnraisableHookArgs
) -> None:
    """Report an exception in a finalizer, except an interrupt, which will be raised again."""
    if not isinstance(unraisable.exc_value, SignalInterrupt):
        hook(unraisable)


def exit_by_signal(interrupt: KeyboardInterrupt) -> NoReturn:
    """End the process: by the signal that interrupted it, or with status 130 after Ctrl-C."""
    signum = getattr(interrupt, "signum", signal.SIGINT)
    if signum != signal.SIGINT:
        with suppress(OSError):  # the terminal may have closed
            sys.stdout.flush()
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    sys.exit(130)


def exit_immediately(signum: int) -> NoReturn:
    """End the process like `exit_by_signal`, but from any thread and without cleanup."""
    if signum != signal.SIGINT:
        # Python's signal.signal() works in the main thread only
        ctypes.CDLL(None).signal(signum, int(signal.SIG_DFL))
        signal.raise_signal(signum)
    os._exit(130)
