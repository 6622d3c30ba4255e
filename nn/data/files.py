"""Locating and reading data files, which may be compressed, damaged or hostile."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from nn.errors import UserError

DATA_DIR_ENV = "NN_DATA"
"""Environment variable that names a directory of data."""


def find_file(name: str) -> Path:
    """Resolve a path against the current directory, or else against NN_DATA."""
    path = Path(name)
    try:
        if path.is_absolute() or path.exists():
            return path
        directory = data_dir()
        fallback = None if directory is None else directory / path
        if fallback is None or fallback.exists():
            return fallback or path
    except OSError:  # such as a name that is too long, which opening the file will report
        return path
    raise UserError(f"{name}: there is no such file, nor is there {fallback}.")


def data_dir() -> Path | None:
    """Return the directory that NN_DATA names, or None if it is not set."""
    name = os.environ.get(DATA_DIR_ENV)
    if not name:
        return None
    list_dir(name, DATA_DIR_ENV)
    return Path(name).expanduser()


def list_dir(directory: str, setting: str) -> dict[str, Path]:
    """Map the names in a directory to their paths; errors quote the setting that names it."""
    try:
        return {path.name: path for path in Path(directory).expanduser().iterdir()}
    except (OSError, RuntimeError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower().rstrip(".")
        raise UserError(f"{setting}={directory} cannot be read: {reason}.") from None


@contextmanager
def open_maybe_gzip(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file and decompress gzip; turn errors, also later ones, into a UserError."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            actual = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise UserError(f"{path} is {actual}.")
        with path.open("rb") as file:
            is_compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if is_compressed:
                with gzip.open(file) as stream:
                    yield cast(BinaryIO, stream)
            else:
                yield file
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{path}: the compressed data is truncated or damaged.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def read_up_to(stream: BinaryIO, size: int) -> bytearray:
    """Read up to `size` bytes, allocating no more than the stream really has."""
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(min(size - len(data), 1 << 20))
        if not chunk:
            break
        data += chunk
    return data
