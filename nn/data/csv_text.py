"""The text of CSV files: encoding, delimiter, header and numbers, and where a wrong value is."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nn.data.files import opened
from nn.data.index_columns import is_numbered_header
from nn.data.source import MOST_CLASSES
from nn.errors import Mistake

ROWS_AT_ONCE = 8192
LARGEST = float(np.finfo(np.float32).max)
NAMES_OF_LABELS = ("label", "labels", "class", "target", "digit", "y")
SNIFFED_BYTES = 1 << 16
SNIFFED_LINES = 20
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+(e[+-]?\d+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How a file is written; a space as delimiter stands for any number of spaces."""

    encoding: str
    delimiter: str

    @classmethod
    def of(cls, content: BinaryIO) -> Dialect:
        """Find the dialect of a file from how it begins."""
        head = content.read(SNIFFED_BYTES)
        content.seek(0)
        encoding = _encoding(head)
        lines = head.decode(encoding, "replace").splitlines()
        if len(head) == SNIFFED_BYTES and len(lines) > 1:
            del lines[-1]  # it is cut off
        unquoted = [re.sub(r'"[^"]*"', '""', line).strip(" ") for line in lines if line.strip()]
        return cls(encoding, _delimiter(unquoted[:SNIFFED_LINES]))


def _encoding(head: bytes) -> str:
    """Recognize UTF-16 by its mark or by the zeros beside ASCII characters; else it is UTF-8."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [not byte for byte in head[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else "utf-8-sig"


def _delimiter(lines: Sequence[str]) -> str:
    """Find the character between the values, which is in every line.

    Where the comma is another one, as in 0,5;1,5, it may stand for the decimal point.
    """
    commas = all("," in line for line in lines)
    for delimiter in ";\t|":
        if not lines or not all(delimiter in line for line in lines):
            continue
        cells = [cell for line in lines[1:] or lines for cell in line.split(delimiter)]
        if not commas or all(is_number(cell) or DECIMAL_COMMA.fullmatch(cell) for cell in cells):
            return delimiter
    any_comma = any("," in line for line in lines)
    spaced = bool(lines) and all(" " in line for line in lines)
    return " " if spaced and not any_comma else ","


def is_header(cells: Sequence[str]) -> bool:
    """Take a row for a header if most of it is names, one of them means labels, or it counts up."""
    names = [cell for cell in cells if not is_number(cell) and not DECIMAL_COMMA.fullmatch(cell)]
    labelled = any(name.strip().lower() in NAMES_OF_LABELS for name in names)
    return labelled or 2 * len(names) > len(cells) or is_numbered_header(cells)


def parse(path: Path, rows_above: int) -> NDArray[Any]:
    """Read all numbers of a file; bytes stay bytes."""
    import pandas as pd

    parts = []
    with opened(path) as content:
        dialect = Dialect.of(content)
        try:
            for frame in pd.read_csv(
                content,
                sep=r"\s+" if dialect.delimiter == " " else dialect.delimiter,
                header=None,
                skiprows=rows_above,
                dtype=np.float32,
                na_filter=False,
                chunksize=ROWS_AT_ONCE,
                encoding=dialect.encoding.removesuffix("-sig"),
            ):
                part = frame.to_numpy()
                if not np.isfinite(part).all():
                    raise problem(path, rows_above > 0)
                parts.append(as_bytes(part))
        except pd.errors.EmptyDataError:
            raise Mistake(f"{path} has no rows of numbers.") from None
        except (ValueError, OverflowError, csv.Error) as error:
            raise problem(path, rows_above > 0, error) from None
    return np.concatenate(parts)


def as_bytes(values: NDArray[Any]) -> NDArray[Any]:
    """Give whole numbers from 0 to 255 as bytes, and anything else as it is."""
    if values.min() < 0 or values.max() > 255:
        return values
    whole = values.astype(np.uint8)
    return whole if (whole == values).all() else values


def problem(
    path: Path,
    with_header: bool,
    error: Exception | None = None,
    label_column: int | None = None,
    index: Sequence[int] = (),
) -> Mistake:
    """Find the first value that cannot be used, slowly, and say where it is."""
    width, header = 0, with_header
    with opened(path) as content:
        for number, row in enumerate(rows(content, path), 1):
            if not any(map(str.strip, row)) and len(row) < 2:
                continue
            if header:
                header = False
                continue
            width = width or len(row)
            if len(row) != width:
                return Mistake(
                    f"{path}, row {number}: {len(row)} values, where the rows above have {width}."
                )
            for column, cell in enumerate(row):
                known = label_column is not None and column not in index
                wrong = _wrong(cell, column == label_column if known else None)
                if wrong:
                    return Mistake(f"{path}, row {number}, column {column + 1}: {wrong}.")
    reason = str(error).strip().split("\n", 1)[0] if error else "it has no numbers"
    return Mistake(f"{path} cannot be read as CSV: {reason}.")


def _wrong(cell: str, is_label: bool | None) -> str | None:
    """Say what is wrong with a cell, of which it may be known whether it is a label."""
    if not cell.strip():
        return "a value is missing"
    if DECIMAL_COMMA.fullmatch(cell):
        return f"{cell.strip()[:40]!r} has a decimal comma; write numbers with a decimal point"
    if not is_number(cell):
        return f"{cell[:40]!r} is not a number"
    value = float(cell)
    if is_label and (value != int(value) or not 0 <= value < MOST_CLASSES):
        return f"the label {cell.strip()} is not a whole number from 0 to {MOST_CLASSES - 1}"
    if is_label is False and not 0 <= value <= 255:
        return f"the pixel {cell.strip()} is not within 0 to 255"
    return None


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number in the usual form."""
    try:
        usual = cell.isascii() and "_" not in cell
        return usual and abs(float(cell)) <= LARGEST
    except ValueError:
        return False


def rows(content: BinaryIO, path: Path) -> Iterator[list[str]]:
    """Yield the rows of a file as texts."""
    dialect = Dialect.of(content)
    text = io.TextIOWrapper(content, encoding=dialect.encoding, newline="")
    spaced = dialect.delimiter == " "
    lines = (" ".join(line.split()) for line in text) if spaced else text
    try:
        yield from csv.reader(lines, delimiter=dialect.delimiter)
    except UnicodeError:
        raise Mistake(f"{path} is not UTF-8 text; if it is text, save it as UTF-8.") from None
    except csv.Error as error:
        raise Mistake(f"{path} cannot be read as CSV: {error}.") from None
    finally:
        text.detach()
