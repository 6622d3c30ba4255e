"""The history of a run: history.jsonl, one JSON object per epoch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypedDict, TypeGuard

from nn.io.files import OPEN_FLAGS, fsync, read_regular_file, write_at
from nn.io.serialization import JsonObject, to_json
from nn.training import HistoryRecord

MAX_HISTORY_BYTES = 2**30


class HistoryFingerprint(TypedDict):
    """The number of lines and the SHA-256 of a history, by which a checkpoint recognizes it."""

    lines: int
    sha256: str


class HistoryWriter:
    """Appends to a history file; lines that cannot be written yet are buffered and retried."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, OPEN_FLAGS, 0o644)
        self._reset(b"")

    def truncate_to(self, prefix: bytes) -> None:
        """Discard everything after `prefix`, with which the file must start."""
        os.ftruncate(self._descriptor, len(prefix))
        self._reset(prefix)

    def _reset(self, prefix: bytes) -> None:
        self.num_lines = prefix.count(b"\n")
        self._hasher = hashlib.sha256(prefix)
        self._bytes_written, self._pending = len(prefix), b""

    def append(self, record: HistoryRecord) -> None:
        """Append a line and try to write everything that is pending.

        Raises:
            OSError: Writing failed; the line stays pending.
        """
        line = (to_json(record) + "\n").encode()
        self.num_lines += 1
        self._hasher.update(line)
        self._pending += line
        self._flush()

    def sync(self) -> None:
        """Write pending lines and flush the file to the disk (fsync)."""
        self._flush()
        fsync(self._descriptor)

    @property
    def fingerprint(self) -> HistoryFingerprint:
        """The fingerprint of the file's content, pending lines included."""
        return {"lines": self.num_lines, "sha256": self._hasher.hexdigest()}

    def close(self) -> None:
        """Close the file; pending lines are lost."""
        os.close(self._descriptor)

    def _flush(self) -> None:
        write_at(self._descriptor, self._bytes_written, self._pending)
        self._bytes_written, self._pending = self._bytes_written + len(self._pending), b""


def verify_prefix(content: bytes, fingerprint: HistoryFingerprint) -> bytes | None:
    """Return the lines that a fingerprint covers, or None if they have changed since."""
    lines = content.splitlines(keepends=True)[: fingerprint["lines"]]
    prefix = b"".join(lines)
    is_unchanged = (
        len(lines) == fingerprint["lines"]
        and hashlib.sha256(prefix).hexdigest() == fingerprint["sha256"]
    )
    return prefix if is_unchanged else None


def read_history(run_dir: Path) -> list[JsonObject]:
    """Read a run's history; one that is missing or damaged counts as empty."""
    try:
        return parse_history(read_regular_file(run_dir, "history.jsonl", MAX_HISTORY_BYTES))
    except FileNotFoundError:
        return []


def parse_history(content: bytes) -> list[JsonObject]:
    """Parse the lines of a history; an incomplete last line is dropped, other damage empties it."""
    *lines, last_line = content.split(b"\n")
    try:
        records = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return []
    with suppress(ValueError, RecursionError):
        records.append(json.loads(last_line))
    return records if all(isinstance(record, dict) for record in records) else []


def is_history_record(record: Mapping[str, object]) -> TypeGuard[HistoryRecord]:
    """Whether a record that was read back has an epoch number, which W&B files it under."""
    return type(record.get("epoch")) is int
