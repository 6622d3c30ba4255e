"""Worker process: imports everything once, then runs one trial after another."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import KW_ONLY, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from nn.config.compose import compose_config
from nn.config.search_path import set_config_dir
from nn.errors import DivergedError, SaveError, TrialPruned, UserError, is_retryable
from nn.io.files import acquire_lock, atomic_write
from nn.io.paths import TRIAL_FILE
from nn.io.serialization import JsonObject, to_json
from nn.runs.environment import is_same_processor
from nn.runs.reader import read_json
from nn.runs.run_directory import discard_run, find_resume_problem
from nn.runs.runner import run
from nn.runs.signals import SignalInterrupt
from nn.sweeps.processes import terminate_with_parent

if TYPE_CHECKING:
    from nn.sweeps.space import Point  # imports Optuna, which workers do not need

Decision = Literal["continue", "prune", "pause"]
"""What a running trial does after an epoch."""
LOCK_TIMEOUT_SECONDS = 30.0
"""Seconds to wait for a trial's directory while a dying process still holds its lock."""


@dataclass(frozen=True)
class TrialRequest:
    """A trial to run, or to resume if its directory already holds a run."""

    number: int
    parameters: Point
    overrides: tuple[str, ...]
    trial_dir: Path
    _: KW_ONLY
    replicate: int = 0
    replicate_of: int | None = None
    """Number of the first trial of its point, if it is not the first."""
    metric_name: str | None = None
    """Metric whose values the worker reports."""
    pause_epoch: int | None = None
    """Epoch after which the trial pauses, unless it is the last."""
    paused_epochs: int = 0
    """Epochs that it had when it paused before."""
    is_prunable: bool = False
    """Whether the worker waits after each epoch for a decision, which else may come at any time."""


@dataclass(frozen=True)
class EpochMessage:
    """Report of an epoch of a running trial."""

    epoch: int
    value: float | None
    """Value of the sweep's metric, if the epoch has one."""


@dataclass(frozen=True)
class ResultMessage:
    """Report of how a trial ended."""

    status: str
    reason: str | None = None
    is_external: bool = False
    """Whether a failure has a cause outside the trial, so that a retry may succeed."""


@dataclass(frozen=True)
class RestartMessage:
    """Report that a trial which had paused starts over."""

    reason: str


WorkerMessage = EpochMessage | RestartMessage | ResultMessage


def worker_main(connection: Connection, config_dir: Path | None) -> None:
    """Run a worker process; SIGINT must be blocked when this is called."""
    terminate_with_parent()
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    set_config_dir(config_dir)
    serve_requests(connection)


def serve_requests(connection: Connection) -> None:
    """Run the requested trials until the connection is closed."""
    while True:
        try:
            request: TrialRequest | Decision = connection.recv()
        except (EOFError, OSError):  # reset if the sweep ended before it received a message
            return
        if isinstance(request, str):
            continue  # a decision on a trial that had just ended
        try:
            with redirect_output(request.trial_dir):
                message = _run_trial(request, connection)
            connection.send(message)
        except (KeyboardInterrupt, EOFError, OSError):  # the sweep has ended or is ending
            return


@contextmanager
def redirect_output(trial_dir: Path) -> Iterator[None]:
    """Redirect output to a trial's output.txt; if it cannot be written, it is lost."""
    log = _open_log(trial_dir)
    try:
        with redirect_stdout(log), redirect_stderr(log):
            yield
    finally:
        with suppress(OSError):
            log.close()


def _open_log(trial_dir: Path) -> TextIO:
    try:
        trial_dir.mkdir(parents=True, exist_ok=True)
        return (trial_dir / "output.txt").open("a", encoding="utf-8")
    except OSError:
        return Path(os.devnull).open("w", encoding="utf-8")


def _write_trial_file(request: TrialRequest) -> None:
    """Record the trial in its directory; raise `UserError` if that holds another trial."""
    fields: JsonObject = {"number": request.number, "parameters": request.parameters}
    if request.replicate_of is not None:
        fields |= {"replicate": request.replicate, "replicate_of": request.replicate_of}
    record = to_json(fields)
    saved_record = read_json(request.trial_dir, TRIAL_FILE)
    if not saved_record:
        atomic_write(request.trial_dir / TRIAL_FILE, record.encode())
    elif saved_record != json.loads(record):
        raise UserError(f"{request.trial_dir} contains a trial of another sweep.")


def _run_trial(request: TrialRequest, connection: Connection) -> ResultMessage:
    """Run a trial and return how it ended."""
    decision: Decision = "continue"

    def report_epoch(epoch_record: Mapping[str, Any]) -> None:
        nonlocal decision
        value = epoch_record.get(request.metric_name) if request.metric_name else None
        try:
            connection.send(EpochMessage(epoch_record["epoch"], value))
            if request.is_prunable or connection.poll():
                decision = connection.recv()
        except (EOFError, OSError):
            raise SignalInterrupt(signal.SIGTERM) from None  # the sweep has ended
        if epoch_record["epoch"] == config.epochs:
            return
        if decision == "prune":
            raise TrialPruned
        if decision == "pause":  # as if the sweep had ended, but the worker remains
            raise SignalInterrupt(signal.SIGTERM)

    try:
        config = compose_config(request.overrides)
        request.trial_dir.mkdir(parents=True, exist_ok=True)
        _wait_until_unlocked(request.trial_dir)
        _write_trial_file(request)
        if request.paused_epochs:
            _restart_if_needed(request.trial_dir, connection)
        summary = run(
            config,
            request.trial_dir,
            (request.trial_dir / "config.yaml").exists(),
            report_epoch,
            pause_epoch=request.pause_epoch,
            defers_offline_run=True,
        )
        return ResultMessage(summary["status"])
    except DivergedError as error:
        return ResultMessage("diverged", str(error))
    except TrialPruned:
        return ResultMessage("pruned")
    except SignalInterrupt:
        if decision != "pause":
            raise
        return ResultMessage("interrupted")
    except Exception as error:
        reason = str(error)
        if not isinstance(error, UserError | SaveError):
            reason = f"{type(error).__name__}: {error}"
            with suppress(OSError):
                traceback.print_exc()
        return ResultMessage("failed", reason, is_external=is_retryable(error))


def _restart_if_needed(trial_dir: Path, connection: Connection) -> None:
    """Remove a run that cannot continue from where it paused, and report that it starts over."""
    if not (trial_dir / "config.yaml").exists():
        reason = "its checkpoint is on another machine."
    elif not is_same_processor(read_json(trial_dir, "environment.json")):
        reason = "its checkpoint is from another kind of processor."
    else:
        reason = find_resume_problem(trial_dir) or ""
    if reason:
        connection.send(RestartMessage(reason))
        discard_run(trial_dir, reason)


def _wait_until_unlocked(trial_dir: Path) -> None:
    """Wait for a dying process to release the directory, up to `LOCK_TIMEOUT_SECONDS`."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        with suppress(UserError):
            os.close(acquire_lock(trial_dir / ".lock"))
            return
        time.sleep(0.1)
