"""The history of a run: history.jsonl, one JSON object per epoch."""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypedDict, TypeGuard

from nn.io.coerce import extract_column, to_confusion_matrix, to_list
from nn.io.files import OPEN_FLAGS, TailReader, fsync, write_at
from nn.io.serialization import JsonObject, parse_json, to_json
from nn.training import HistoryRecord
from nn.types import IntArray

MAX_HISTORY_BYTES = 2**30
MAX_COLUMNS = 200
"""Columns that are read from a history; further ones are ignored."""


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
    lines, _ = TailReader(run_dir, "history.jsonl", MAX_HISTORY_BYTES).read_lines()
    return parse_history(lines) or []


def parse_history(lines: Sequence[bytes]) -> list[JsonObject] | None:
    """Parse complete lines of a history; None if any of them is damaged."""
    try:
        values = to_list(parse_json(b"[" + b",".join(lines) + b"]"))
    except ValueError:
        return None
    records = [value for value in values if isinstance(value, dict)]
    return records if len(records) == len(lines) else None


def is_history_record(record: Mapping[str, object]) -> TypeGuard[HistoryRecord]:
    """Whether a record that was read back has an epoch number, which W&B files it under."""
    return type(record.get("epoch")) is int


class HistoryReader:
    """Reads the numeric columns of a history.jsonl, and with each update only its new lines."""

    def __init__(self, run_dir: Path, keys: Collection[str] | None = None) -> None:
        self._tail = TailReader(run_dir, "history.jsonl", MAX_HISTORY_BYTES)
        self._keys = keys  # None reads all columns
        self._reset()

    def _reset(self) -> None:
        self.epochs: list[float] = []
        self.confusion_matrix: IntArray | None = None  # the latest on record
        self.is_damaged = False
        self._columns: dict[str, array[float]] = {}  # NaN where an epoch lacks the value

    def update(self) -> bool:
        """Read what is new and return whether there was anything.

        Damage in any line empties the history until the file is replaced.

        Raises:
            UserError: The file is a symbolic link, not a regular file, too large, or unreadable.
        """
        lines, is_replaced = self._tail.read_lines()
        if is_replaced:
            self._reset()
        if lines and not self.is_damaged:
            records = parse_history(lines)
            if records is None:
                self._reset()
                self.is_damaged = True
            else:
                self._extend(records)
        return is_replaced or bool(lines)

    def _extend(self, records: list[JsonObject]) -> None:
        first_row = len(self.epochs)
        for row, epoch in enumerate(extract_column(records, "epoch"), first_row + 1):
            self.epochs.append(row if epoch is None else epoch)
        keys = self._keys or dict.fromkeys(key for record in records for key in record)
        for key in keys:
            values = extract_column(records, key)
            is_known = key in self._columns
            if key == "epoch" or (not is_known and len(self._columns) >= MAX_COLUMNS):
                continue
            if is_known or any(value is not None for value in values):
                column = self._columns.setdefault(key, array("d"))
                column.extend([math.nan] * (first_row - len(column)))
                column.extend([math.nan if value is None else value for value in values])
        if self._keys is None:
            for record in reversed(records):
                matrix = to_confusion_matrix(record.get("val/confusion_matrix"))
                if matrix is not None:
                    self.confusion_matrix = matrix
                    break

    @property
    def columns(self) -> list[str]:
        """The names of the columns that have a value."""
        return list(self._columns)

    def column(self, key: str, start: int = 0) -> list[float | None]:
        """Return a column from an epoch's index on, None where an epoch lacks the value."""
        start = max(0, start)
        values = self._columns.get(key, array("d"))[start:]
        numbers = [None if math.isnan(value) else value for value in values]
        return numbers + [None] * (len(self.epochs) - start - len(numbers))


def minmax_downsample(curves: Sequence[Sequence[float | None]], max_points: int) -> list[int]:
    """Return the indices of the points to keep, by min-max downsampling.

    The curves share an x axis. From each bucket of neighboring points every curve keeps its
    minimum and its maximum, so that a peak in a single epoch stays visible; both ends are kept.
    """
    length = max(map(len, curves), default=0)
    if length <= max_points:
        return list(range(length))
    buckets = max(1, (max_points - 2) // (2 * len(curves)))
    edges = [length * index // buckets for index in range(buckets + 1)]
    kept = {0, length - 1}
    for curve in curves:
        for start, end in pairwise(edges):
            values = enumerate(curve[start:end], start)
            bucket = [(value, index) for index, value in values if value is not None]
            if bucket:
                kept |= {min(bucket)[1], max(bucket)[1]}
    return sorted(kept)
