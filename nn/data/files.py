"""Locating, opening and identifying data files, which may be compressed, damaged or hostile.

Formats are detected from the first bytes, so that errors can name the actual format.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from nn.errors import UserError

DATA_DIR_ENV = "NN_DATA"
"""Environment variable that names a directory of data."""
HEAD_BYTES = 512
"""Bytes at the start of a file that are compared with the signatures."""


def find_file(name: str) -> Path:
    """Resolve a path against the current directory, or else against NN_DATA."""
    path = Path(name)
    try:
        path = path.expanduser()
        if path.is_absolute() or path.exists():
            return path
        directory = data_dir()
        fallback = None if directory is None else directory / path
        if fallback is None or fallback.exists():
            return fallback or path
    except (OSError, RuntimeError):  # a name too long or an unknown user; opening it will report
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
                with io.BufferedReader(gzip.open(file)) as stream:
                    yield stream
            else:
                yield file
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{path}: the compressed data is truncated or damaged.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def read_up_to(stream: IO[bytes], size: int) -> bytearray:
    """Read up to `size` bytes, allocating no more than the stream really has."""
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(min(size - len(data), 1 << 20))
        if not chunk:
            break
        data += chunk
    return data


@dataclass(frozen=True)
class FileFormat:
    """Name of a format, and a hint on how to convert a file to one that is supported."""

    name: str
    hint: str = ""
    kind: str = "other"


UNPACK_HINT, EXPORT_HINT = "unpack it first", "export it as CSV"
CONVERT_HINT = "convert it to CSV first"
PICKLE_HINT = "pickles can run code and are never loaded: save the numbers as CSV or .npy"
IDX = FileFormat("an IDX file", kind="idx")
NPY = FileFormat("a NumPy .npy file", CONVERT_HINT, kind="npy")
NPZ = FileFormat("a NumPy .npz archive", CONVERT_HINT, kind="npz")
OFFICE = FileFormat("an Office document, such as an Excel workbook", EXPORT_HINT)
ZIP = FileFormat("a ZIP archive", UNPACK_HINT)
ZIP_MEMBER_SIGNATURES: tuple[tuple[bytes, FileFormat], ...] = (
    (rb"[^/]+\.npy$", NPZ),
    (rb"\[Content_Types\]|(docProps|_rels|xl|word)/", OFFICE),
    (rb"mimetype$", FileFormat("an OpenDocument file", EXPORT_HINT)),
    (rb"[^/]+/(data\.pkl|\.format_version|\.data/)", FileFormat("a PyTorch file", PICKLE_HINT)),
)
"""Formats of a ZIP archive, by regular expressions of the name of its first member."""
SIGNATURES: tuple[tuple[bytes, FileFormat], ...] = (
    (rb"\x89PNG", FileFormat("a PNG image", kind="image")),
    (rb"\xff\xd8\xff", FileFormat("a JPEG image", kind="image")),
    (rb"GIF8[79]a", FileFormat("a GIF image", kind="image")),
    (rb"II[*+]\0|MM\0[*+]", FileFormat("a TIFF image", kind="image")),
    (rb"RIFF.{4}WEBP", FileFormat("a WebP image", kind="image")),
    (rb"BM.{4}\0{4}", FileFormat("a BMP image", kind="image")),
    (rb".{4}ftyp(hei|hev|mif|msf|avi)", FileFormat("a HEIF or AVIF image", "convert it to PNG")),
    (rb"8BPS\0", FileFormat("a Photoshop document", "convert it to PNG")),
    (rb"\0\0\x01\0", FileFormat("an icon", "convert it to PNG")),
    (rb"\0\0[\x08\x09\x0b-\x0e][\x01-\xff]", IDX),
    (rb"\x93NUMPY", NPY),
    (rb"PK\x05\x06", ZIP),
    (rb".{257}ustar", FileFormat("a tar archive", UNPACK_HINT)),
    (rb"7z\xbc\xaf\x27\x1c", FileFormat("a 7z archive", UNPACK_HINT)),
    (rb"Rar!\x1a\x07", FileFormat("a RAR archive", UNPACK_HINT)),
    (rb"BZh[1-9]1AY&SY", FileFormat("a bzip2 file", UNPACK_HINT)),
    (rb"\xfd7zXZ\0", FileFormat("an xz file", UNPACK_HINT)),
    (rb"\x28\xb5\x2f\xfd", FileFormat("a Zstandard file", UNPACK_HINT)),
    (rb"\x1f\x8b", FileFormat("a gzip file within a gzip file", UNPACK_HINT)),
    (rb"%PDF-", FileFormat("a PDF file")),
    (rb"PAR1[\0-\x1f]", FileFormat("a Parquet file", CONVERT_HINT)),
    (rb"(ARROW1|FEA1)\0", FileFormat("an Arrow file", CONVERT_HINT)),
    (rb"\x89HDF\r\n", FileFormat("an HDF5 file", CONVERT_HINT)),
    (rb"MATLAB 5\.0", FileFormat("a MATLAB file", CONVERT_HINT)),
    (rb"SQLite format 3\0", FileFormat("an SQLite database", EXPORT_HINT)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OFFICE),
    (rb"\x80[\x02-\x05][\x80-\x95(\]}cK]", FileFormat("a pickle", PICKLE_HINT)),
    (rb'.{5}\0{3}\{"', FileFormat("a safetensors file", CONVERT_HINT)),
    (rb"\xff\xfe\0\0|\0\0\xfe\xff", FileFormat("text in UTF-32", "save it as UTF-8")),
    (rb"version https://git-lfs", FileFormat("a Git LFS pointer", "run git lfs pull")),
    (
        rb"(\xef\xbb\xbf)?\s*(?i:<!--|<!doctype html|<html|<head|<body)",
        FileFormat("a web page", "download the file itself"),
    ),
    (rb"(\xef\xbb\xbf)?\s*<svg", FileFormat("an SVG drawing", "convert it to PNG")),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", FileFormat("an XML file")),
    (rb'(\xef\xbb\xbf)?\s*(\{\s*"|\[\s*[\[{"\d-])', FileFormat("a JSON file", CONVERT_HINT)),
)
"""Regular expressions of the first bytes, the more specific ones first."""


def identify(head: bytes) -> FileFormat | None:
    """Return the format that the first bytes of a file indicate; None if it may be plain text."""
    signatures, default = SIGNATURES, None
    if head.startswith(b"PK\3\4"):
        name_length = int.from_bytes(head[26:28], "little")
        head, signatures, default = head[30 : 30 + name_length], ZIP_MEMBER_SIGNATURES, ZIP
    matches = (format_ for pattern, format_ in signatures if re.match(pattern, head, re.DOTALL))
    return next(matches, default)


def read_head(path: Path) -> bytes:
    """Return the first `HEAD_BYTES` of a file, after decompression."""
    with open_maybe_gzip(path) as stream:
        return stream.read(HEAD_BYTES)


def wrong_format_error(
    path: str | Path, actual: FileFormat, expected: str, hint: str = ""
) -> UserError:
    """Return an error that names the actual format, the expected one and a remedy."""
    hint = hint or actual.hint
    return UserError(f"{path} is {actual.name}, not {expected}{hint and f'; {hint}'}.")
