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

from nn.errors import SaveError, UserError
from nn.io.paths import relpath
from nn.runs.signals import BoundedSignalHandler
from nn.sweeps.journal import CrashSafeJournalBackend

Result = TypeVar("Result")
MAX_OUTAGE_SECONDS = 600.0
"""Seconds for which a storage may be away."""
POSTGRES_SCHEMES = ("postgresql", "postgres")
CONNECT_ARGS = {
    "application_name": "nn-sweeps",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""Settings of libpq: a network that swallows everything counts as gone within a minute."""
LOCK_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30s",
    "idle_in_transaction_session_timeout": "300s",
}
"""The server's settings for a turn, which ends when its machine vanishes or is suspended."""
LOCK_QUERY = "select pg_advisory_xact_lock(hashtext('nn-sweeps'))"
STUDY_FILES = ("study.log", ".study.log.lock", ".study.log.trials.lock")
"""The files by which a sweep's own folder keeps its study."""


class CorruptStudyError(UserError):
    """A file that does not hold a study."""


class StudyStorage(ABC):
    """Optuna's storage, and a turn in it that only one process has at a time."""

    optuna_storage: BaseStorage
    display_name: str
    signal_handler: BoundedSignalHandler | None = None
    """What keeps signals coming in while the storage hangs."""

    def __init__(self) -> None:
        self._max_outage_seconds = MAX_OUTAGE_SECONDS

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Wait until no other process has its turn, and have it; a context."""

    @abstractmethod
    def is_transient_error(self, error: Exception) -> bool:
        """Whether an error says that the storage cannot be used for the time being."""

    def is_stored_at(self, path: Path) -> bool:
        """Whether this file is where the study is kept."""
        return False

    def retry(self, operation: Callable[[], Result]) -> Result:
        """Do something that has the same effect when it is done again; wait for the storage."""
        start_time, is_reported = time.monotonic(), False
        while True:
            try:
                return self._call_interruptibly(operation)
            except Exception as error:
                if not self.is_transient_error(error):
                    raise
                is_stopping = self.signal_handler and self.signal_handler.is_stopping
                if is_stopping or time.monotonic() - start_time > self._max_outage_seconds:
                    self._max_outage_seconds = (
                        0.0  # what is still to be said afterwards has one try
                    )
                    raise SaveError(
                        f"{self.display_name} is gone: {_format_error(error)}."
                    ) from None
                if not is_reported:
                    is_reported = True
                    print(
                        f"{self.display_name} is gone; waiting for it: {_format_error(error)}",
                        file=sys.stderr,
                    )
                self._call_interruptibly(lambda: time.sleep(0.5))

    def _call_interruptibly(self, function: Callable[[], Result]) -> Result:
        return self.signal_handler.run_in_thread(function) if self.signal_handler else function()


class JournalStudyStorage(StudyStorage):
    """Optuna's journal: a file, of this machine's or on a disk that machines share."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.display_name = path, relpath(path)
        try:
            self.optuna_storage = JournalStorage(CrashSafeJournalBackend(path))
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock_fd = os.open(path.with_name(f".{path.name}.trials.lock"), flags, 0o644)
        except OSError as error:
            raise UserError(f"{path}: no study can be kept there: {error.strerror}.") from None
        except Exception:  # what a damaged journal does to Optuna cannot be foreseen
            raise CorruptStudyError(f"{path} is not the file of a study.") from None

    @classmethod
    def open_or_recover(cls, sweep_dir: Path, notify: Callable[[str], None]) -> JournalStudyStorage:
        """Open the study of a sweep's own folder; a damaged one is put aside."""
        path = sweep_dir / "study.log"
        try:
            return cls(path)
        except CorruptStudyError:
            backup_path = path.with_name("study.log.damaged")
            path.replace(backup_path)
            notify(f"{path} is damaged; it was renamed to {backup_path.name}.")
            return cls(path)

    def is_transient_error(self, error: Exception) -> bool:
        """Whether the disk is full or does not answer; a file that was removed stays away."""
        permanent_errors = (TimeoutError, FileNotFoundError, NotADirectoryError)
        return isinstance(error, OSError) and not isinstance(error, permanent_errors)

    def is_stored_at(self, path: Path) -> bool:
        """Whether this is the same file."""
        return path.exists() and path.samefile(self.path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Have the lock of a file beside it."""
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)


class PostgresStudyStorage(StudyStorage):
    """PostgreSQL, which may go away for a while."""

    def __init__(self, url: str) -> None:
        import sqlalchemy
        from optuna.storages import RDBStorage

        super().__init__()
        self._sqlalchemy = sqlalchemy
        self.display_name = f"--storage={redact_url(url)}"
        sqlalchemy_url = "postgresql+psycopg" + url[url.index("://") :]
        engine_kwargs = {"pool_pre_ping": True, "connect_args": CONNECT_ARGS}
        try:
            self._engine = sqlalchemy.create_engine(sqlalchemy_url, **engine_kwargs)
            with self.lock():  # two machines may come first at once, and make the tables
                self.optuna_storage = RDBStorage(sqlalchemy_url, engine_kwargs=engine_kwargs)
        except ImportError:
            raise UserError(
                f"{self.display_name} needs psycopg, which is not installed: "
                'pip install -e ".[postgres]" brings it.'
            ) from None
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, ValueError) as error:
            raise UserError(
                f"{self.display_name} cannot be used: {_format_error(error)}."
            ) from None
        except RuntimeError:
            raise UserError(
                f"{self.display_name} was written by another version of Optuna."
            ) from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Have a lock of the database's, which ends with the connection."""
        settings_sql = ", ".join(
            f"set_config('{key}', '{to}', true)" for key, to in LOCK_SETTINGS.items()
        )
        with self._engine.begin() as connection:
            connection.execute(self._sqlalchemy.text(f"select {settings_sql}"))
            connection.execute(self._sqlalchemy.text(LOCK_QUERY))
            yield

    def is_transient_error(self, error: Exception) -> bool:
        """Whether the server cannot be reached."""
        return isinstance(error, (self._sqlalchemy.exc.DBAPIError, StorageInternalError))


def open_storage(url: str) -> StudyStorage:
    """Open the storage that is wanted."""
    if "://" not in url:
        return JournalStudyStorage(Path(url))
    scheme = url.partition("://")[0]
    if scheme not in POSTGRES_SCHEMES:
        raise UserError(
            f"--storage={redact_url(url)}: write postgresql://USER@HOST/DATABASE, or a file on a "
            "disk that all machines share."
        )
    return PostgresStudyStorage(url)


def redact_url(url: str) -> str:
    """Write an address without its password."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return "***"
    return url.replace(f":{password}@", ":***@") if password else url


def _format_error(error: Exception) -> str:
    """The first line of what the system, the database or its driver says."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    return str(cause).strip().split("\n", 1)[0].rstrip(".") or type(cause).__name__
