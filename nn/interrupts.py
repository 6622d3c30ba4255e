"""When a signal may strike: Ctrl-C, the end of a job, a terminal that goes away."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
hangs_at_exit = threading.Event()
"""Set when a library would wait at the process's exit for something that does not answer."""


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


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Turn signals into `Stopped`, all but those that the process was started to ignore."""
    interrupts, before = Interrupts(), {}
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
        sys.stdout.flush()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(130)
