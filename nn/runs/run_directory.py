"""The directory of a run, which is the source of truth about it.

config.yaml              the resolved configuration, written first
environment.json         machine, package versions and git commit; the format version, and the
                         number of epochs that was planned at the start
history.jsonl            one line per epoch, written when it ends
checkpoints/             training states at epoch boundaries: last, previous and best
model.json               the layers, with output shapes and numbers of parameters
predictions.safetensors  the selected weights' predictions on the test set, with some images
summary.json             the result, written last
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from shutil import rmtree
from typing import Self, TextIO

from nn.config.schema import ADDED_SETTINGS, Config
from nn.data.source import Dataset
from nn.errors import SaveError, UserError
from nn.io.command_line import format_command
from nn.io.files import atomic_write, file_lock, read_regular_file, staged_file
from nn.io.paths import MODEL_FILE, PREDICTIONS_FILE, RUN_FILES, checkpoint_path, relpath
from nn.io.records import Summary
from nn.io.serialization import to_json, to_yaml
from nn.predictions import Predictions
from nn.runs import checkpoint
from nn.runs.environment import Environment
from nn.runs.history import (
    MAX_HISTORY_BYTES,
    HistoryWriter,
    is_history_record,
    parse_history,
    verify_prefix,
)
from nn.runs.reader import RUN_FORMAT_VERSION, read_json
from nn.runs.training_state import (
    Snapshot,
    SnapshotMetadata,
    StateMismatchError,
    TrainingState,
)
from nn.training import HistoryRecord

RESUME_CHECKPOINTS = ("last", "previous")
CHECKPOINTS = (*RESUME_CHECKPOINTS, "best")
WARNING_INTERVAL_SECONDS = 10
"""Minimum time between two warnings about a failing disk."""


class RunDirectory:
    """A run directory, locked so that only this process writes to it."""

    def __init__(
        self,
        path: Path,
        config: Config,
        environment: Mapping[str, object],
        history: HistoryWriter,
        restored_history: bytes = b"",
        earlier_sessions: Sequence[list[str]] = (),
    ) -> None:
        self.path, self.config, self.environment = path, config, environment
        self.history, self._restored_history = history, restored_history
        self._last_save_time, self._last_warning_time = time.monotonic(), -math.inf
        self._earlier_sessions, self._session_start = earlier_sessions, _timestamp()

    @classmethod
    @contextmanager
    def create(cls, path: Path, config: Config, environment: Environment) -> Iterator[Self]:
        """Start a new run; if that fails, no file of it is left behind."""
        with _os_errors_as_user_errors(path), _remove_files_on_error(path), ExitStack() as stack:
            path.mkdir(parents=True, exist_ok=True)
            if (path / "config.yaml").exists():
                raise FileExistsError
            stack.enter_context(file_lock(path / ".lock"))
            history = stack.enter_context(closing(HistoryWriter(path / "history.jsonl")))
            history.truncate_to(b"")
            (path / "checkpoints").mkdir(exist_ok=True)
            if run_id := read_json(path, "environment.json").get("run_id"):
                environment = {**environment, "run_id": str(run_id)}  # it starts over
            versioned_environment = {
                "format_version": RUN_FORMAT_VERSION,
                "initial_epochs": config.epochs,
                **environment,
            }
            atomic_write(path / "environment.json", _encode_json(versioned_environment))
            atomic_write(path / "config.yaml", to_yaml(config.model_dump()).encode())
            open_files = stack.pop_all()
        with open_files:
            yield cls(path, config, environment, history)

    @classmethod
    @contextmanager
    def resume(
        cls, path: Path, config: Config, state: TrainingState, dataset_sha256: str
    ) -> Iterator[Self]:
        """Resume a run: restore the training state, then open the directory for writing.

        Raises:
            UserError: The run cannot be resumed; nothing has been written.
            SaveError: The directory cannot be written.
        """
        with ExitStack() as stack:
            with _os_errors_as_user_errors(path):
                stack.enter_context(file_lock(path / ".lock"))
                environment = read_json(path, "environment.json")
                restored_history, earlier_sessions = _restore_checkpoint(
                    path, config, state, dataset_sha256
                )
            try:
                _prepare_resume(path, config)
                history = stack.enter_context(closing(HistoryWriter(path / "history.jsonl")))
                history.truncate_to(restored_history)
            except OSError as error:
                raise SaveError(
                    f"{path} cannot be written: {error.strerror}; once that is fixed, "
                    f"{format_command('train', f'resume={relpath(path)}')} resumes the run."
                ) from None
            progress = "starts over: it has no checkpoint"
            if state.epoch:
                progress = f"resumes after epoch {state.epoch}"
            _print(f"The run {progress}.", sys.stdout)
            yield cls(path, config, environment, history, restored_history, earlier_sessions)

    @property
    def restored_records(self) -> list[HistoryRecord]:
        """The epochs of earlier sessions."""
        records = parse_history(self._restored_history.splitlines()) or []
        return list(filter(is_history_record, records))

    def append_history(self, record: HistoryRecord) -> None:
        """Append a record to the history; if writing fails, warn and retry with the next one."""
        with self._warn_on_os_error("history.jsonl"):
            self.history.append(record)

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether the configured number of seconds has passed since the last checkpoint."""
        interval_seconds = self.config.checkpoint_every
        return (
            interval_seconds is not None
            and time.monotonic() - self._last_save_time >= interval_seconds
        )

    def save_checkpoint(self, state: TrainingState, dataset: Dataset) -> None:
        """Write the best and the last checkpoint; the one that was last becomes previous."""
        self._last_save_time = time.monotonic()
        if not state.epoch:
            return
        metadata: SnapshotMetadata = {
            "dataset_sha256": dataset.sha256,
            "input_spec": dataset.input_spec.to_dict(),
            "config": self.config.model_dump(),
            "sessions": self._sessions,
        }
        last, previous = (checkpoint_path(self.path, name) for name in RESUME_CHECKPOINTS)
        with self._warn_on_os_error("A checkpoint"):
            self.history.sync()
            if best := state.best_snapshot:
                best_path = checkpoint_path(self.path, "best")
                checkpoint.save(best_path, Snapshot(best.arrays, best.metadata | metadata))
            snapshot = Snapshot(state.snapshot.arrays, state.snapshot.metadata | metadata)
            checkpoint.save(last, snapshot, previous)

    @property
    def _sessions(self) -> list[list[str]]:
        """Start and end of each session of the run, as ISO 8601 times.

        A session that was killed ends with its last checkpoint.
        """
        return [*self._earlier_sessions, [self._session_start, _timestamp()]]

    def write_model_summary(self, model_summary: Mapping[str, object]) -> None:
        """Write the description of the layers, which only reports read."""
        with self._warn_on_os_error(MODEL_FILE):
            atomic_write(self.path / MODEL_FILE, _encode_json(model_summary), durable=False)

    def write_predictions(self, predictions: Predictions) -> None:
        """Write the predictions of the selected weights."""
        with self._warn_on_os_error(PREDICTIONS_FILE):
            checkpoint.save(self.path / PREDICTIONS_FILE, Snapshot(dict(predictions.arrays), {}))

    def write_summary(self, summary: Summary) -> None:
        """Write the result of the run.

        Raises:
            SaveError: The summary cannot be written.
        """
        try:
            self.history.sync()
            content = _encode_json({**summary, "sessions": self._sessions})
            atomic_write(self.path / "summary.json", content)
        except OSError as error:
            raise SaveError(
                f"The result could not be written to {self.path}: {error.strerror}; once that is "
                f"fixed, {format_command('train', f'resume={relpath(self.path)}')} restores it."
            ) from None

    @contextmanager
    def _warn_on_os_error(self, subject: str) -> Iterator[None]:
        """Turn OS errors into a warning, at most once per `WARNING_INTERVAL_SECONDS`."""
        try:
            yield
        except OSError as error:
            if time.monotonic() - self._last_warning_time >= WARNING_INTERVAL_SECONDS:
                self._last_warning_time = time.monotonic()
                reason = error.strerror or error
                _print(f"{subject} cannot be written to {self.path}: {reason}; training continues.")


