"""CSV files of pixels, such as Kaggle's and Colab's: a row for each sample.

pandas reads a file once. What it gave is kept in the cache under the SHA-256 of the file, as an
array that opens in milliseconds.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.data import cache
from nn.data.files import opened
from nn.data.source import MOST_CLASSES, Content, Raw, Source, check_labels, count_classes
from nn.errors import Mistake, require

ROWS_AT_ONCE = 8192
LARGEST = float(np.finfo(np.float32).max)
NAMES_OF_LABELS = ("label", "labels", "class", "target", "digit", "y")


@dataclass(frozen=True, kw_only=True)
class CSV(Source):
    """A file to train on, and perhaps one to test with, whose labels may be missing."""

    train: str
    test: str | None = None
    header: str | bool = "auto"
    label: str | int = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        header = str(self.header).lower()
        require(header in ("auto", "true", "false"), "header", self.header, "auto, true or false")

    def read(self, rng: np.random.Generator) -> Content:
        """Read the files; the labels of the training set say how many classes there are."""
        table = Table.open(Path(self.train), self.header)
        column = table.label_column(str(self.label))
        train = table.samples(column)
        assert train.labels is not None
        classes, test, other = count_classes(train.labels, self.train), None, None
        if self.test is not None:
            other = Table.open(Path(self.test), self.header)
            test = other.samples(other.column_like(table, column))
            if test.labels is not None:
                check_labels(test.labels, classes, self.test)
        for read in (table, other):
            if read:
                read.keep()
        peak = 255 if train.images.max() > 1 else 1
        return Content(train, test, tuple(map(str, range(classes))), peak)


@dataclass(frozen=True)
class Table:
    """The numbers of a file, and the names of its columns where it has them."""

    path: Path
    names: list[str] | None
    values: NDArray[Any]
    cached: Path

    @classmethod
    def open(cls, path: Path, header: str | bool) -> Table:
        """Take the numbers from the cache, or parse them."""
        with opened(path) as content:
            skipped, first = next(
                (pair for pair in enumerate(_rows(content, path)) if any(map(str.strip, pair[1]))),
                (0, None),
            )
        if first is None:
            raise Mistake(f"{path} is empty.")
        with_header = {"true": True, "false": False}.get(str(header).lower(), _is_header(first))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        cached = cache.folder("csv") / f"{digest}-{int(with_header)}.npy"
        values = _load(cached)
        if values is None:
            values = _parse(path, skipped + 1 if with_header else 0)
        names = [cell.strip() for cell in first] if with_header else None
        if names and len(names) != values.shape[1]:
            raise Mistake(
                f"{path}, row 1: the header has {len(names)} columns, the rows below "
                f"{values.shape[1]}."
            )
        return cls(path, names, values, cached)

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.values.shape[1])

    def keep(self) -> None:
        """Put the numbers into the cache."""
        if not isinstance(self.values, np.memmap):
            with cache.written_aside(self.cached) as aside:
                np.save(aside, self.values)

    def label_column(self, label: str) -> int:
        """Find the column of the labels."""
        if label in ("first", "last"):
            return 0 if label == "first" else self.width - 1
        lower = [name.lower() for name in self.names or []]
        if label == "auto" and not lower:
            return 0
        if label == "auto":
            found = next((name for name in NAMES_OF_LABELS if name in lower), None)
            if found is None:
                raise Mistake(
                    f"{self.path}: no column is named {NAMES_OF_LABELS[0]}; "
                    "say which has the labels with dataset.label=NAME, first or last."
                )
            return lower.index(found)
        if label.lower() not in lower:
            known = ", ".join((self.names or [])[:3]) + ", ..." if self.names else "no header"
            raise Mistake(f"dataset.label={label}: {self.path} has no such column; it has {known}.")
        return lower.index(label.lower())

    def column_like(self, other: Table, label_column: int) -> int | None:
        """Find the labels where another table, whose pixels these must be, has its own."""
        if self.width not in (other.width - 1, other.width):
            raise Mistake(
                f"{self.path} has {self.width} columns; {other.path} has a label and "
                f"{other.width - 1} pixels."
            )
        if self.names is None or other.names is None:
            return label_column if self.width == other.width else None
        label = other.names[label_column]
        pixels = [name for name in other.names if name != label]
        if [name for name in self.names if name != label] != pixels:
            raise Mistake(f"{self.path} has other columns than {other.path}, or in another order.")
        return self.names.index(label) if label in self.names else None

    def samples(self, label_column: int | None) -> Raw:
        """Part labels and pixels, and make square images of pixels where they can be."""
        values, labels = self.values, None
        if label_column is not None:
            column = values[:, label_column]
            if column.min() < 0 or column.max() >= MOST_CLASSES or (column % 1).any():
                raise self._problem(label_column)
            labels = column.astype(np.int64)
            values = np.delete(values, label_column, axis=1)
        if not values.size:
            raise Mistake(f"{self.path} has no pixels in it.")
        if values.dtype != np.uint8:
            if values.min() < 0 or values.max() > 255:
                raise self._problem(label_column)
            values = _as_bytes(values)
        side = math.isqrt(values.shape[1])
        shape = (1, side, side) if side**2 == values.shape[1] else (values.shape[1],)
        return Raw(values.reshape(-1, *shape), labels)

    def _problem(self, label_column: int | None) -> Mistake:
        """Find the label or the pixel that cannot be one."""
        column = -1 if label_column is None else label_column
        return _problem(self.path, with_header=self.names is not None, label_column=column)


def _is_header(cells: list[str]) -> bool:
    """Take a row for a header if most of it is names, or one of them means labels."""
    names = [cell for cell in cells if not _is_number(cell)]
    labelled = any(name.strip().lower() in NAMES_OF_LABELS for name in names)
    return labelled or 2 * len(names) > len(cells)


def _parse(path: Path, rows_above: int) -> NDArray[Any]:
    """Read all numbers of a file; bytes stay bytes."""
    import pandas as pd

    parts = []
    with opened(path) as content:
        try:
            for frame in pd.read_csv(
                content,
                header=None,
                skiprows=rows_above,
                dtype=np.float32,
                na_filter=False,
                chunksize=ROWS_AT_ONCE,
                encoding="utf-8",
            ):
                part = frame.to_numpy()
                if not np.isfinite(part).all():
                    raise _problem(path, rows_above > 0)
                parts.append(_as_bytes(part))
        except pd.errors.EmptyDataError:
            raise Mistake(f"{path} has no rows of numbers.") from None
        except (ValueError, OverflowError, csv.Error) as error:
            raise _problem(path, rows_above > 0, error) from None
    return np.concatenate(parts)


def _as_bytes(values: NDArray[Any]) -> NDArray[Any]:
    """Give whole numbers from 0 to 255 as bytes, and anything else as it is."""
    if values.min() < 0 or values.max() > 255:
        return values
    whole = values.astype(np.uint8)
    return whole if (whole == values).all() else values


def _load(cached: Path) -> NDArray[Any] | None:
    """Read an array of the cache, if it is there and whole."""
    if not cached.is_file():
        return None
    try:
        values = np.lib.format.open_memmap(cached, mode="r")
        usable = values.ndim == 2 and values.size and values.dtype in (np.uint8, np.float32)
    except Exception:  # whatever a damaged file does to the reader, it is parsed anew
        return None
    return values if usable else None


def _problem(
    path: Path,
    with_header: bool,
    error: Exception | None = None,
    label_column: int | None = None,
) -> Mistake:
    """Look for the first value that cannot be used, slowly, and tell where it is."""
    width, header = 0, with_header
    with opened(path) as content:
        for number, row in enumerate(_rows(content, path), 1):
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
                wrong = _wrong(cell, None if label_column is None else column == label_column)
                if wrong:
                    return Mistake(f"{path}, row {number}, column {column + 1}: {wrong}.")
    reason = str(error).strip().split("\n", 1)[0] if error else "it has no numbers"
    return Mistake(f"{path} cannot be read as CSV: {reason}.")


def _wrong(cell: str, is_label: bool | None) -> str | None:
    """Say what is wrong with a cell, of which it may be known whether it is a label."""
    if not cell.strip():
        return "a value is missing"
    if not _is_number(cell):
        return f"{cell[:40]!r} is no number"
    value = float(cell)
    if is_label and (value != int(value) or not 0 <= value < MOST_CLASSES):
        return f"the label {cell.strip()} is no whole number from 0 to {MOST_CLASSES - 1}"
    if is_label is False and not 0 <= value <= 255:
        return f"the pixel {cell.strip()} is not within 0 to 255"
    return None


def _is_number(cell: str) -> bool:
    try:
        usual = cell.isascii() and "_" not in cell
        return usual and abs(float(cell)) <= LARGEST
    except ValueError:
        return False


def _rows(content: Any, path: Path) -> Iterator[list[str]]:
    """Yield the rows of a file as texts."""
    text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
    try:
        yield from csv.reader(text)
    except UnicodeDecodeError:
        raise Mistake(f"{path} is no text in UTF-8.") from None
    except csv.Error as error:
        raise Mistake(f"{path} cannot be read as CSV: {error}.") from None
    finally:
        text.detach()
