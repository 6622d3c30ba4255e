"""A stop signal reaches the code that handles it."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
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


def test_lost_interrupt_is_raised_again_when_the_handler_is_removed():
    with (
        pytest.raises(SignalInterrupt),
        install_signal_handler(HandlerWithoutDeadline(), [signal.SIGTERM]),
    ):
        lose_an_interrupt()


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


class Finalized:
    """Receives SIGTERM while it is deleted, or fails."""

    def __init__(self, is_interrupted):
        self.is_interrupted = is_interrupted

    def __del__(self):
        if self.is_interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError


def test_interrupt_in_a_finalizer_is_raised_later_and_not_printed(monkeypatch):
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    with install_signal_handler(HandlerWithoutDeadline(), [signal.SIGTERM]) as handler:
        Finalized(is_interrupted=False)
        (failure,) = printed
        assert failure.exc_type is ValueError
        with pytest.raises(SignalInterrupt), handler.defer_signals(), handler.allow_signals():
            Finalized(is_interrupted=True)
        assert len(printed) == 1
        handler.acknowledge_interrupt()


def interrupt_at_step(handler, number):
    """Return a trace function that interrupts the traced calls at their n-th step."""
    num_steps = 0

    def trace(frame, event, _):
        nonlocal num_steps
        frame.f_trace_opcodes = True
        num_steps += event == "opcode"
        if event == "opcode" and num_steps == number:
            handler.handle_signal(signal.SIGTERM, None)
        return trace

    return trace


def test_interrupt_at_any_step_of_the_wait_for_a_call_ends_the_wait_and_nothing_else(handler):
    is_interrupted, number = True, 0
    while is_interrupted:
        number += 1
        is_interrupted, previous_trace = False, sys.gettrace()
        sys.settrace(interrupt_at_step(handler, number))
        try:
            handler.run_in_thread(lambda: time.sleep(0.001))
        except SignalInterrupt:
            is_interrupted = True
        finally:
            sys.settrace(previous_trace)
        handler.acknowledge_interrupt()
        handler.deadline = math.inf
    assert number > 50


def test_acknowledged_interrupt_lets_the_cleanup_finish(handler):
    lose_an_interrupt()
    handler.acknowledge_interrupt()
    with handler.defer_signals():
        assert handler.run_in_thread(lambda: 1) == 1
