"""Upload run directories to Weights & Biases, no matter how they were tracked while running.

Of a run that is paused, the offline run can be written for `wandb sync`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nn.errors import SaveError, UserError
from nn.io.files import file_lock
from nn.io.paths import relpath
from nn.io.records import Summary, is_summary
from nn.runs.environment import preserve_environment
from nn.runs.history import is_history_record
from nn.runs.reader import SavedRun, find_runs
from nn.runs.trusted_config import parse_run_config
from nn.tracking.settings import Tracking, require_credentials
from nn.tracking.wandb_logger import (
    OFFLINE_RUN_PATTERN,
    WANDB_DIR,
    WandbLogger,
    format_reason,
)
from nn.training import HistoryRecord


def upload_runs(directories: list[Path]) -> int:
    """Upload the runs in some directories, print the URL of each, and return the exit status."""
    run_dirs = []
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory}: there is no such directory.")
        found_runs = find_runs(directory)
        if not found_runs:
            raise UserError(f"{directory}: there is no run in this directory.")
        run_dirs += found_runs
    for run_dir in run_dirs:
        _check_uploadable(run_dir)
    require_credentials(Path(sys.argv[0]).name)
    status = 0
    for run_dir in run_dirs:
        try:
            print(f"{relpath(run_dir)}: {_upload_run(run_dir)}", flush=True)
        except (UserError, SaveError) as error:  # a UserError: the run has changed since the check
            print(f"{relpath(run_dir)}: {error}", flush=True)
            status = 1
    return status


def _check_uploadable(run_dir: Path) -> None:
    """Refuse a run that cannot be uploaded, before the first upload starts."""
    with _lock_run(run_dir):
        saved_run = SavedRun(run_dir)
        parse_run_config(run_dir, saved_run.config)
        _read_tracking_settings(saved_run)
        _ = saved_run.predictions


def _upload_run(run_dir: Path) -> str:
    """Upload one run under its lock, and return its URL."""
    with _lock_run(run_dir):
        saved_run = SavedRun(run_dir)
        try:
            with preserve_environment(), TemporaryDirectory() as temp_dir:
                wandb_logger = _create_logger(saved_run, "online")
                history, summary = _read_results(saved_run)
                return wandb_logger.upload(history, summary, saved_run.predictions, Path(temp_dir))
        except UserError:
            raise
        except Exception as error:
            raise SaveError(
                f"the upload is incomplete and must be repeated: {format_reason(error)}"
            ) from None


def write_offline_runs(run_dirs: Iterable[Path]) -> None:
    """Write the offline W&B run of each paused run that is tracked offline and has none yet.

    The next session of such a run removes it, and writes the complete one when the run ends. What
    cannot be written costs a warning.
    """
    for run_dir in run_dirs:
        # of an untracked sweep with many trials, no file is read
        if not (run_dir / WANDB_DIR).is_dir() or any(run_dir.glob(OFFLINE_RUN_PATTERN)):
            continue
        try:
            _write_offline_run(run_dir)
        except (OSError, UserError) as error:
            print(f"{relpath(run_dir)}: no offline W&B run was written: {error}", file=sys.stderr)


def _write_offline_run(run_dir: Path) -> None:
    with _lock_run(run_dir), preserve_environment():
        saved_run = SavedRun(run_dir)
        tracking = _read_tracking_settings(saved_run)
        if tracking.mode == "online" or tracking.resolved_mode != "offline":
            return
        wandb_logger = _create_logger(saved_run, "offline")
        history, summary = _read_results(saved_run)
        if summary["status"] == "interrupted":  # of which `finish` would hardly wait for the end
            summary = {**summary, "status": "paused"}
        wandb_logger.init(history)
        wandb_logger.finish(summary, saved_run.predictions)


def _create_logger(saved_run: SavedRun, mode: str) -> WandbLogger:
    return WandbLogger(
        replace(_read_tracking_settings(saved_run), mode=mode),
        saved_run.path,
        parse_run_config(saved_run.path, saved_run.config),
        saved_run.environment,
        saved_run.class_names,
    )


def _read_results(saved_run: SavedRun) -> tuple[list[HistoryRecord], Summary]:
    """Return the history and the summary of a run; one without a summary has crashed."""
    history = [record for record in saved_run.history if is_history_record(record)]
    if is_summary(saved_run.summary):
        return history, saved_run.summary
    return history, {"status": "crashed", "epochs": len(history)}


@contextmanager
def _lock_run(run_dir: Path) -> Iterator[None]:
    """Lock a run directory against training; without a writable lock file nobody trains there."""
    with ExitStack() as stack:
        if os.access(run_dir / ".lock", os.W_OK):
            try:
                stack.enter_context(file_lock(run_dir / ".lock"))
            except OSError as error:
                reason = error.strerror
                raise UserError(
                    f"{relpath(run_dir / '.lock')} cannot be opened: {reason}."
                ) from None
        yield


def _read_tracking_settings(saved_run: SavedRun) -> Tracking:
    """Read the tracking settings of a run; unknown settings are ignored."""
    saved_settings: Any = saved_run.config.get("tracking")  # Tracking checks what it is given
    known_names = Tracking.__annotations__
    try:
        settings = {
            key: value for key, value in dict(saved_settings or {}).items() if key in known_names
        }
        return Tracking(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"{saved_run.path}/config.yaml: tracking is damaged: {error}") from None
