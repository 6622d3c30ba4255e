"""The file of Optuna's that keeps a study, made to survive the death of whoever writes it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock


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
