"""Snapshots of a directory, to check that a refused command changes nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager


def contents(folder):
    """Return everything below a directory with its kind and content; links are not followed."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)  # noqa: PTH118
            found[os.path.relpath(path, folder)] = content(path)
    return found


def content(path):
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "link", os.readlink(path)  # noqa: PTH115
    if not stat.S_ISREG(status.st_mode):
        return (stat.S_IFMT(status.st_mode),)
    with open(path, "rb") as file:  # noqa: PTH123
        return "file", status.st_size, hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def unchanged(folder):
    """Fail if the block adds, removes or changes anything below a directory."""
    before = contents(folder)
    yield
    after = contents(folder)
    changes = {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
    assert not changes
