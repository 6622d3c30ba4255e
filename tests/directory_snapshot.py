"""Snapshots of a directory, to check that a refused command changes nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def snapshot_directory(folder: Path) -> dict[str, tuple[str | int, ...]]:
    """Return everything below a directory with its kind and content; links are not followed."""
    entries = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            entries[str(path.relative_to(folder))] = describe_entry(path)
    return entries


def describe_entry(path: Path) -> tuple[str | int, ...]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "link", str(path.readlink())
    if not stat.S_ISREG(status.st_mode):
        return (stat.S_IFMT(status.st_mode),)
    with path.open("rb") as file:
        return "file", status.st_size, hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def assert_unchanged(folder: Path) -> Iterator[None]:
    """Fail if the block adds, removes or changes anything below a directory."""
    before = snapshot_directory(folder)
    yield
    after = snapshot_directory(folder)
    changes = {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
    assert not changes
