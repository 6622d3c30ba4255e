"""A stop signal reaches the code that handles it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from nn.runs.signals import BoundedSignalHandler, SignalInterrupt, install_signal_handler


class HandlerWithoutDeadline(BoundedSignalHandler):
    """Leaves the process of the tests alive, which the deadline would end seconds later."""

    def _exit_at_deadline(self):
        pass


@pytest.fixture
def handler():
    with install_signal_handler(HandlerWithoutDeadline(), [signal.SIGTERM]) as handler:
        yield handler
        handler.acknowledge_interrupt()


def lose_an_interrupt():
    """Receive SIGTERM where exceptions are dropped, as in a finalizer or a careless library."""
    with suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)


def test_lost_interrupt_is_raised_again_at_the_next_deferral(handler):
    lose_an_interrupt()
    with pytest.raises(SignalInterrupt), handler.defer_signals():
        pass


def test_lost_interrupt_takes_precedence_over_the_errors_it_causes(handler):
    def fail_after_an_interrupt():
        with handler.defer_signals():
            with suppress(BaseException), handler.allow_signals():
                os.kill(os.getpid(), signal.SIGTERM)
            raise OSError("the storage does not respond")

    with pytest.raises(SignalInterrupt):
        fail_after_an_interrupt()


def test_call_in_a_thread_is_not_awaited_after_a_lost_interrupt(handler):
    lose_an_interrupt()
    with pytest.raises(SignalInterrupt):
        handler.run_in_thread(lambda: None)


def test_acknowledged_interrupt_lets_the_cleanup_finish(handler):
    lose_an_interrupt()
    handler.acknowledge_interrupt()
    with handler.defer_signals():
        assert handler.run_in_thread(lambda: 1) == 1
