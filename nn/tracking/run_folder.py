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
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TextIO

from nn.data.dataset import Dataset
from nn.errors import Mistake, NotSaved
from nn.predictions import Predictions
from nn.state import Moment, State, UnlikeThis
from nn.tracking import checkpoint
from nn.tracking.files import lock, read_plain, write_whole
from nn.tracking.history import LONGEST, History, first_lines, parse
from nn.tracking.places import FILES, MODEL, PREDICTIONS, short
from nn.tracking.plain import to_json, to_yaml
from nn.tracking.saved import read_json

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
        again: bool = False,
    ) -> None:
        self.path, self.config, self.environment, self._begun = path, config, environment, b""
        self._saved, self._warned = time.monotonic(), -math.inf
        self._earlier: list[list[str]] = []
        self._session_began = _now()
        self._lock = lock(path / ".lock")
        try:
            if again:
                with suppress(FileNotFoundError):
                    self._begun = read_plain(path, "history.jsonl", LONGEST)
            self.history = History(path / "history.jsonl")
        except BaseException:
            os.close(self._lock)
            raise

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
            folder = stack.enter_context(closing(cls(path, config, environment)))
            folder.history.cut_back(b"")
            (path / "checkpoints").mkdir(exist_ok=True)
            write_whole(path / "environment.json", _lines(environment))
            write_whole(path / "config.yaml", to_yaml(config).encode())
            begun = stack.pop_all()
        with begun:
            yield folder

    @classmethod
    @contextmanager
    def again(cls, path: Path, config: Mapping[str, Any]) -> Iterator[Self]:
        """Take up a run that has begun."""
        with _told(path):
            folder = cls(path, config, read_json(path, "environment.json"), again=True)
        with closing(folder):
            with _told(path):
                (path / "checkpoints").mkdir(exist_ok=True)
                for name in ("summary.json", PREDICTIONS):
                    (path / name).unlink(missing_ok=True)
                write_whole(path / "config.yaml", to_yaml(config).encode())
            yield folder

    @property
    def begun(self) -> list[dict[str, Any]]:
        """The epochs that were there when this process began."""
        return parse(self._begun)

    def close(self) -> None:
        """Let others write here again."""
        self.history.close()
        os.close(self._lock)

    def restore(self, state: State, dataset: str) -> int:
        """Put a training back to its newest whole checkpoint, and give the epochs that are done."""
        if self._begun and not self._begun.endswith(b"\n"):
            self._say("The last line of history.jsonl was torn, and is dropped.")
        done, begun = 0, b""
        for name in CHECKPOINTS:
            moment, lines = self._read(name)
            if moment:
                self._check(name, moment, dataset)
                try:
                    state.put_back(moment)
                except UnlikeThis as error:
                    raise Mistake(f"{self.path}: the {name} checkpoint: {error}") from None
                done, begun = moment.facts["epoch"], lines
                sessions = moment.facts.get("sessions")
                self._earlier = sessions if isinstance(sessions, list) else []
                break
        with _told(self.path):
            self.history.cut_back(begun)
        self._begun = begun
        where = f"goes on after epoch {done}" if done else "starts over: there is no checkpoint"
        self._say(f"The run {where}.", sys.stdout)
        return done

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

    def _read(self, name: str) -> tuple[Moment | None, bytes]:
        """Read a checkpoint if it is there, whole, and goes with the history."""
        try:
            moment = checkpoint.load(self.path / "checkpoints" / f"{name}.safetensors")
            lines = first_lines(self._begun, moment.facts["history"])
        except FileNotFoundError:
            return None, b""
        except (checkpoint.Damaged, KeyError, TypeError):
            self._say(f"The {name} checkpoint is damaged, and is left out.")
            return None, b""
        if lines is None:
            self._say(
                f"history.jsonl is not what it was at the {name} checkpoint, which is left out."
            )
            return None, b""
        return moment, lines

    def _check(self, name: str, moment: Moment, dataset: str) -> None:
        """Refuse a checkpoint that another configuration or dataset has led to."""
        if moment.facts.get("dataset") != dataset:
            raise Mistake(f"{self.path}: the dataset is not the one that this run began with.")
        theirs = moment.facts.get("config")
        for key, value in json.loads(to_json(self.config)).items():
            if key in ("epochs", "tracking", "choices"):
                continue
            if not isinstance(theirs, dict) or theirs.get(key) != value:
                raise Mistake(
                    f"{self.path}: {key} in config.yaml is not what it is in the {name} checkpoint."
                )

    def _warn(self, what: str, error: OSError) -> None:
        """Say what cannot be written, again and again until it is mended."""
        if time.monotonic() - self._warned >= PATIENCE:
            self._warned = time.monotonic()
            reason = error.strerror or error
            self._say(f"{what} cannot be written to {self.path}: {reason}; the training goes on.")

    @staticmethod
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
