"""Log a run to Weights & Biases while it trains.

Any failure of W&B costs at most one warning; the run continues.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

from nn.config.schema import Config
from nn.io.command_line import format_command
from nn.io.paths import relpath
from nn.io.records import Summary
from nn.predictions import Predictions
from nn.tracking.settings import Tracking, has_credentials
from nn.tracking.wandb_run import (
    WANDB_DIR,
    WandbRun,
    format_reason,
    init_timeout_seconds,
    retry_on_server_error,
    teardown,
)
from nn.training import HistoryRecord

GRACE_SECONDS = 1.0
"""After a signal, time for W&B to respond, and again for it to receive the end of the run."""
AGENT_GRACE_SECONDS = 5.0
"""The same if W&B or its agent has sent the signal, so that the server can be reached."""
WAIT_MESSAGE_DELAY_SECONDS = 3.0
"""How long to wait silently for W&B at the end of a run, before a message explains the wait."""
OFFLINE_FALLBACK_SECONDS = 20.0
"""Time to give up on W&B and start an offline run instead."""


class WandbLogger:
    """Logs one run to W&B in a background thread, for which only `finish` waits."""

    def __init__(
        self,
        tracking: Tracking,
        run_dir: Path,
        config: Config,
        environment: Mapping[str, object],
        class_names: Sequence[str],
    ) -> None:
        self.tracking, self.mode, self.run_dir = tracking, tracking.resolved_mode, run_dir
        self._run = WandbRun(
            tracking, run_dir, config, environment, class_names, lambda: self._stop_training()
        )
        self._is_disabled = self._has_warned = False
        self._is_stop_requested = self._is_finishing = self._is_abandoned = False
        self._init_deadline = 0.0
        self._init_done, self._sender_thread = Event(), Thread()
        self._call_queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def init(
        self,
        restored_records: Iterable[HistoryRecord] = (),
        resume: bool = False,
        defers_offline_run: bool = False,
    ) -> None:
        """Start connecting to W&B in the background; if that fails, log to an offline run.

        Args:
            restored_records: The history of earlier sessions; W&B gets what it does not have.
            resume: Whether to continue a run that W&B may already have.
            defers_offline_run: Whether an offline run is written from the run directory later; the
                directory notes that.
        """
        is_deferred = defers_offline_run and self.mode == "offline"
        if is_deferred:
            self._run.remove_offline_runs()
            with suppress(OSError):
                (self.run_dir / WANDB_DIR).mkdir(exist_ok=True)
        self._is_disabled = is_deferred or self.mode == "disabled"
        if self._is_disabled:
            return
        self._call_queue.put(lambda: self._run.log_missing(restored_records))
        self._run.set_variables(self.run_dir)
        self._init_deadline = time.monotonic() + init_timeout_seconds()
        # without credentials wandb asks for them on a terminal, so this is done before training
        if self.mode == "offline" or not has_credentials():
            self._disable_on_error(partial(self._connect, resume))
        if not self._is_disabled:
            send = partial(self._disable_on_error, partial(self._process_calls, resume))
            self._sender_thread = Thread(target=send, daemon=True)
            self._sender_thread.start()

    def log(self, record: HistoryRecord) -> None:
        """Queue an epoch's history record."""
        if not self._is_disabled:
            self._call_queue.put(lambda: self._run.log(record))

    def finish(self, summary: Summary, predictions: Predictions | None) -> str | None:
        """Send the result, finish the W&B run, and return where it can be found, if it exists."""
        self._is_finishing = True
        # the thread has no ident if a signal came before it was started
        if self._is_disabled or not self._sender_thread.ident:
            return None
        self._call_queue.put(lambda: self._run.finish(summary, predictions))
        self._call_queue.put(None)
        try:
            if summary["status"] == "interrupted":
                is_stopped_by_wandb = self._is_stop_requested or self._run.ids.is_agent_run
                grace_seconds = AGENT_GRACE_SECONDS if is_stopped_by_wandb else GRACE_SECONDS
                self._init_done.wait(grace_seconds)
                self._sender_thread.join(grace_seconds if self._run.is_started else 0)
            else:
                self._wait_for_sender()
        finally:
            self._is_abandoned = self._sender_thread.is_alive()
        return self._run.format_location()

    @property
    def hangs_at_exit(self) -> bool:
        """Whether wandb's exit hook would wait for a server that does not respond."""
        return self._is_abandoned and not self._run.is_started

    def _wait_for_sender(self) -> None:
        """Wait until W&B has everything or the timeouts have passed; explain a long wait."""
        if not self._init_done.wait(WAIT_MESSAGE_DELAY_SECONDS):
            seconds = max(0.0, self._init_deadline - time.monotonic())
            with suppress(OSError):
                print(
                    f"Waiting up to {seconds:.0f} s for W&B to respond; "
                    "after that the run stays offline.",
                    flush=True,
                )
        self._init_done.wait(
            max(0.0, self._init_deadline - time.monotonic()) + OFFLINE_FALLBACK_SECONDS
        )
        self._sender_thread.join(self.tracking.finish_timeout + GRACE_SECONDS)
        if self._sender_thread.is_alive():
            self._warn(f"not finished within {self.tracking.finish_timeout:g} s", self._upload_hint)

    def _connect(self, resume: bool) -> None:
        """Start the W&B run, or an offline run if that fails."""
        try:
            if self.mode == "online":
                try:
                    return self._run.start("online", resume=resume)
                except Exception as error:
                    if self._is_abandoned:
                        raise
                    self._warn(format_reason(error), "the run stays offline")
                    with suppress(Exception, SystemExit):
                        teardown()  # else it keeps hold of the failed run
                    self.mode = "offline"
            self._run.remove_offline_runs()
            self._run.start("offline")
        finally:
            self._init_done.set()

    def _stop_training(self) -> None:
        """Stop training on request from W&B, unless it has ended."""
        if not self._is_finishing:
            self._is_stop_requested = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _process_calls(self, resume: bool) -> None:
        """Connect to W&B, then make the queued calls in order, in the sender thread."""
        if not self._run.is_started:
            self._connect(resume)
        timeout_seconds = 0.0 if self.mode == "offline" else self.tracking.finish_timeout
        while call := self._call_queue.get():
            retry_on_server_error(call, timeout_seconds)

    @property
    def _upload_hint(self) -> str:
        return f"{format_command('upload', relpath(self.run_dir))} uploads it"

    def _disable_on_error(self, call: Callable[[], None]) -> None:
        """Make a call; if it fails, warn and stop logging to W&B."""
        try:
            call()
        except Exception as error:
            self._is_disabled = True
            self._warn(format_reason(error), self._upload_hint)

    def _warn(self, reason: str, hint: str) -> None:
        if not (self._has_warned or self._is_abandoned):
            self._has_warned = True
            message = f"W&B failed ({reason}); the run directory has everything, and {hint}."
            with suppress(OSError):
                print(message, file=sys.stderr)
