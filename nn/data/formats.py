"""Formats of files, recognized by how they begin, so that a wrong file is called what it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nn.data.files import opened
from nn.errors import Mistake

HEAD_BYTES = 512


@dataclass(frozen=True)
class Format:
    """What a file is, and what can be done with one that is not read here."""

    name: str
    remedy: str = ""
    kind: str = "other"


UNPACK, CONVERT, EXPORT = "unpack it first", "convert it to CSV first", "export it as CSV"
NO_PICKLE = "pickles can run code and are never loaded: save the numbers as CSV or .npy"
IDX = Format("an IDX file", kind="idx")
NPY = Format("a NumPy .npy file", CONVERT, kind="npy")
NPZ = Format("a NumPy .npz archive", CONVERT, kind="npz")
OFFICE = Format("an Office document, such as an Excel workbook", EXPORT)
ZIP = Format("a ZIP archive", UNPACK)
ZIP_CONTENTS = (
    (rb"[^/]+\.npy$", NPZ),
    (rb"\[Content_Types\]|(docProps|_rels|xl|word)/", OFFICE),
    (rb"mimetype$", Format("an OpenDocument file", EXPORT)),
    (rb"[^/]+/(data\.pkl|\.format_version|\.data/)", Format("a PyTorch file", NO_PICKLE)),
)
"""What a ZIP archive is by the name of its first file."""
SIGNATURES = (
    (rb"\x89PNG", Format("a PNG image", kind="image")),
    (rb"\xff\xd8\xff", Format("a JPEG image", kind="image")),
    (rb"GIF8[79]a", Format("a GIF image", kind="image")),
    (rb"II[*+]\0|MM\0[*+]", Format("a TIFF image", kind="image")),
    (rb"RIFF.{4}WEBP", Format("a WebP image", kind="image")),
    (rb"BM.{4}\0{4}", Format("a BMP image", kind="image")),
    (rb".{4}ftyp(hei|hev|mif|msf|avi)", Format("a HEIF or AVIF image", "convert it to PNG")),
    (rb"8BPS\0", Format("a Photoshop document", "convert it to PNG")),
    (rb"\0\0\x01\0", Format("an icon", "convert it to PNG")),
    (rb"\0\0[\x08\x09\x0b-\x0e][\x01-\xff]", IDX),
    (rb"\x93NUMPY", NPY),
    (rb"PK\x05\x06", ZIP),
    (rb".{257}ustar", Format("a tar archive", UNPACK)),
    (rb"7z\xbc\xaf\x27\x1c", Format("a 7z archive", UNPACK)),
    (rb"Rar!\x1a\x07", Format("a RAR archive", UNPACK)),
    (rb"BZh[1-9]1AY&SY", Format("a bzip2 file", UNPACK)),
    (rb"\xfd7zXZ\0", Format("an xz file", UNPACK)),
    (rb"\x28\xb5\x2f\xfd", Format("a Zstandard file", UNPACK)),
    (rb"\x1f\x8b", Format("a gzip file within a gzip file", UNPACK)),
    (rb"%PDF-", Format("a PDF file")),
    (rb"PAR1[\0-\x1f]", Format("a Parquet file", CONVERT)),
    (rb"(ARROW1|FEA1)\0", Format("an Arrow file", CONVERT)),
    (rb"\x89HDF\r\n", Format("an HDF5 file", CONVERT)),
    (rb"MATLAB 5\.0", Format("a MATLAB file", CONVERT)),
    (rb"SQLite format 3\0", Format("an SQLite database", EXPORT)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OFFICE),
    (rb"\x80[\x02-\x05][\x80-\x95(\]}cK]", Format("a pickle", NO_PICKLE)),
    (rb'.{5}\0{3}\{"', Format("a safetensors file", CONVERT)),
    (rb"\xff\xfe\0\0|\0\0\xfe\xff", Format("text in UTF-32", "save it as UTF-8")),
    (rb"version https://git-lfs", Format("a Git LFS pointer", "run git lfs pull")),
    (
        rb"(\xef\xbb\xbf)?\s*(?i:<!--|<!doctype html|<html|<head|<body)",
        Format("a web page", "download the file itself"),
    ),
    (rb"(\xef\xbb\xbf)?\s*<svg", Format("an SVG drawing", "convert it to PNG")),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", Format("an XML file")),
    (rb'(\xef\xbb\xbf)?\s*(\{\s*"|\[\s*[\[{"\d-])', Format("a JSON file", CONVERT)),
)
"""Regular expressions of the first bytes, the more specific ones first."""


def identify(head: bytes) -> Format | None:
    """Recognize a format that is not plain text by the first bytes of a file."""
    if head.startswith(b"PK\3\4"):
        length = int.from_bytes(head[26:28], "little")
        name = head[30 : 30 + length]
        return next((found for pattern, found in ZIP_CONTENTS if re.match(pattern, name)), ZIP)
    return next(
        (found for pattern, found in SIGNATURES if re.match(pattern, head, re.DOTALL)), None
    )


def read_head(path: Path) -> bytes:
    """Read the first bytes of a file, compressed or not."""
    with opened(path) as content:
        return content.read(HEAD_BYTES)


def wrong_format(path: str | Path, found: Format, expected: str, remedy: str = "") -> Mistake:
    """Say what a file is, what it should be, and what can be done."""
    advice = remedy or found.remedy
    return Mistake(f"{path} is {found.name}, not {expected}{advice and f'; {advice}'}.")
