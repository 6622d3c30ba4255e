"""CSV files of pixels, such as Kaggle's and Colab's: a row for each sample.

pandas reads a file once. What it gave is kept in the cache under the SHA-256 of the file, as an
array that opens in milliseconds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.data import cache, formats, index_columns
from nn.data.csv_text import NAMES_OF_LABELS, as_bytes, is_header, parse, problem, rows
from nn.data.files import find, opened
from nn.data.source import MOST_CLASSES, Content, Raw, Source, check_labels, count_classes
from nn.errors import Mistake, require


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
        label = str(self.label)
        table = Table.open(find(self.train), self.header).without_index(label)
        column = table.label_column(label)
        train = table.samples(column)
        assert train.labels is not None
        classes, tables, test = count_classes(train.labels, self.train), [table], None
        if self.test is not None:
            other, labels = Table.open(find(self.test), self.header).like(table, column, classes)
            test = other.samples(labels)
            if test.labels is not None:
                check_labels(test.labels, classes, self.test)
            tables.append(other)
        for read in tables:
            read.keep()
        peak = 255 if train.images.max() > 1 else 1
        notes = tuple(note for read in tables for note in read.notes)
        return Content(train, test, tuple(map(str, range(classes))), peak, notes=notes)


@dataclass(frozen=True)
class Table:
    """The numbers of a file, the names of its columns where it has them, and its index columns."""

    path: Path
    names: list[str] | None
    values: NDArray[Any]
    cached: Path
    index: tuple[int, ...] = ()

    @classmethod
    def open(cls, path: Path, header: str | bool) -> Table:
        """Take the numbers from the cache, or parse them."""
        found = formats.identify(formats.read_head(path))
        if found is not None:
            remedy = "dataset=idx reads it" if found is formats.IDX else ""
            raise formats.wrong_format(path, found, "a CSV file", remedy)
        with opened(path) as content:
            skipped, first = next(
                (pair for pair in enumerate(rows(content, path)) if any(map(str.strip, pair[1]))),
                (0, None),
            )
        if first is None:
            raise Mistake(f"{path} is empty.")
        with_header = {"true": True, "false": False}.get(str(header).lower(), is_header(first))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        cached = cache.folder("csv") / f"{digest}-{int(with_header)}.npy"
        values = _load(cached)
        if values is None:
            values = parse(path, skipped + 1 if with_header else 0)
        names = [cell.strip() for cell in first] if with_header else None
        if names and len(names) == values.shape[1] - 1 and index_columns.counts_up(values[:, 0]):
            names.insert(0, "")  # as R writes it
        if names and len(names) != values.shape[1]:
            raise Mistake(
                f"{path}, row 1: the header has {len(names)} columns, the rows below "
                f"{values.shape[1]}."
            )
        return cls(path, names, values, cached)

    @property
    def columns(self) -> list[int]:
        """The columns that are not an index."""
        return [column for column in range(self.values.shape[1]) if column not in self.index]

    @property
    def width(self) -> int:
        """The number of columns that are not an index."""
        return len(self.columns)

    @property
    def notes(self) -> list[str]:
        """A sentence for each column that is ignored."""
        notes = []
        for column in sorted(self.index):
            name = f" ({self.names[column]})" if self.names and self.names[column] else ""
            notes.append(f"{self.path}: column {column + 1}{name} is an index and is ignored.")
        return notes

    def keep(self) -> None:
        """Put the numbers into the cache."""
        if not isinstance(self.values, np.memmap):
            with cache.written_aside(self.cached) as aside:
                np.save(aside, self.values)

    def label_column(self, label: str) -> int:
        """Find the column of the labels."""
        if label in ("first", "last"):
            return self.columns[0 if label == "first" else -1]
        if label == "auto" and self.is_unnamed:
            return self.columns[0]
        found = self.column_of(NAMES_OF_LABELS if label == "auto" else [label.lower()])
        if found is None and label == "auto":
            raise Mistake(
                f"{self.path}: no column is named {NAMES_OF_LABELS[0]}; "
                "say which has the labels with dataset.label=NAME, first or last."
            )
        if found is None:
            known = ", ".join((self.names or [])[:3]) + ", ..." if self.names else "no header"
            raise Mistake(f"dataset.label={label}: {self.path} has no such column; it has {known}.")
        return found

    def column_of(self, names: Sequence[str]) -> int | None:
        """Find the column of the first of these names, in lower case, that there is."""
        ours = {(self.names or [])[i].lower(): i for i in reversed(self.columns) if self.names}
        return next((ours[name] for name in names if name in ours), None)

    def without_index(self, label: str) -> Table:
        """Leave out the index columns of a training set."""
        table = self._without_named_index(label)
        edge = -1 if label == "last" else 0
        while table.is_unnamed and table.width > 2 and table._is_extra(table.columns[edge]):
            table = table._without(table.columns[edge])
        labels = table.label_column(label)
        while True:
            pixels = [column for column in table.columns if column != labels]
            edges = [pixels[0], pixels[-1]] if len(pixels) > 1 else []
            extra = [column for column in edges if table._is_extra(column)]
            if not extra:
                return table
            table = table._without(extra[0])

    def like(self, train: Table, label_column: int, classes: int) -> tuple[Table, int | None]:
        """Find the labels and leave out the index, where the pixels are those of a training set."""
        pixels, place = train.width - 1, train.columns.index(label_column)
        table: Table = self
        if self.names is None and self.values.shape[1] == train.values.shape[1]:
            table = replace(self, index=train.index)
        named = train.names[label_column] if train.names and self.names else "auto"
        table = table.without_extra(pixels, classes, named, place, bool(train.index))
        if table.width not in (pixels, pixels + 1):
            raise Mistake(
                f"{self.path} has {self.width} columns; {train.path} has a label and "
                f"{pixels} pixels."
            )
        if table.names is None or train.names is None:
            labels = table._expected_labels(named, place)[0]
            return table, labels if table.width > pixels else None
        label = train.names[label_column]
        if table._names_but(label) != train._names_but(label):
            raise Mistake(f"{self.path} has other columns than {train.path}, or in another order.")
        return table, table.names.index(label) if label in table.names else None

    def without_extra(
        self, pixels: int, classes: int, label: str, place: int = 0, likely: bool = False
    ) -> Table:
        """Leave out the index columns of samples whose number of pixels and classes is known.

        `place` is where the labels are if there are no names, `likely` whether the training set
        has an index, too.
        """
        table = self._without_named_index(label)
        extra = table.width - pixels
        if extra < 0:
            return self  # the network has learned from what is named like an index
        if extra not in (1, 2):
            return table
        labels, is_named = table._expected_labels(label, place)
        if extra == 1 and is_named:
            return table
        ends = [table.columns[end] for end in ([0, -1] if extra == 1 else [0, -1, 1, -2])]
        grades = {
            column: index_columns.evidence(self.values[:, column])
            for column in ends
            if not (is_named and column == labels)
        }
        best = max(grades, key=lambda column: grades[column])
        if not grades[best]:
            return table
        if extra == 1 and labels is not None:
            values = self.values[:, labels]
            sure = grades[best] > 2 if values.min() < values.max() else grades[best] > 1
            sure = (sure and best != labels) or (
                likely and index_columns.counts_up(self.values[:, best])
            )
            if not sure and index_columns.are_whole(values) and values.max() < classes:
                return table
        return table._without(best)

    def samples(self, label_column: int | None) -> Raw:
        """Part labels and pixels, and make square images of pixels where they can be."""
        values, labels = self.values, None
        if label_column is not None:
            column = values[:, label_column]
            if column.min() < 0 or column.max() >= MOST_CLASSES or (column % 1).any():
                raise self._problem(label_column)
            labels = column.astype(np.int64)
        others = [*self.index, *([] if label_column is None else [label_column])]
        values = np.delete(values, others, axis=1) if others else values
        if not values.size:
            raise Mistake(f"{self.path} has no pixels in it.")
        if values.dtype != np.uint8:
            if values.min() < 0 or values.max() > 255:
                raise self._problem(label_column)
            values = as_bytes(values)
        side = math.isqrt(values.shape[1])
        shape = (1, side, side) if side**2 == values.shape[1] else (values.shape[1],)
        return Raw(values.reshape(-1, *shape), labels)

    @property
    def is_unnamed(self) -> bool:
        """Whether the columns have no names but numbers."""
        names = self.names
        return names is None or all(names[column].isdecimal() for column in self.columns)

    def _names_but(self, label: str) -> list[str]:
        """List the names of the pixels."""
        names = [self.names[column] for column in self.columns] if self.names else []
        return [name for name in names if name != label]

    def _expected_labels(self, label: str, place: int) -> tuple[int | None, bool]:
        """Find the column in which labels would be, and whether its name says so."""
        if label in ("first", "last"):
            return self.columns[0 if label == "first" else -1], False
        if label == "auto" and self.is_unnamed:
            return self.columns[place], False
        found = self.column_of(NAMES_OF_LABELS if label == "auto" else [label.lower()])
        return found, found is not None

    def _without(self, column: int) -> Table:
        """Leave out an index column."""
        return replace(self, index=(*self.index, column))

    def _without_named_index(self, label: str) -> Table:
        """Leave out the columns that are an index by their names, the labels aside."""
        names = [name.lower() for name in self.names or []]
        leading = next((column for column, name in enumerate(names) if name), 0)
        index = [
            column
            for column, name in enumerate(names)
            if index_columns.is_index_name(name)
            and name != label.lower()
            and (name or names.count("") == 1 or column < leading)
            and index_columns.are_whole(self.values[:, column])
        ]
        return replace(self, index=(*self.index, *index))

    def _is_extra(self, column: int) -> bool:
        """Whether a column that may be a pixel must be an index of the training set."""
        pixels = self.width - 1
        if not index_columns.is_superfluous(self.values[:, column], pixels):
            return False
        square, without = (index_columns.is_square(count) for count in (pixels, pixels - 1))
        names = [name for i, name in enumerate(self.names or []) if i not in self.index]
        if self.is_unnamed:
            return True
        unlike = index_columns.is_named_unlike_others(names, self.columns.index(column))
        return unlike and without and not square

    def _problem(self, label_column: int | None) -> Mistake:
        """Find the label or the pixel that cannot be one."""
        column = -1 if label_column is None else label_column
        return problem(self.path, self.names is not None, None, column, self.index)


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
