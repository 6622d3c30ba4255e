"""The file in which Optuna keeps a study, made to survive crashes and full disks."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from nn.io.files import read_plain, write_at
from nn.runs.history import LONGEST

BLOCK = 2**16
"""Bytes read at once when looking for the last line end."""
FIRST = b'{"op_code":'
"""How a journal begins."""


class JournalFile(BaseJournalBackend):
    """Optuna's journal of operations, one JSON object a line.

    Optuna's own backend leaves a lock file behind when its process is killed, and a torn line when
    the disk is full, after which the journal cannot be read. Here the lock is the operating
    system's, and a torn line is cut off.
    """

    def __init__(self, path: Path) -> None:
        _check_first_line(path)
        self._path = path
        self._offsets = [0]  # where each log begins, as far as the file has been read
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock = os.open(path.with_name(f".{path.name}.lock"), flags, 0o644)
        os.close(os.open(path, flags, 0o644))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the logs from a number on; a line without its end is not there yet."""
        number = min(log_number_from, len(self._offsets) - 1)
        with self._path.open("rb") as file:
            file.seek(self._offsets[number])
            for line in file:
                if not line.endswith(b"\n"):
                    return
                if number + 1 == len(self._offsets):
                    self._offsets.append(self._offsets[number] + len(line))
                if number >= log_number_from:
                    yield json.loads(line)
                number += 1

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines to the file, all of them or none."""
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._locked():
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                end = _end_of_last_line(file)
                os.ftruncate(file, end)
                try:
                    write_at(file, end, content)
                except OSError:
                    with suppress(OSError):  # else the next process to write cuts it off
                        os.ftruncate(file, end)
                    raise
                os.fsync(file)
            finally:
                os.close(file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


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


def _check_first_line(path: Path) -> None:
    """Raise `ValueError` for a file of another kind, which a first write would cut off."""
    if not path.exists() or path.is_dir():  # of which the system says what is wrong
        return
    if not path.is_file():
        raise ValueError
    with path.open("rb") as file:
        line = file.readline(BLOCK)
    if line.endswith(b"\n"):
        json.loads(line)["op_code"]
    elif not FIRST.startswith(line[: len(FIRST)]):  # torn
        raise ValueError


def _end_of_last_line(file: int) -> int:
    """Return the size of a file without what follows its last line end."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
