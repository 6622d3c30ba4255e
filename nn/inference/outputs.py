"""Files that a command writes for its user: each whole, and over no other unasked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nn.errors import Mistake
from nn.tracking.files import write_whole
from nn.tracking.places import short


def check(outputs: Sequence[Path], inputs: Sequence[Path], force: bool) -> None:
    """Refuse places at which nothing should or can be written, before there is anything."""
    for number, path in enumerate(outputs):
        try:
            place = path.resolve()
            if place in [other.resolve() for other in outputs[:number]]:
                raise Mistake(f"{short(path)}: two files cannot be written to one place.")
            if place in [given.resolve() for given in inputs]:
                raise Mistake(f"{short(path)} is what is read; name another file.")
            if path.is_dir():
                raise Mistake(f"{short(path)} is a folder; name a file.")
            if path.exists() and not path.is_file():
                raise Mistake(f"{short(path)} is no plain file; name another.")
            if path.exists() and not force:
                raise Mistake(f"{short(path)} exists already; --force writes over it.")
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except (OSError, RuntimeError) as error:
            raise _unwritable(path, error) from None


def write(contents: Mapping[Path, bytes]) -> None:
    """Write all of them, and say where they are."""
    for path, content in contents.items():
        try:
            write_whole(path, content)
        except OSError as error:
            raise _unwritable(path, error) from None
        print(short(path))


def _unwritable(path: Path, error: Exception) -> Mistake:
    reason = getattr(error, "strerror", None) or error
    return Mistake(f"{short(path)}: nothing can be written there: {reason}.")