def find_resume_problem(path: Path) -> str | None:
    """Return why no checkpoint of a run can be resumed, None if one can."""
    messages: list[str] = []
    try:
        intact = next(_find_intact_checkpoints(path, _read_history_bytes(path), messages), None)
    except UserError as error:
        return str(error)
    if intact:
        return None
    return " ".join(messages) or "it has no checkpoint."


def discard_run(path: Path, reason: str) -> None:
    """Remove a run from its directory, except for its id in W&B, and print why it starts over.

    The next run there has this id, and files of others stay.

    Raises:
        UserError: Another process is training there, or the files cannot be removed.
    """
    with _os_errors_as_user_errors(path), file_lock(path / ".lock"):
        for name in ("checkpoints", "wandb"):
            if (path / name).is_dir():
                rmtree(path / name)
        # config.yaml last: while it exists, a process that comes here resumes the run
        for name in (MODEL_FILE, PREDICTIONS_FILE, "summary.json", "history.jsonl", "config.yaml"):
            (path / name).unlink(missing_ok=True)
    _print(f"The run starts over: {reason}", sys.stdout)


def delete_checkpoints(path: Path) -> None:
    """Delete the checkpoints of a paused run, which then starts over if it is resumed.

    Nothing happens if a process is training there.
    """
    with suppress(OSError, UserError), file_lock(path / ".lock"):
        for name in CHECKPOINTS:
            checkpoint_path(path, name).unlink(missing_ok=True)


