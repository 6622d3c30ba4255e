"""The folder of a run: what was asked for, what happened, and what came of it.

config.yaml        the resolved configuration, written first
environment.json   the machine, the versions and the code
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
from nn.errors import Mistake, NotSaved
from nn.predictions import Predictions
from nn.runs.training_state import Moment, State, UnlikeThis
from nn.runs import checkpoint
from nn.io.files import locked, read_plain, write_whole, written_aside
from nn.runs.history import LONGEST, History, first_lines, parse
from nn.io.paths import FILES, MODEL, PREDICTIONS, short
from nn.io.serialization import to_json, to_yaml
from nn.runs.reader import read_json

CHECKPOINTS = ("last", "previous")
PATIENCE = 10
"""Seconds from one warning of a disk that fails to the next."""


class RunFolder:
    """A run's folder, in which this process alone is writing."""

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        history: History,
        begun: bytes = b"",
        sessions: Sequence[list[str]] = (),
    ) -> None:
        self.path, self.config, self.environment = path, config, environment
        self.history, self._begun = history, begun
        self._saved, self._warned = time.monotonic(), -math.inf
        self._earlier = list(sessions)
        self._session_began = _now()

    @classmethod
    @contextmanager
    def new(
        cls, path: Path, config: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> Iterator[Self]:
        """Begin a run; where it cannot begin, nothing of it is left."""
        with _told(path), _undone(path), ExitStack() as stack:
            path.mkdir(parents=True, exist_ok=True)
            if (path / "config.yaml").exists():
                raise FileExistsError
            stack.enter_context(locked(path / ".lock"))
            history = stack.enter_context(closing(History(path / "history.jsonl")))
            history.cut_back(b"")
            (path / "checkpoints").mkdir(exist_ok=True)
            write_whole(path / "environment.json", _lines(environment))
            write_whole(path / "config.yaml", to_yaml(config).encode())
            begun = stack.pop_all()
        with begun:
            yield cls(path, config, environment, history)

    @classmethod
    @contextmanager
    def again(
        cls, path: Path, config: Mapping[str, Any], state: State, dataset: str
    ) -> Iterator[Self]:
        """Resume a run: restore the training state, then write; a refusal comes before that."""
        with ExitStack() as stack:
            with _told(path):
                stack.enter_context(locked(path / ".lock"))
                environment = read_json(path, "environment.json")
                begun, sessions = _restore(path, config, state, dataset)
            try:
                _begin_again(path, config)
                history = stack.enter_context(closing(History(path / "history.jsonl")))
                history.cut_back(begun)
            except OSError as error:
                raise NotSaved(
                    f"{path} cannot be written: {error.strerror}; when that is mended, "
                    f"python scripts/train.py resume={short(path)} resumes the run."
                ) from None
            done = state.epoch
            where = f"goes on after epoch {done}" if done else "starts over: there is no checkpoint"
            _say(f"The run {where}.", sys.stdout)
            yield cls(path, config, environment, history, begun, sessions)

    @property
    def begun(self) -> list[dict[str, Any]]:
        """The epochs that were there when this process began."""
        return parse(self._begun)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line to the history; one that cannot be written now is written later."""
        try:
            self.history.append(record)
        except OSError as error:
            self._warn("history.jsonl", error)

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is old enough for another."""
        every = self.config["checkpoint"]
        return every is not None and time.monotonic() - self._saved >= every

    def save(self, state: State, dataset: Dataset) -> None:
        """Write a checkpoint, and keep the one before."""
        self._saved = time.monotonic()
        folder = self.path / "checkpoints"
        about = {
            "dataset": dataset.sha256,
            "inputs": dataset.inputs.plain,
            "config": self.config,
            "sessions": self._sessions,
        }
        last, previous = (folder / f"{name}.safetensors" for name in CHECKPOINTS)
        if not state.epoch:
            return
        try:
            self.history.sync()
            if state.best:
                best = Moment(state.best.arrays, state.best.facts | about)
                checkpoint.save(folder / "best.safetensors", best)
            moment = Moment(state.moment.arrays, state.moment.facts | about)
            checkpoint.save(last, moment, previous)
        except OSError as error:
            self._warn("A checkpoint", error)

    @property
    def _sessions(self) -> list[list[str]]:
        """When each session of the run began and ended; one that was killed, at its checkpoint."""
        return [*self._earlier, [self._session_began, _now()]]

    def describe_model(self, model: Mapping[str, Any]) -> None:
        """Write the layers of the network, which only reports read."""
        try:
            write_whole(self.path / MODEL, _lines(model), durable=False)
        except OSError as error:
            self._warn(MODEL, error)

    def keep(self, predictions: Predictions) -> None:
        """Write what the kept weights predict."""
        try:
            checkpoint.save(self.path / PREDICTIONS, Moment(dict(predictions.arrays), {}))
        except OSError as error:
            self._warn(PREDICTIONS, error)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write what came of the run."""
        try:
            self.history.sync()
            timed = {**summary, "seconds/sessions": self._sessions}
            write_whole(self.path / "summary.json", _lines(timed))
        except OSError as error:
            raise NotSaved(
                f"The result could not be written to {self.path}: {error.strerror}; when that is "
                f"mended, python scripts/train.py resume={short(self.path)} brings it back."
            ) from None

    def _warn(self, what: str, error: OSError) -> None:
        """Say what cannot be written, again and again until it is mended."""
        if time.monotonic() - self._warned >= PATIENCE:
            self._warned = time.monotonic()
            reason = error.strerror or error
            _say(f"{what} cannot be written to {self.path}: {reason}; the training goes on.")


def _restore(
    path: Path, config: Mapping[str, Any], state: State, dataset: str
) -> tuple[bytes, list[list[str]]]:
    """Restore the newest intact checkpoint.

    Return the lines of history that it covers, and when the sessions before it began and ended.
    """
    history, notes = b"", []
    with suppress(FileNotFoundError):
        history = read_plain(path, "history.jsonl", LONGEST)
    for name in ("summary.json", PREDICTIONS):
        if (path / name).is_dir():
            raise Mistake(f"{path / name} is a folder, where a file of the run should be.")
    if history and not history.endswith(b"\n"):
        notes.append("The last line of history.jsonl was torn, and is dropped.")
    covered, sessions = b"", None
    for name in CHECKPOINTS:
        try:
            moment = checkpoint.load(path / "checkpoints" / f"{name}.safetensors")
            lines = first_lines(history, moment.facts["history"])
        except FileNotFoundError:
            continue
        except (checkpoint.Damaged, KeyError, TypeError):
            notes.append(f"The {name} checkpoint is damaged, and is left out.")
            continue
        if lines is None:
            notes.append(
                f"history.jsonl is not what it was at the {name} checkpoint, which is left out."
            )
            continue
        _check(path, config, name, moment, dataset)
        try:
            state.put_back(moment)
        except UnlikeThis as error:
            raise Mistake(f"{path}: the {name} checkpoint: {error}") from None
        covered, sessions = lines, moment.facts.get("sessions")
        break
    else:  # the run starts over, and its result is lost
        if read_json(path, "summary.json").get("dataset/sha256") not in (None, dataset):
            raise _other_dataset(path)
    for note in notes:
        _say(note)
    return covered, sessions if isinstance(sessions, list) else []


def _check(path: Path, config: Mapping[str, Any], name: str, moment: Moment, dataset: str) -> None:
    """Refuse a checkpoint that another configuration or dataset has led to."""
    if moment.facts.get("dataset") != dataset:
        raise _other_dataset(path)
    theirs = moment.facts.get("config")
    for key, value in json.loads(to_json(config)).items():
        if key in ("epochs", "tracking", "choices"):
            continue
        if not isinstance(theirs, dict) or theirs.get(key) != value:
            raise Mistake(
                f"{path}: {key} in config.yaml is not what it is in the {name} checkpoint."
            )


def _other_dataset(path: Path) -> Mistake:
    return Mistake(f"{path}: the dataset is not the one that this run began with.")


def _begin_again(path: Path, config: Mapping[str, Any]) -> None:
    """Write the configuration, and remove the result of a run that had ended.

    A disk without room for the configuration is noticed while nothing has changed yet.
    """
    with ExitStack() as stack:
        with _told(path):
            content = to_yaml(config).encode()
            move = stack.enter_context(written_aside(path / "config.yaml", content))
        (path / "checkpoints").mkdir(exist_ok=True)
        for name in ("summary.json", PREDICTIONS):
            (path / name).unlink(missing_ok=True)
        move()


def _say(sentence: str, stream: TextIO | None = None) -> None:
    with suppress(OSError):
        print(sentence, file=stream or sys.stderr)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell an error of the system as the mistake that it is before a run has begun."""
    try:
        yield
    except FileExistsError:
        raise Mistake(f"{path} already holds a run; name another folder.") from None
    except OSError as error:
        raise Mistake(f"{path}: nothing can be written there: {error.strerror}.") from None


@contextmanager
def _undone(path: Path) -> Iterator[None]:
    """Remove what was begun in a folder where a run cannot begin; other files stay."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError:
        for name in (".lock", *FILES):
            with suppress(OSError):
                (path / name).unlink(missing_ok=True)
        with suppress(OSError):
            (path / "checkpoints").rmdir()
        with suppress(OSError):
            path.rmdir()
        raise


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _lines(content: Mapping[str, Any]) -> bytes:
    """Write JSON with a line for each key."""
    lines = (f"  {to_json(key)}: {to_json(value)}" for key, value in content.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
