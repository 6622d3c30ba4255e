"""Backends for Optuna's journal storage, one of which survives crashes and full disks."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from nn.io.files import read_regular_file, write_at
from nn.runs.history import MAX_HISTORY_BYTES

BLOCK_BYTES = 2**16
"""Bytes read at a time when searching backwards for the last line end."""
JOURNAL_PREFIX = b'{"op_code":'
"""The first bytes of a journal."""


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
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock_fd = os.open(path.with_name(f".{path.name}.lock"), flags, 0o644)
        os.close(os.open(path, flags, 0o644))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
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

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append the logs to the file, all of them or none, and flush it to the disk."""
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._exclusive_lock():
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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

    @contextmanager
    def _exclusive_lock(self) -> Iterator[None]:
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)


class InMemoryJournalBackend(BaseJournalBackend):
    """A journal in memory, such as the copy of a study for export."""

    def __init__(self) -> None:
        self._logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the logs from a number on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append the logs to those in memory."""
        self._logs += logs

    @property
    def content(self) -> bytes:
        """The journal as the content of a file."""
        return b"".join(json.dumps(log).encode() + b"\n" for log in self._logs)


class ReadOnlyJournalBackend(InMemoryJournalBackend):
    """A snapshot of a sweep's study.log, without a torn last line."""

    def __init__(self, sweep_dir: Path) -> None:
        super().__init__()
        content = read_regular_file(sweep_dir, "study.log", MAX_HISTORY_BYTES)
        self._logs += [json.loads(line) for line in content.split(b"\n")[:-1]]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Raise `PermissionError`: reading a sweep must not change it."""
        raise PermissionError


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
