"""The history of a run: a line of JSON for each epoch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nn.io.files import FRESH, read_plain, sync, write_at
from nn.io.serialization import to_json

LONGEST = 2**30


class History:
    """Open for writing; a line that does not fit on the disk is kept until it does."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, FRESH, 0o644)
        self._know(b"")

    def cut_back(self, begun: bytes) -> None:
        """Go on after what the file begins with."""
        os.ftruncate(self._file, len(begun))
        self._know(begun)

    def _know(self, begun: bytes) -> None:
        self.lines = begun.count(b"\n")
        self._digest = hashlib.sha256(begun)
        self._written, self._pending = len(begun), b""

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line, at once if it can be written."""
        line = (to_json(record) + "\n").encode()
        self.lines += 1
        self._digest.update(line)
        self._pending += line
        self._write()

    def sync(self) -> None:
        """Bring all lines to the disk."""
        self._write()
        sync(self._file)

    @property
    def facts(self) -> dict[str, Any]:
        """How many lines there are, and what they hash to."""
        return {"lines": self.lines, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """End the writing."""
        os.close(self._file)

    def _write(self) -> None:
        write_at(self._file, self._written, self._pending)
        self._written, self._pending = self._written + len(self._pending), b""


def first_lines(content: bytes, facts: Mapping[str, Any]) -> bytes | None:
    """Give the lines that a checkpoint knows of, if they are as they were."""
    lines = content.splitlines(keepends=True)[: facts["lines"]]
    begun = b"".join(lines)
    whole = len(lines) == facts["lines"] and hashlib.sha256(begun).hexdigest() == facts["sha256"]
    return begun if whole else None


def records(folder: Path) -> list[dict[str, Any]]:
    """Read a run's history; one that is missing or damaged says nothing."""
    try:
        return parse(read_plain(folder, "history.jsonl", LONGEST))
    except FileNotFoundError:
        return []


def parse(content: bytes) -> list[dict[str, Any]]:
    """Read lines of history, or nothing where they are damaged; a torn last line is left out."""
    *lines, torn = content.split(b"\n")
    try:
        read = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return []
    with suppress(ValueError, RecursionError):
        read.append(json.loads(torn))
    return read if all(isinstance(record, dict) for record in read) else []
