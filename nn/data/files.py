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

from nn.errors import Mistake

DATA_VARIABLE = "NN_DATA"
"""The environment variable that names a folder of data."""


def find(name: str) -> Path:
    """Find a file from the current folder, or else in the folder that NN_DATA names."""
    path = Path(name)
    try:
        if path.is_absolute() or path.exists():
            return path
        folder = data_folder()
        elsewhere = None if folder is None else folder / path
        if elsewhere is None or elsewhere.exists():
            return elsewhere or path
    except OSError:  # such as a name too long, which opening it will report
        return path
    raise Mistake(f"{name}: there is no such file, nor is there {elsewhere}.")


def data_folder() -> Path | None:
    """Give the folder that NN_DATA names, if it is set."""
    name = os.environ.get(DATA_VARIABLE)
    if not name:
        return None
    list_folder(name, DATA_VARIABLE)
    return Path(name).expanduser()


def list_folder(folder: str, setting: str) -> dict[str, Path]:
    """List a folder that a setting names, by the names in it."""
    try:
        return {path.name: path for path in Path(folder).expanduser().iterdir()}
    except (OSError, RuntimeError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower().rstrip(".")
        raise Mistake(f"{setting}={folder} cannot be read: {reason}.") from None


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, compressed or not; what is wrong with it is told in a sentence."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise Mistake(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'no plain file'}.")
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if compressed:
                with gzip.open(file) as content:
                    yield cast(BinaryIO, content)
            else:
                yield file
    except FileNotFoundError:
        raise Mistake(f"{path}: there is no such file.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Mistake(f"{path}: the compressed data is cut off or damaged.") from None
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror or error}.") from None


def read_exactly(content: BinaryIO, size: int) -> bytearray:
    """Read so many bytes if they are there, and never hold more than there are."""
    data = bytearray()
    while len(data) < size:
        part = content.read(min(size - len(data), 1 << 20))
        if not part:
            break
        data += part
    return data
