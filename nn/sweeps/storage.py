"""Storage of a sweep's study: a journal file, or a PostgreSQL database shared by machines."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend

from nn.errors import SaveError, UserError
from nn.io.files import TailReader, write_at
from nn.io.paths import relpath
from nn.runs.history import MAX_HISTORY_BYTES
from nn.runs.signals import BoundedSignalHandler

if TYPE_CHECKING:
    from optuna.storages import RDBStorage  # imports SQLAlchemy

Result = TypeVar("Result")
JournalLog = dict[str, Any]
"""An operation in a journal, as Optuna reads and writes it."""
MAX_OUTAGE_SECONDS = 600.0
"""Seconds for which operations are retried while a storage is unavailable."""
POSTGRES_SCHEMES = ("postgresql", "postgres")
CONNECT_ARGS = {
    "application_name": "nn-sweeps",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""Parameters of libpq, by which a connection that gets no answers fails within a minute."""
LOCK_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30s",
    "idle_in_transaction_session_timeout": "300s",
}
"""Server settings of the locking transaction: it ends if its machine vanishes or is suspended."""
LOCK_QUERY = "select pg_advisory_xact_lock(hashtext('nn-sweeps'))"
STUDY_FILES = ("study.log", ".study.log.lock", ".study.log.trials.lock")
"""Files of a study that is stored in its sweep directory."""
JOURNAL_PREFIX = b'{"op_code":'
"""The first bytes of a journal."""
BLOCK_BYTES = 2**16
"""Bytes read at a time when searching backwards for the last line end."""
FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class CorruptStudyError(UserError):
    """A file is not a readable study."""


class StudyStorage(ABC):
    """An Optuna storage with a lock between processes and retries during outages."""

    optuna_storage: BaseStorage
    display_name: str
    signal_handler: BoundedSignalHandler | None = None
    """Runs operations in a thread if set, so that signals are handled while the storage hangs."""

    def __init__(self) -> None:
        self._max_outage_seconds = MAX_OUTAGE_SECONDS

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Return a context manager that holds the lock, waiting until no other process does."""

    @abstractmethod
    def is_transient_error(self, error: Exception) -> bool:
        """Return whether an error means that the storage is temporarily unavailable."""

    def is_stored_at(self, path: Path) -> bool:
        """Return whether the study is stored in this file."""
        return False

    def close(self) -> None:  # noqa: B027  (nothing to close by default)
        """Close files and connections, in a process that continues."""

    def retry(self, operation: Callable[[], Result]) -> Result:
        """Run an idempotent operation, repeating it while the storage is unavailable.

        Raises:
            SaveError: The storage was unavailable for too long, or while the sweep was stopping.
        """
        start_time, is_reported = time.monotonic(), False
        while True:
            try:
                return self._call_interruptibly(operation)
            except Exception as error:
                if not self.is_transient_error(error):
                    raise
                is_stopping = self.signal_handler and self.signal_handler.is_stopping
                if is_stopping or time.monotonic() - start_time > self._max_outage_seconds:
                    self._max_outage_seconds = 0.0  # later operations are tried only once
                    raise SaveError(
                        f"{self.display_name} is unavailable: {_format_error(error)}."
                    ) from None
                if not is_reported:
                    is_reported = True
                    print(
                        f"{self.display_name} is unavailable; retrying: {_format_error(error)}.",
                        file=sys.stderr,
                    )
                self._call_interruptibly(lambda: time.sleep(0.5))

    def _call_interruptibly(self, function: Callable[[], Result]) -> Result:
        return self.signal_handler.run_in_thread(function) if self.signal_handler else function()


class JournalStudyStorage(StudyStorage):
    """Optuna's journal in a file, on a local disk or one that machines share."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.display_name = path, relpath(path)
        try:
            self._backend = CrashSafeJournalBackend(path)
            self.optuna_storage = JournalStorage(self._backend)
            self._lock_fd = _open_lock_file(path, "trials.lock")
        except OSError as error:
            raise UserError(f"{path}: a study cannot be stored there: {error.strerror}.") from None
        except MemoryError:
            raise
        except Exception:  # Optuna may raise anything when it replays a damaged journal
            raise CorruptStudyError(f"{path} is not a study file.") from None

    @classmethod
    def open_or_recover(cls, sweep_dir: Path, notify: Callable[[str], None]) -> JournalStudyStorage:
        """Open the study of a sweep directory; rename a damaged one and create a new one."""
        path = sweep_dir / "study.log"
        try:
            return cls(path)
        except CorruptStudyError:
            backup_path = path.with_name("study.log.damaged")
            path.replace(backup_path)
            notify(f"{path} is damaged; it was renamed to {backup_path.name}.")
            return cls(path)

    def is_transient_error(self, error: Exception) -> bool:
        """Return whether the disk is full or fails; a file that was removed does not come back."""
        permanent_errors = (TimeoutError, FileNotFoundError, NotADirectoryError)
        return isinstance(error, OSError) and not isinstance(error, permanent_errors)

    def is_stored_at(self, path: Path) -> bool:
        """Return whether this is the journal's own file."""
        return path.exists() and path.samefile(self.path)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lock of a file next to the journal."""
        return _exclusive_lock(self._lock_fd)

    def close(self) -> None:
        """Close the lock files."""
        os.close(self._lock_fd)
        self._backend.close()


class JournalSnapshot(StudyStorage):
    """The content of a journal file, which is not written."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.display_name = relpath(path)
        try:
            lines, _ = TailReader(path.parent, path.name, MAX_HISTORY_BYTES).read_lines()
            backend = InMemoryJournalBackend([json.loads(line) for line in lines])
            self.optuna_storage = JournalStorage(backend)
        except (MemoryError, UserError):
            raise
        except Exception:  # Optuna may raise anything when it replays a damaged journal
            raise CorruptStudyError(f"{path} is not a study file.") from None

    def lock(self) -> AbstractContextManager[None]:
        """Hold no lock, since nothing is written."""
        return nullcontext()

    def is_transient_error(self, error: Exception) -> bool:
        """Return that no error is transient."""
        return False


