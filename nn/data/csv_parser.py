"""Parsing of CSV files: detection of encoding, delimiter and header, and location of errors."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from nn.data.files import open_maybe_gzip
from nn.data.source import MAX_CLASSES
from nn.errors import UserError

PARSER_VERSION = 1
"""To be increased with any change to the values that `parse` returns, since these are cached."""
LABEL_COLUMN_NAMES = ("label", "labels", "class", "target", "digit", "y")
INDEX_NAME_PATTERN = re.compile(
    r"|unnamed: ?\d+(\.\d+)?|level_\d+|index|idx|rownames|(image|row|sample)?[_ ]?id", re.IGNORECASE
)
DECIMAL_COMMA_PATTERN = re.compile(r"\s*[+-]?\d*,\d+(e[+-]?\d+)?\s*", re.IGNORECASE)
MIN_NUMBERED_COLUMNS = 10
"""In a narrower header that is only numbered, the numbers may be pixels in order by chance."""
CHUNK_ROWS = 8192
FLOAT32_MAX = float(np.finfo(np.float32).max)
SNIFFED_BYTES = 1 << 16
SNIFFED_LINES = 20


def parse(path: Path, skiprows: int) -> NDArray[np.number]:
    """Parse all rows after the first `skiprows`: as uint8 if that is exact, else as float32."""
    import pandas as pd

    chunks = []
    with open_maybe_gzip(path) as stream:
        dialect = Dialect.sniff(stream)
        try:
            for frame in pd.read_csv(
                stream,
                sep=r"\s+" if dialect.delimiter == " " else dialect.delimiter,
                header=None,
                skiprows=skiprows,
                dtype=np.float32,
                na_filter=False,
                chunksize=CHUNK_ROWS,
                encoding=dialect.encoding.removesuffix("-sig"),
            ):
                chunk = frame.to_numpy()
                if not np.isfinite(chunk).all():
                    raise invalid_value_error(path, skiprows > 0)
                chunks.append(as_uint8_if_exact(chunk))
        except pd.errors.EmptyDataError:
            raise UserError(f"{path} has no rows of numbers.") from None
        except (ValueError, OverflowError, csv.Error) as error:
            raise invalid_value_error(path, skiprows > 0, error) from None
    return np.concatenate(chunks)


def is_header(cells: Sequence[str]) -> bool:
    """Whether a row is a header: mostly names, one of a label column, or 0, 1, 2, ..."""
    names = [cell for cell in cells if not is_number(cell) and not _has_decimal_comma(cell)]
    has_label_column = any(name.strip().lower() in LABEL_COLUMN_NAMES for name in names)
    if has_label_column or 2 * len(names) > len(cells):
        return True
    # pandas writes the header 0, 1, 2, ... for an array
    numbers = [cell.strip() for cell in cells if not is_index_name(cell)]
    min_numbers = MIN_NUMBERED_COLUMNS if len(numbers) == len(cells) else 2
    return len(numbers) >= min_numbers and numbers == list(map(str, range(len(numbers))))


def is_index_name(name: str) -> bool:
    """Whether a column of this name is an index, provided that its values are whole numbers."""
    return INDEX_NAME_PATTERN.fullmatch(name.strip()) is not None


def is_number(cell: str) -> bool:
    """Whether a cell is a finite float32 in ASCII, without the underscores that Python accepts."""
    try:
        is_plain = cell.isascii() and "_" not in cell
        return is_plain and abs(float(cell)) <= FLOAT32_MAX
    except ValueError:
        return False


def read_rows(path: Path) -> Generator[list[str]]:
    """Yield the rows of a file as lists of cells; close the generator to close the file."""
    with open_maybe_gzip(path) as stream:
        dialect = Dialect.sniff(stream)
        text = io.TextIOWrapper(stream, encoding=dialect.encoding, newline="")
        is_space_delimited = dialect.delimiter == " "
        lines = (" ".join(line.split()) for line in text) if is_space_delimited else text
        try:
            yield from csv.reader(lines, delimiter=dialect.delimiter)
        except UnicodeError:
            raise UserError(f"{path} is not UTF-8 text; if it is text, save it as UTF-8.") from None
        except csv.Error as error:
            raise UserError(f"{path} cannot be read as CSV: {error}.") from None
        finally:
            text.detach()


def as_uint8_if_exact(values: NDArray[np.number]) -> NDArray[np.number]:
    """Convert to uint8 if all values are whole numbers from 0 to 255; else return them as is."""
    if values.min() < 0 or values.max() > 255:
        return values
    converted = values.astype(np.uint8)
    return converted if (converted == values).all() else values


def invalid_value_error(
    path: Path,
    has_header: bool,
    error: Exception | None = None,
    label_column: int | None = None,
    ignored_columns: Sequence[int] = (),
) -> UserError:
    """Return an error that locates the first invalid value.

    This reads the file again in pure Python, which is slow but knows rows and columns.
    """
    width = 0
    with closing(read_rows(path)) as rows:
        non_blank_rows = (
            (number, row)
            for number, row in enumerate(rows, 1)
            if len(row) > 1 or "".join(row).strip()
        )
        if has_header:
            next(non_blank_rows, None)
        for number, row in non_blank_rows:
            width = width or len(row)
            if len(row) != width:
                return UserError(
                    f"{path}, row {number}: {len(row)} values, but the rows above have {width}."
                )
            for column, cell in enumerate(row):
                is_role_known = label_column is not None and column not in ignored_columns
                message = _check_cell(cell, column == label_column if is_role_known else None)
                if message:
                    return UserError(f"{path}, row {number}, column {column + 1}: {message}.")
    reason = str(error).strip().split("\n", 1)[0] if error else "it has no numbers"
    return UserError(f"{path} cannot be read as CSV: {reason}.")


def _check_cell(cell: str, is_label: bool | None) -> str | None:
    """Return what is wrong with a cell; `is_label` is None if that is not known."""
    if not cell.strip():
        return "a value is missing"
    if _has_decimal_comma(cell):
        return f"{cell.strip()[:40]!r} has a decimal comma; write numbers with a decimal point"
    if not is_number(cell):
        return f"{cell[:40]!r} is not a number"
    value = float(cell)
    if is_label and (value != int(value) or not 0 <= value < MAX_CLASSES):
        return f"the label {cell.strip()} is not a whole number from 0 to {MAX_CLASSES - 1}"
    if is_label is False and not 0 <= value <= 255:
        return f"the pixel {cell.strip()} is not within 0 to 255"
    return None


def _has_decimal_comma(cell: str) -> bool:
    """Whether a cell is a number such as 0,5."""
    return DECIMAL_COMMA_PATTERN.fullmatch(cell) is not None


@dataclass(frozen=True)
class Dialect:
    """Encoding and delimiter of a file; a space means one or more spaces."""

    encoding: str
    delimiter: str

    @classmethod
    def sniff(cls, stream: BinaryIO) -> Dialect:
        """Detect the dialect from the start of a file, and rewind the stream."""
        head = stream.read(SNIFFED_BYTES)
        stream.seek(0)
        encoding = _detect_encoding(head)
        lines = head.decode(encoding, "replace").splitlines()
        if len(head) == SNIFFED_BYTES and len(lines) > 1:
            del lines[-1]  # incomplete
        unquoted = [re.sub(r'"[^"]*"', '""', line).strip(" ") for line in lines if line.strip()]
        return cls(encoding, _detect_delimiter(unquoted[:SNIFFED_LINES]))


def _detect_encoding(head: bytes) -> str:
    """Detect UTF-16 by its byte order mark or the zero bytes of ASCII text; default to UTF-8."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [not byte for byte in head[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else "utf-8-sig"


def _detect_delimiter(lines: Sequence[str]) -> str:
    """Return the character that separates the values, which occurs in every line.

    Commas within the values, as in 0,5;1,5, may be decimal commas.
    """
    if not lines:
        return ","
    all_comma = all("," in line for line in lines)
    for delimiter in ";\t|":
        if all(delimiter in line for line in lines):
            cells = [cell for line in lines[1:] or lines for cell in line.split(delimiter)]
            if not all_comma or all(is_number(cell) or _has_decimal_comma(cell) for cell in cells):
                return delimiter
    return " " if all(" " in line and "," not in line for line in lines) else ","
