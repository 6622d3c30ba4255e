"""The folder of a run: what was asked for, what happened, and what came of it.

config.yaml        the resolved configuration, written first
environment.json   the machine, the versions and the code; the version of this format
history.jsonl      a line for each epoch, written as it happens
checkpoints/       the state at the end of an epoch: last, the one before, and the best
model.json         the layers, with their output shapes and numbers of parameters
predictions.safetensors  what the kept weights say of the test set, with some of its images
summary.json       the result, written last
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
from typing import Any, Self, TextIO

from nn.data.dataset import Dataset
from nn.errors import UserError, SaveError
from nn.predictions import Predictions
from nn.runs.training_state import Snapshot, TrainingState, StateMismatchError
from nn.runs import checkpoint
from nn.io.files import file_lock, read_regular_file, atomic_write, staged_file
from nn.runs.history import MAX_HISTORY_BYTES, HistoryWriter, verify_prefix, parse_history
from nn.io.paths import RUN_FILES, MODEL_FILE, PREDICTIONS_FILE, relpath
from nn.io.serialization import to_json, to_yaml
from nn.runs.reader import RUN_FORMAT_VERSION, read_json

RESUME_CHECKPOINTS = ("last", "previous")
WARNING_INTERVAL_SECONDS = 10
"""Seconds from one warning of a disk that fails to the next."""


class RunDirectory:
    """A run's folder, in which this process alone is writing."""

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        history: HistoryWriter,
        restored_history: bytes = b"",
        earlier_sessions: Sequence[list[str]] = (),
    ) -> None:
        self.path, self.config, self.environment = path, config, environment
        self.history, self._restored_history = history, restored_history
        self._last_save_time, self._last_warning_time = time.monotonic(), -math.inf
        self._earlier_sessions = list(earlier_sessions)
        self._session_start = _timestamp()

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, config: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> Iterator[Self]:
        """Begin a run; where it cannot begin, nothing of it is left."""
        with _translate_os_errors(path), _remove_files_on_error(path), ExitStack() as stack:
            path.mkdir(parents=True, exist_ok=True)
            if (path / "config.yaml").exists():
                raise FileExistsError
            stack.enter_context(file_lock(path / ".lock"))
            history = stack.enter_context(closing(HistoryWriter(path / "history.jsonl")))
            history.truncate_to(b"")
            (path / "checkpoints").mkdir(exist_ok=True)
            versioned_environment = {"format_version": RUN_FORMAT_VERSION, **environment}
            atomic_write(path / "environment.json", _encode_json(versioned_environment))
            atomic_write(path / "config.yaml", to_yaml(config).encode())
            open_files = stack.pop_all()
        with open_files:
            yield cls(path, config, environment, history)

    @classmethod
    @contextmanager
    def resume(
        cls, path: Path, config: Mapping[str, Any], state: TrainingState, dataset_sha256: str
    ) -> Iterator[Self]:
        """Resume a run: restore the training state, then write; a refusal comes before that."""
        with ExitStack() as stack:
            with _translate_os_errors(path):
                stack.enter_context(file_lock(path / ".lock"))
                environment = read_json(path, "environment.json")
                restored_history, earlier_sessions = _restore_checkpoint(path, config, state, dataset_sha256)
            try:
                _prepare_resume(path, config)
                history = stack.enter_context(closing(HistoryWriter(path / "history.jsonl")))
                history.truncate_to(restored_history)
            except OSError as error:
                raise SaveError(
                    f"{path} cannot be written: {error.strerror}; when that is mended, "
                    f"python scripts/train.py resume={relpath(path)} resumes the run."
                ) from None
            last_epoch = state.epoch
            progress = f"goes on after epoch {last_epoch}" if last_epoch else "starts over: there is no checkpoint"
            _print(f"The run {progress}.", sys.stdout)
            yield cls(path, config, environment, history, restored_history, earlier_sessions)

    @property
    def restored_records(self) -> list[dict[str, Any]]:
        """The epochs that were there when this process began."""
        return parse_history(self._restored_history)

    def append_history(self, record: Mapping[str, Any]) -> None:
        """Add a line to the history; one that cannot be written now is written later."""
        try:
            self.history.append(record)
        except OSError as error:
            self._warn_write_failure("history.jsonl", error)

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether the last checkpoint is old enough for another."""
        interval_seconds = self.config["checkpoint_every"]
        return interval_seconds is not None and time.monotonic() - self._last_save_time >= interval_seconds

    def save_checkpoint(self, state: TrainingState, dataset: Dataset) -> None:
        """Write a checkpoint, and keep the one before."""
        self._last_save_time = time.monotonic()
        checkpoints_dir = self.path / "checkpoints"
        metadata = {
            "dataset_sha256": dataset.sha256,
            "input_spec": dataset.input_spec.to_dict,
            "config": self.config,
            "sessions": self._sessions,
        }
        last, previous = (checkpoints_dir / f"{name}.safetensors" for name in RESUME_CHECKPOINTS)
        if not state.epoch:
            return
        try:
            self.history.sync()
            if state.best_snapshot:
                best_snapshot = Snapshot(state.best_snapshot.arrays, state.best_snapshot.metadata | metadata)
                checkpoint.save(checkpoints_dir / "best.safetensors", best_snapshot)
            snapshot = Snapshot(state.snapshot.arrays, state.snapshot.metadata | metadata)
            checkpoint.save(last, snapshot, previous)
        except OSError as error:
            self._warn_write_failure("A checkpoint", error)

    @property
    def _sessions(self) -> list[list[str]]:
        """When each session of the run began and ended; one that was killed, at its checkpoint."""
        return [*self._earlier_sessions, [self._session_start, _timestamp()]]

    def write_model_summary(self, model_summary: Mapping[str, Any]) -> None:
        """Write the layers of the network, which only reports read."""
        try:
            atomic_write(self.path / MODEL_FILE, _encode_json(model_summary), durable=False)
        except OSError as error:
            self._warn_write_failure(MODEL_FILE, error)

    def write_predictions(self, predictions: Predictions) -> None:
        """Write what the kept weights predict."""
        try:
            checkpoint.save(self.path / PREDICTIONS_FILE, Snapshot(dict(predictions.arrays), {}))
        except OSError as error:
            self._warn_write_failure(PREDICTIONS_FILE, error)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write what came of the run."""
        try:
            self.history.sync()
            summary_with_sessions = {**summary, "sessions": self._sessions}
            atomic_write(self.path / "summary.json", _encode_json(summary_with_sessions))
        except OSError as error:
            raise SaveError(
                f"The result could not be written to {self.path}: {error.strerror}; when that is "
                f"mended, python scripts/train.py resume={relpath(self.path)} brings it back."
            ) from None

    def _warn_write_failure(self, subject: str, error: OSError) -> None:
        """Say what cannot be written, again and again until it is mended."""
        if time.monotonic() - self._last_warning_time >= WARNING_INTERVAL_SECONDS:
            self._last_warning_time = time.monotonic()
            reason = error.strerror or error
            _print(f"{subject} cannot be written to {self.path}: {reason}; the training goes on.")


