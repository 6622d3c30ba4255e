"""Where a sweep's study is kept: in a file, or in a database that many machines reach."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage

from nn.errors import Mistake, NotSaved
from nn.io.paths import short
from nn.runs.signals import BoundedInterrupts
from nn.sweeps.journal import JournalFile

Result = TypeVar("Result")
PATIENCE = 600.0
"""Seconds for which a storage may be away."""
SCHEMES = ("postgresql", "postgres")
CONNECTION = {
    "application_name": "nn-sweeps",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""Settings of libpq: a network that swallows everything counts as gone within a minute."""
TURN = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30s",
    "idle_in_transaction_session_timeout": "300s",
}
"""The server's settings for a turn, which ends when its machine vanishes or is suspended."""
LOCK = "select pg_advisory_xact_lock(hashtext('nn-sweeps'))"
STUDY_FILES = ("study.log", ".study.log.lock", ".study.log.turn")
"""The files by which a sweep's own folder keeps its study."""


class DamagedStudyError(Mistake):
    """A file that does not hold a study."""


class Storage(ABC):
    """Optuna's storage, and a turn in it that only one process has at a time."""

    optuna: BaseStorage
    where: str
    interrupts: BoundedInterrupts | None = None
    """What keeps signals coming in while the storage hangs."""

    def __init__(self) -> None:
        self._patience = PATIENCE

    @abstractmethod
    def turn(self) -> AbstractContextManager[None]:
        """Wait until no other process has its turn, and have it; a context."""

    @abstractmethod
    def is_away(self, error: Exception) -> bool:
        """Whether an error says that the storage cannot be used for the time being."""

    def is_in(self, path: Path) -> bool:
        """Whether this file is where the study is kept."""
        return False

    def patiently(self, call: Callable[[], Result]) -> Result:
        """Do something that has the same effect when it is done again; wait for the storage."""
        began, is_reported = time.monotonic(), False
        while True:
            try:
                return self._call(call)
            except Exception as error:
                if not self.is_away(error):
                    raise
                stopping = self.interrupts and self.interrupts.stopping
                if stopping or time.monotonic() - began > self._patience:
                    self._patience = 0.0  # what is still to be said afterwards has one try
                    raise NotSaved(f"{self.where} is gone: {_reason(error)}.") from None
                if not is_reported:
                    is_reported = True
                    print(
                        f"{self.where} is gone; waiting for it: {_reason(error)}", file=sys.stderr
                    )
                self._call(lambda: time.sleep(0.5))

    def _call(self, function: Callable[[], Result]) -> Result:
        return self.interrupts.call(function) if self.interrupts else function()


class StudyFile(Storage):
    """Optuna's journal: a file, of this machine's or on a disk that machines share."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.where = path, short(path)
        try:
            self.optuna = JournalStorage(JournalFile(path))
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._turn = os.open(path.with_name(f".{path.name}.turn"), flags, 0o644)
        except OSError as error:
            raise Mistake(f"{path}: no study can be kept there: {error.strerror}.") from None
        except Exception:  # what a damaged journal does to Optuna cannot be foreseen
            raise DamagedStudyError(f"{path} is not the file of a study.") from None

    @classmethod
    def recovered(cls, folder: Path, notify: Callable[[str], None]) -> StudyFile:
        """Open the study of a sweep's own folder; a damaged one is put aside."""
        path = folder / "study.log"
        try:
            return cls(path)
        except DamagedStudyError:
            aside = path.with_name("study.log.damaged")
            path.replace(aside)
            notify(f"{path} is damaged; it was renamed to {aside.name}.")
            return cls(path)

    def is_away(self, error: Exception) -> bool:
        """Whether the disk is full or does not answer; a file that was removed stays away."""
        final = (TimeoutError, FileNotFoundError, NotADirectoryError)
        return isinstance(error, OSError) and not isinstance(error, final)

    def is_in(self, path: Path) -> bool:
        """Whether this is the same file."""
        return path.exists() and path.samefile(self.path)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the lock of a file beside it."""
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)


class Database(Storage):
    """PostgreSQL, which may go away for a while."""

    def __init__(self, url: str) -> None:
        import sqlalchemy
        from optuna.storages import RDBStorage

        super().__init__()
        self._sql = sqlalchemy
        self.where = f"--storage={shown(url)}"
        address = "postgresql+psycopg" + url[url.index("://") :]
        settings = {"pool_pre_ping": True, "connect_args": CONNECTION}
        try:
            self._engine = sqlalchemy.create_engine(address, **settings)
            with self.turn():  # two machines may come first at once, and make the tables
                self.optuna = RDBStorage(address, engine_kwargs=settings)
        except ImportError:
            raise Mistake(
                f"{self.where} needs psycopg, which is not installed: "
                'pip install -e ".[postgres]" brings it.'
            ) from None
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, ValueError) as error:
            raise Mistake(f"{self.where} cannot be used: {_reason(error)}.") from None
        except RuntimeError:
            raise Mistake(f"{self.where} was written by another version of Optuna.") from None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have a lock of the database's, which ends with the connection."""
        settings = ", ".join(f"set_config('{key}', '{to}', true)" for key, to in TURN.items())
        with self._engine.begin() as connection:
            connection.execute(self._sql.text(f"select {settings}"))
            connection.execute(self._sql.text(LOCK))
            yield

    def is_away(self, error: Exception) -> bool:
        """Whether the server cannot be reached."""
        return isinstance(error, (self._sql.exc.DBAPIError, StorageInternalError))


def storage(where: str) -> Storage:
    """Open the storage that is wanted."""
    if "://" not in where:
        return StudyFile(Path(where))
    scheme = where.partition("://")[0]
    if scheme not in SCHEMES:
        raise Mistake(
            f"--storage={shown(where)}: write postgresql://USER@HOST/DATABASE, or a file on a "
            "disk that all machines share."
        )
    return Database(where)


def shown(url: str) -> str:
    """Write an address without its password."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return "***"
    return url.replace(f":{password}@", ":***@") if password else url


def _reason(error: Exception) -> str:
    """The first line of what the system, the database or its driver says."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    return str(cause).strip().split("\n", 1)[0].rstrip(".") or type(cause).__name__