def _restore_checkpoint(
    path: Path, config: Config, state: TrainingState, dataset_sha256: str
) -> tuple[bytes, list[list[str]]]:
    """Restore the newest intact checkpoint.

    Returns:
        The lines of history that the checkpoint covers, and the [start, end] times of the
        sessions before it.
    """
    history_bytes, messages = _read_history_bytes(path), []
    for name in ("summary.json", PREDICTIONS_FILE):
        if (path / name).is_dir():
            raise UserError(f"{path / name} is a directory, but must be a file.")
    if history_bytes and not history_bytes.endswith(b"\n"):
        messages.append("The last line of history.jsonl is incomplete and was dropped.")
    restored_history, sessions = b"", None
    for name, snapshot, lines in _find_intact_checkpoints(path, history_bytes, messages):
        _check_compatible(path, config, name, snapshot, dataset_sha256)
        try:
            state.restore(snapshot)
        except StateMismatchError as error:
            raise UserError(f"{path}: the {name} checkpoint: {error}") from None
        restored_history, sessions = lines, snapshot.metadata.get("sessions")
        break
    else:  # the run starts over and its result is discarded
        if read_json(path, "summary.json").get("dataset/sha256") not in (None, dataset_sha256):
            raise _dataset_mismatch_error(path)
    for message in messages:
        _print(message)
    return restored_history, sessions if isinstance(sessions, list) else []


def _read_history_bytes(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return read_regular_file(path, "history.jsonl", MAX_HISTORY_BYTES)
    return b""


def _find_intact_checkpoints(
    path: Path, history_bytes: bytes, messages: list[str]
) -> Iterator[tuple[str, Snapshot, bytes]]:
    """Yield intact checkpoints, newest first, with their names and the lines of history they cover.

    A message is added for each one that is skipped.
    """
    for name in RESUME_CHECKPOINTS:
        try:
            snapshot = checkpoint.load(checkpoint_path(path, name))
            lines = verify_prefix(history_bytes, snapshot.metadata["history"])
        except FileNotFoundError:
            continue
        except (checkpoint.CorruptFileError, KeyError, TypeError):
            messages.append(f"The {name} checkpoint is damaged and was skipped.")
            continue
        if lines is None:
            messages.append(
                f"history.jsonl does not match the {name} checkpoint, which was skipped."
            )
            continue
        yield name, snapshot, lines


def _check_compatible(
    path: Path, config: Config, name: str, snapshot: Snapshot, dataset_sha256: str
) -> None:
    """Refuse a checkpoint of another configuration or dataset."""
    if snapshot.metadata.get("dataset_sha256") != dataset_sha256:
        raise _dataset_mismatch_error(path)
    saved_config = snapshot.metadata.get("config")
    saved_settings = ADDED_SETTINGS | saved_config if isinstance(saved_config, dict) else {}
    for key, value in json.loads(to_json(config.model_dump())).items():
        if key in ("epochs", "threads", "tracking", "choices"):
            continue
        if saved_settings.get(key) != value:
            raise UserError(
                f"{path}: {key} in config.yaml differs from that of the {name} checkpoint."
            )


def _dataset_mismatch_error(path: Path) -> UserError:
    return UserError(f"{path}: the dataset is not the one that this run started with.")


def _prepare_resume(path: Path, config: Config) -> None:
    """Write the configuration and remove the result of the earlier session.

    The configuration is staged first, so that a full disk is noticed before anything changes.
    """
    with ExitStack() as stack:
        with _os_errors_as_user_errors(path):
            content = to_yaml(config.model_dump()).encode()
            move_into_place = stack.enter_context(staged_file(path / "config.yaml", content))
        (path / "checkpoints").mkdir(exist_ok=True)
        for name in ("summary.json", PREDICTIONS_FILE):
            (path / name).unlink(missing_ok=True)
        move_into_place()


def _print(message: str, stream: TextIO | None = None) -> None:
    with suppress(OSError):
        print(message, file=stream or sys.stderr)


@contextmanager
def _os_errors_as_user_errors(path: Path) -> Iterator[None]:
    """Raise OS errors as `UserError`, which they are as long as the run has not started."""
    try:
        yield
    except FileExistsError:
        raise UserError(f"{path} already contains a run; choose another directory.") from None
    except OSError as error:
        raise UserError(f"{path}: nothing can be written there: {error.strerror}.") from None


@contextmanager
def _remove_files_on_error(path: Path) -> Iterator[None]:
    """Remove the files of a run that could not start; files of others stay."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError:
        for name in (".lock", *RUN_FILES):
            with suppress(OSError):
                (path / name).unlink(missing_ok=True)
        with suppress(OSError):
            (path / "checkpoints").rmdir()
        with suppress(OSError):
            path.rmdir()
        raise


def _timestamp() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _encode_json(content: Mapping[str, object]) -> bytes:
    """Encode an object as JSON with one line per top-level key."""
    lines = (f"  {to_json(key)}: {to_json(value)}" for key, value in content.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