def _restore_checkpoint(
    path: Path, config: Mapping[str, Any], state: TrainingState, dataset_sha256: str
) -> tuple[bytes, list[list[str]]]:
    """Restore the newest intact checkpoint.

    Return the lines of history that it covers, and when the sessions before it began and ended.
    """
    history_bytes, messages = b"", []
    with suppress(FileNotFoundError):
        history_bytes = read_regular_file(path, "history.jsonl", MAX_HISTORY_BYTES)
    for name in ("summary.json", PREDICTIONS_FILE):
        if (path / name).is_dir():
            raise UserError(f"{path / name} is a folder, where a file of the run should be.")
    if history_bytes and not history_bytes.endswith(b"\n"):
        messages.append("The last line of history.jsonl was torn, and is dropped.")
    restored_history, sessions = b"", None
    for name in RESUME_CHECKPOINTS:
        try:
            snapshot = checkpoint.load(path / "checkpoints" / f"{name}.safetensors")
            lines = verify_prefix(history_bytes, snapshot.metadata["history"])
        except FileNotFoundError:
            continue
        except (checkpoint.CorruptFileError, KeyError, TypeError):
            messages.append(f"The {name} checkpoint is damaged, and is left out.")
            continue
        if lines is None:
            messages.append(
                f"history.jsonl is not what it was at the {name} checkpoint, which is left out."
            )
            continue
        _check_compatible(path, config, name, snapshot, dataset_sha256)
        try:
            state.restore(snapshot)
        except StateMismatchError as error:
            raise UserError(f"{path}: the {name} checkpoint: {error}") from None
        restored_history, sessions = lines, snapshot.metadata.get("sessions")
        break
    else:  # the run starts over, and its result is lost
        if read_json(path, "summary.json").get("dataset/sha256") not in (None, dataset_sha256):
            raise _dataset_mismatch_error(path)
    for note in messages:
        _print(note)
    return restored_history, sessions if isinstance(sessions, list) else []


def _check_compatible(path: Path, config: Mapping[str, Any], name: str, snapshot: Snapshot, dataset_sha256: str) -> None:
    """Refuse a checkpoint that another configuration or dataset has led to."""
    if snapshot.metadata.get("dataset_sha256") != dataset_sha256:
        raise _dataset_mismatch_error(path)
    saved_config = snapshot.metadata.get("config")
    for key, value in json.loads(to_json(config)).items():
        if key in ("epochs", "tracking", "choices"):
            continue
        if not isinstance(saved_config, dict) or saved_config.get(key) != value:
            raise UserError(
                f"{path}: {key} in config.yaml is not what it is in the {name} checkpoint."
            )


def _dataset_mismatch_error(path: Path) -> UserError:
    return UserError(f"{path}: the dataset is not the one that this run began with.")


def _prepare_resume(path: Path, config: Mapping[str, Any]) -> None:
    """Write the configuration, and remove the result of a run that had ended.

    A disk without room for the configuration is noticed while nothing has changed yet.
    """
    with ExitStack() as stack:
        with _translate_os_errors(path):
            content = to_yaml(config).encode()
            move_into_place = stack.enter_context(staged_file(path / "config.yaml", content))
        (path / "checkpoints").mkdir(exist_ok=True)
        for name in ("summary.json", PREDICTIONS_FILE):
            (path / name).unlink(missing_ok=True)
        move_into_place()


def _print(message: str, stream: TextIO | None = None) -> None:
    with suppress(OSError):
        print(message, file=stream or sys.stderr)


@contextmanager
def _translate_os_errors(path: Path) -> Iterator[None]:
    """Tell an error of the system as the mistake that it is before a run has begun."""
    try:
        yield
    except FileExistsError:
        raise UserError(f"{path} already holds a run; name another folder.") from None
    except OSError as error:
        raise UserError(f"{path}: nothing can be written there: {error.strerror}.") from None


@contextmanager
def _remove_files_on_error(path: Path) -> Iterator[None]:
    """Remove what was begun in a folder where a run cannot begin; other files stay."""
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


def _encode_json(content: Mapping[str, Any]) -> bytes:
    """Write JSON with a line for each key."""
    lines = (f"  {to_json(key)}: {to_json(value)}" for key, value in content.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