class PostgresStudyStorage(StudyStorage):
    """Optuna's tables in a PostgreSQL database, which may be unavailable for a while."""

    optuna_storage: RDBStorage

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
            with self.lock():  # two machines may create the tables at the same time
                self.optuna_storage = RDBStorage(sqlalchemy_url, engine_kwargs=engine_kwargs)
        except ImportError:
            raise UserError(
                f"{self.display_name} needs psycopg, which is not installed; "
                'run pip install -e ".[postgres]".'
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
        """Hold an advisory lock of the database, which is released if the connection is lost."""
        settings_sql = ", ".join(
            f"set_config('{key}', '{value}', true)" for key, value in LOCK_SETTINGS.items()
        )
        with self._engine.begin() as connection:
            connection.execute(self._sqlalchemy.text(f"select {settings_sql}"))
            connection.execute(self._sqlalchemy.text(LOCK_QUERY))
            yield

    def close(self) -> None:
        """Close the connections."""
        self.optuna_storage.remove_session()
        self.optuna_storage.engine.dispose()
        self._engine.dispose()

    def is_transient_error(self, error: Exception) -> bool:
        """Return whether the error comes from the server or the connection to it."""
        return isinstance(error, (self._sqlalchemy.exc.DBAPIError, StorageInternalError))


def open_storage(url: str) -> StudyStorage:
    """Open a storage: a PostgreSQL database by its URL, or else a journal file by its path."""
    if "://" not in url:
        return JournalStudyStorage(Path(url))
    scheme = url.partition("://")[0]
    if scheme not in POSTGRES_SCHEMES:
        raise UserError(
            f"--storage={redact_url(url)}: the scheme is not supported; write "
            "postgresql://USER@HOST/DATABASE, or the path of a file on a disk that all machines "
            "share."
        )
    return PostgresStudyStorage(url)


def open_existing_storage(url: str, *, read_only: bool) -> StudyStorage:
    """Open a storage that is not created if it is missing, and perhaps not written at all."""
    if "://" in url:
        return open_storage(url)
    path = Path(url)
    if not path.is_file():
        raise UserError(f"{relpath(path)}: there is no study yet.")
    return JournalSnapshot(path) if read_only else JournalStudyStorage(path)


def redact_url(url: str) -> str:
    """Return a URL with its password replaced by asterisks."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return "***"
    return url.replace(f":{password}@", ":***@") if password else url


class CrashSafeJournalBackend(BaseJournalBackend):
    """A journal file with one operation per line, as JSON.

    When its process is killed, Optuna's own backend leaves a lock file behind, and when the disk is
    full, a torn line that makes the journal unreadable. Here the operating system releases the
    lock (`flock`), and the next write truncates a torn line.
    """

    def __init__(self, path: Path) -> None:
        _check_first_line(path)
        self._path = path
        self._log_offsets = [0]  # byte offset of each log, as far as the file has been read
        self._lock_fd = _open_lock_file(path, "lock")
        os.close(os.open(path, FILE_FLAGS, 0o644))

    def close(self) -> None:
        """Close the lock file."""
        os.close(self._lock_fd)

    def read_logs(self, log_number_from: int) -> Iterator[JournalLog]:
        """Yield the logs from a number on; an unterminated last line is still being written."""
        number = min(log_number_from, len(self._log_offsets) - 1)
        with self._path.open("rb") as file:
            file.seek(self._log_offsets[number])
            for line in file:
                if not line.endswith(b"\n"):
                    return
                if number + 1 == len(self._log_offsets):
                    self._log_offsets.append(self._log_offsets[number] + len(line))
                if number >= log_number_from:
                    yield json.loads(line)
                number += 1

    def append_logs(self, logs: list[JournalLog]) -> None:
        """Append the logs to the file, all of them or none, and flush it to the disk."""
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with _exclusive_lock(self._lock_fd):
            fd = os.open(self._path, FILE_FLAGS, 0o644)
            try:
                end = _find_end_of_last_line(fd)
                os.ftruncate(fd, end)
                try:
                    write_at(fd, end, content)
                except OSError:
                    with suppress(OSError):  # otherwise the next process to write truncates it
                        os.ftruncate(fd, end)
                    raise
                os.fsync(fd)
            finally:
                os.close(fd)


class InMemoryJournalBackend(BaseJournalBackend):
    """A journal in memory: a sweep's study.log as far as it was read, or a copy for export."""

    def __init__(self, logs: Sequence[JournalLog] = ()) -> None:
        self._logs = list(logs)

    def read_logs(self, log_number_from: int) -> Sequence[JournalLog]:
        """Return the logs from a number on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[JournalLog]) -> None:
        """Append the logs to those in memory."""
        self._logs += logs

    @property
    def content(self) -> bytes:
        """The journal as the content of a file."""
        return b"".join(json.dumps(log).encode() + b"\n" for log in self._logs)


def _check_first_line(path: Path) -> None:
    """Raise `ValueError` for a file of another kind, which the first write would truncate."""
    if not path.exists() or path.is_dir():  # opening a directory fails with a clear error
        return
    if not path.is_file():
        raise ValueError
    with path.open("rb") as file:
        line = file.readline(BLOCK_BYTES)
    if line.endswith(b"\n"):
        json.loads(line)["op_code"]
    elif not JOURNAL_PREFIX.startswith(line[: len(JOURNAL_PREFIX)]):  # torn
        raise ValueError


def _find_end_of_last_line(fd: int) -> int:
    """Return the offset just after a file's last line end, or 0 if it has none."""
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - BLOCK_BYTES)
        position = os.pread(fd, end - start, start).rfind(b"\n")
        if position >= 0:
            return start + position + 1
        end = start
    return 0


def _open_lock_file(path: Path, suffix: str) -> int:
    """Open a lock file next to a journal and return its descriptor."""
    return os.open(path.with_name(f".{path.name}.{suffix}"), FILE_FLAGS, 0o644)


@contextmanager
def _exclusive_lock(fd: int) -> Iterator[None]:
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _format_error(error: Exception) -> str:
    """Return the first line of the message of the system, the database or its driver."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    return str(cause).strip().split("\n", 1)[0].rstrip(".") or type(cause).__name__
