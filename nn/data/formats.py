"""File formats, detected from the first bytes, so that errors can name the actual format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nn.data.files import open_maybe_gzip
from nn.errors import UserError

HEAD_BYTES = 512
"""Bytes at the start of a file that are compared with the signatures."""


@dataclass(frozen=True)
class FileFormat:
    """Name of a format, and a hint on how to convert a file to one that is supported."""

    name: str
    hint: str = ""
    kind: str = "other"


UNPACK_HINT, CONVERT_HINT, EXPORT_HINT = (
    "unpack it first",
    "convert it to CSV first",
    "export it as CSV",
)
PICKLE_HINT = "pickles can run code and are never loaded: save the numbers as CSV or .npy"
IDX = FileFormat("an IDX file", kind="idx")
NPY = FileFormat("a NumPy .npy file", CONVERT_HINT, kind="npy")
NPZ = FileFormat("a NumPy .npz archive", CONVERT_HINT, kind="npz")
OFFICE = FileFormat("an Office document, such as an Excel workbook", EXPORT_HINT)
ZIP = FileFormat("a ZIP archive", UNPACK_HINT)
ZIP_MEMBER_SIGNATURES = (
    (rb"[^/]+\.npy$", NPZ),
    (rb"\[Content_Types\]|(docProps|_rels|xl|word)/", OFFICE),
    (rb"mimetype$", FileFormat("an OpenDocument file", EXPORT_HINT)),
    (rb"[^/]+/(data\.pkl|\.format_version|\.data/)", FileFormat("a PyTorch file", PICKLE_HINT)),
)
"""Formats of a ZIP archive, by regular expressions of the name of its first member."""
SIGNATURES = (
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
    if head.startswith(b"PK\3\4"):
        name_length = int.from_bytes(head[26:28], "little")
        member_name = head[30 : 30 + name_length]
        return next(
            (
                format_
                for pattern, format_ in ZIP_MEMBER_SIGNATURES
                if re.match(pattern, member_name)
            ),
            ZIP,
        )
    return next(
        (format_ for pattern, format_ in SIGNATURES if re.match(pattern, head, re.DOTALL)), None
    )


def read_head(path: Path) -> bytes:
    """Return the first `HEAD_BYTES` of a file, after decompression."""
    with open_maybe_gzip(path) as stream:
        return stream.read(HEAD_BYTES)


def wrong_format_error(
    path: str | Path, actual: FileFormat, expected: str, hint: str = ""
) -> UserError:
    """Return an error that names the actual format, the expected one and a remedy."""
    hint_text = hint or actual.hint
    return UserError(f"{path} is {actual.name}, not {expected}{hint_text and f'; {hint_text}'}.")
