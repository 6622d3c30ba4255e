"""The file of Optuna's that keeps a study, made to survive the death of whoever writes it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from nn.tracking.files import read_plain
from nn.tracking.history import LONGEST


class Lock(BaseJournalFileLock):
    """A lock of the system's, which ends with its process; Optuna's own outlives it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def acquire(self) -> bool:
        """Wait until nobody else writes."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let others write."""
        fcntl.flock(self._file, fcntl.LOCK_UN)


class Reading(BaseJournalBackend):
    """A study's file as it stands, to be read; a last line that is torn is no part of it."""

    def __init__(self, folder: Path) -> None:
        content = read_plain(folder, "study.log", LONGEST)
        self._logs = [json.loads(line) for line in content.split(b"\n")[:-1]]

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Give the entries from one on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse; whoever looks at a sweep changes nothing."""
        raise PermissionError


class Copy(BaseJournalBackend):
    """A study's journal in memory."""

    def __init__(self) -> None:
        self._logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Give the entries from one on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries."""
        self._logs += logs

    @property
    def content(self) -> bytes:
        """The journal as the bytes of a file."""
        return b"".join(json.dumps(log).encode() + b"\n" for log in self._logs)


def journal(path: Path) -> JournalFileBackend:
    """Open a study's file, and drop a last line that was torn off."""
    lock = Lock(path.with_name(f".{path.name}.lock"))
    lock.acquire()
    try:
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
    finally:
        lock.release()
    return JournalFileBackend(str(path), lock_obj=lock)
