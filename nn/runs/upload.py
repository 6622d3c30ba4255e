"""Copy runs from their directories to Weights & Biases: upload them, or write offline runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nn.errors import SaveError, UserError
from nn.io.command_line import format_command
from nn.io.files import file_lock
from nn.io.paths import relpath
from nn.io.records import Summary, is_summary
from nn.runs.environment import preserve_environment
from nn.runs.history import is_history_record
from nn.runs.reader import SavedRun, find_runs
from nn.runs.trusted_config import parse_run_config
from nn.tracking.settings import Tracking, require_credentials
from nn.tracking.wandb_run import RUN_PATTERN, WANDB_DIR, WandbRun, format_reason
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
                history, summary = _read_results(saved_run)
                return _create_wandb_run(saved_run).upload(
                    history, summary, saved_run.predictions, Path(temp_dir)
                )
        except UserError:
            raise
        except Exception as error:
            raise SaveError(
                f"the upload is incomplete and must be repeated: {format_reason(error)}"
            ) from None


def is_offline_run_due(run_dir: Path) -> bool:
    """Whether the offline W&B run of a run that does not train now is still to be written."""
    # of an untracked sweep with many trials, no file is read
    return (run_dir / WANDB_DIR).is_dir() and not any(run_dir.glob(RUN_PATTERN))


def write_offline_run(run_dir: Path) -> None:
    """Write the offline W&B run of a run that is tracked offline, unless there is one; print where.

    The next session of a run that continues removes it.

    Raises:
        SaveError: It cannot be written.
    """
    try:
        with _lock_run(run_dir), preserve_environment():
            saved_run = SavedRun(run_dir)
            tracking = _read_tracking_settings(saved_run)
            is_offline = tracking.mode != "online" and tracking.resolved_mode == "offline"
            if is_offline and is_offline_run_due(run_dir):
                history, summary = _read_results(saved_run)
                wandb_run = _create_wandb_run(saved_run)
                location = wandb_run.write_offline(history, summary, saved_run.predictions)
                with suppress(OSError):
                    print(location)
    except Exception as error:
        raise SaveError(
            f"W&B failed ({format_reason(error)}); the run directory has everything, and "
            f"{format_command('upload', relpath(run_dir))} uploads it."
        ) from None


def _create_wandb_run(saved_run: SavedRun) -> WandbRun:
    return WandbRun(
        _read_tracking_settings(saved_run),
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
