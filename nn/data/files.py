"""Finding and opening files whose content nobody vouches for."""

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
"""The environment variable that names a folder of data."""


def find_file(name: str) -> Path:
    """Find a file from the current folder, or else in the folder that NN_DATA names."""
    path = Path(name)
    try:
        if path.is_absolute() or path.exists():
            return path
        folder = data_dir()
        fallback = None if folder is None else folder / path
        if fallback is None or fallback.exists():
            return fallback or path
    except OSError:  # such as a name too long, which opening it will report
        return path
    raise UserError(f"{name}: there is no such file, nor is there {fallback}.")


def data_dir() -> Path | None:
    """Give the folder that NN_DATA names, if it is set."""
    name = os.environ.get(DATA_DIR_ENV)
    if not name:
        return None
    list_dir(name, DATA_DIR_ENV)
    return Path(name).expanduser()


def list_dir(folder: str, setting: str) -> dict[str, Path]:
    """List a folder that a setting names, by the names in it."""
    try:
        return {path.name: path for path in Path(folder).expanduser().iterdir()}
    except (OSError, RuntimeError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower().rstrip(".")
        raise UserError(f"{setting}={folder} cannot be read: {reason}.") from None


@contextmanager
def open_maybe_gzip(path: Path) -> Iterator[BinaryIO]:
    """Open a file, compressed or not; what is wrong with it is told in a sentence."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UserError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'no plain file'}.")
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
        raise UserError(f"{path}: the compressed data is cut off or damaged.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def read_up_to(stream: BinaryIO, size: int) -> bytearray:
    """Read so many bytes if they are there, and never hold more than there are."""
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(min(size - len(data), 1 << 20))
        if not chunk:
            break
        data += chunk
    return data
