"""Reader of a sweep's trials from the journal in its directory, also while the sweep runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from pydantic_core import from_json

from nn.errors import UserError
from nn.io.files import TailReader
from nn.io.paths import relpath
from nn.runs.history import MAX_HISTORY_BYTES
from nn.runs.reader import read_json, require_format_version
from nn.sweeps import schema
from nn.sweeps.schema import SweepConfig
from nn.sweeps.space import is_point
from nn.sweeps.storage import InMemoryJournalBackend, JournalLog
from nn.sweeps.trials import READABLE_FORMAT_VERSIONS, STUDY_NAME, SweepTrials


def load_sweep_trials(sweep_dir: Path) -> SweepTrials:
    """Load a sweep's trials from its directory, writing nothing; the sweep may be running."""
    reader = SweepTrialsReader(sweep_dir)
    if not reader.has_journal:
        raise UserError(f"{relpath(sweep_dir)}: no trial of this sweep has started.")
    return reader.sweep_trials


class SweepTrialsReader:
    """Reads a sweep's trials, and with each update only what was appended to its journal.

    That is study.log, which a sweep with `--storage` writes when it ends; if its storage is a file,
    settings.json has the path. Before there is a journal, there are no trials.
    """

    def __init__(self, sweep_dir: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._sweep = read_started_sweep(sweep_dir)
        require_sweep_format(sweep_dir)
        self._sweep_dir, self._is_damaged = sweep_dir, True
        self.journal, self._study_name = find_journal(sweep_dir)
        self._tail = TailReader(self.journal.parent, self.journal.name, MAX_HISTORY_BYTES)
        lines, _ = self._tail.read_lines()
        self._check(self._open(lines))

    def update(self) -> set[int]:
        """Read what is new and return the numbers of the trials that are new or changed."""
        lines, is_replaced = self._tail.read_lines()
        if self._is_damaged and not is_replaced:
            raise self._damage_error()
        if not lines and not is_replaced:
            return set()
        self._is_damaged = True  # unless all of this succeeds
        is_first = is_replaced or not self.has_journal
        return self._check(self._open(lines) if is_first else self._append(lines))

    def _open(self, lines: Sequence[bytes]) -> set[int]:
        self.has_journal = bool(lines)
        with self._damage_as_user_error():
            self._journal = InMemoryJournalBackend(_parse_logs(lines))
            storage = JournalStorage(self._journal)
            if not lines:
                optuna.create_study(study_name=self._study_name, storage=storage)
            optuna_study = optuna.load_study(study_name=self._study_name, storage=storage)
            self.sweep_trials = SweepTrials(self._sweep, self._sweep_dir, optuna_study)
        return set(range(len(self.sweep_trials.trials)))

    def _append(self, lines: Sequence[bytes]) -> set[int]:
        with self._damage_as_user_error():
            self._journal.append_logs(_parse_logs(lines))
            return set(self.sweep_trials.load_trials())

    def _check(self, numbers: set[int]) -> set[int]:
        """Check that the trials have points."""
        try:
            points = [self.sweep_trials.get_point(number) for number in numbers]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._damage_error() from None
        if not all(map(is_point, points)):
            raise self._damage_error()
        self._is_damaged = False
        return numbers

    @contextmanager
    def _damage_as_user_error(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception:  # Optuna may raise anything when it replays a damaged journal
            raise self._damage_error() from None

    def _damage_error(self) -> UserError:
        return UserError(f"{relpath(self.journal)} is damaged.")


def find_journal(sweep_dir: Path) -> tuple[Path, str]:
    """Return the path of a sweep's journal and the name of its study there."""
    settings = read_json(sweep_dir, "settings.json")
    path, name = settings.get("journal"), settings.get("study_name")
    if isinstance(path, str) and isinstance(name, str):
        with suppress(OSError, ValueError):  # such as a name that is too long
            if Path(path).is_absolute() and Path(path).is_file():
                return Path(path), name
    return sweep_dir / "study.log", STUDY_NAME


def _parse_logs(lines: Sequence[bytes]) -> list[JournalLog]:
    logs: list[JournalLog] = from_json(b"[" + b",".join(lines) + b"]")
    if len(logs) != len(lines):
        raise ValueError(lines)
    return logs


def read_started_sweep(sweep_dir: Path) -> SweepConfig:
    """Read a sweep's file with the constants that the command line replaced when it started."""
    constants = read_json(sweep_dir, "settings.json").get("constants")
    sweep = schema.read_sweep_config(sweep_dir / "sweep.yaml")
    return sweep.with_constants(constants) if isinstance(constants, dict) else sweep


def require_sweep_format(sweep_dir: Path) -> None:
    """Refuse a sweep directory of another format version."""
    require_format_version(sweep_dir, "settings.json", *READABLE_FORMAT_VERSIONS)
