"""The history of a run: a line of JSON for each epoch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nn.io.files import OPEN_FLAGS, fsync, read_regular_file, write_at
from nn.io.serialization import to_json

MAX_HISTORY_BYTES = 2**30


class HistoryWriter:
    """Open for writing; a line that does not fit on the disk is kept until it does."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, OPEN_FLAGS, 0o644)
        self._reset(b"")

    def truncate_to(self, prefix: bytes) -> None:
        """Go on after what the file begins with."""
        os.ftruncate(self._descriptor, len(prefix))
        self._reset(prefix)

    def _reset(self, prefix: bytes) -> None:
        self.num_lines = prefix.count(b"\n")
        self._hasher = hashlib.sha256(prefix)
        self._bytes_written, self._pending = len(prefix), b""

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line, at once if it can be written."""
        line = (to_json(record) + "\n").encode()
        self.num_lines += 1
        self._hasher.update(line)
        self._pending += line
        self._flush()

    def sync(self) -> None:
        """Bring all lines to the disk."""
        self._flush()
        fsync(self._descriptor)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """How many lines there are, and what they hash to."""
        return {"lines": self.num_lines, "sha256": self._hasher.hexdigest()}

    def close(self) -> None:
        """End the writing."""
        os.close(self._descriptor)

    def _flush(self) -> None:
        write_at(self._descriptor, self._bytes_written, self._pending)
        self._bytes_written, self._pending = self._bytes_written + len(self._pending), b""


def verify_prefix(content: bytes, fingerprint: Mapping[str, Any]) -> bytes | None:
    """Give the lines that a checkpoint knows of, if they are as they were."""
    lines = content.splitlines(keepends=True)[: fingerprint["lines"]]
    prefix = b"".join(lines)
    is_unchanged = (
        len(lines) == fingerprint["lines"]
        and hashlib.sha256(prefix).hexdigest() == fingerprint["sha256"]
    )
    return prefix if is_unchanged else None


def read_history(run_dir: Path) -> list[dict[str, Any]]:
    """Read a run's history; one that is missing or damaged says nothing."""
    try:
        return parse_history(read_regular_file(run_dir, "history.jsonl", MAX_HISTORY_BYTES))
    except FileNotFoundError:
        return []


def parse_history(content: bytes) -> list[dict[str, Any]]:
    """Read lines of history, or nothing where they are damaged; a torn last line is left out."""
    *lines, last_line = content.split(b"\n")
    try:
        records = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return []
    with suppress(ValueError, RecursionError):
        records.append(json.loads(last_line))
    return records if all(isinstance(record, dict) for record in records) else []
