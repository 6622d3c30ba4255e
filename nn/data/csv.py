"""CSV files of pixels with one row per sample, as published by Kaggle and Colab.

pandas parses a file once. The parsed array is cached under the SHA-256 of the file, from where it
is memory-mapped in milliseconds.
"""

from __future__ import annotations

import hashlib
import math
import re
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nn.data import cache, csv_parser, files
from nn.data.csv_parser import LABEL_COLUMN_NAMES, is_index_name
from nn.data.source import (
    MAX_CLASSES,
    DataSource,
    RawDataset,
    RawSamples,
    check_labels,
    count_classes,
)
from nn.errors import UserError, require

MIN_ROWS = 10
"""In fewer rows, values may be consecutive or unique by chance."""


@dataclass(frozen=True, kw_only=True)
class CSV(DataSource):
    """A training file and an optional test file, which may lack labels."""

    train: str
    test: str | None = None
    header: str | bool = "auto"
    label: str | int = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        header = str(self.header).lower()
        require(header in ("auto", "true", "false"), "header", self.header, "auto, true or false")

    def read(self, rng: np.random.Generator) -> RawDataset:
        """Read the files; the training labels determine the number of classes."""
        train_table = CsvTable.from_file(files.find_file(self.train), self.header)
        train_table = train_table.drop_index_columns(str(self.label))
        label_column = train_table.find_label_column(str(self.label))
        train = train_table.to_samples(label_column)
        assert train.labels is not None
        num_classes = count_classes(train.labels, self.train)
        tables, test = [train_table], None
        if self.test is not None:
            test_table = CsvTable.from_file(files.find_file(self.test), self.header)
            test_table, test_label_column = test_table.align_with(
                train_table, label_column, num_classes
            )
            test = test_table.to_samples(test_label_column)
            if test.labels is not None:
                check_labels(test.labels, num_classes, self.test)
            tables.append(test_table)
        for table in tables:  # only now, since an invalid file must not be cached
            table.save_to_cache()
        max_value = 255 if train.images.max() > 1 else 1
        notes = tuple(note for table in tables for note in table.notes)
        return RawDataset(train, test, tuple(map(str, range(num_classes))), max_value, notes=notes)


@dataclass(frozen=True)
class CsvTable:
    """The values of a file, its column names (none without a header), and its index columns.

    pandas writes an index column unless called with index=False. A column is taken for an index
    because of its name, or because its values are unique and cannot be pixels or labels.
    """

    path: Path
    column_names: list[str]
    values: NDArray[np.number]
    cache_path: Path
    ignored_columns: tuple[int, ...] = ()

    @classmethod
    def from_file(cls, path: Path, header: str | bool) -> CsvTable:
        """Load the values from the cache, or parse the file."""
        file_format = files.identify(files.read_head(path))
        if file_format is not None:
            hint = "dataset=idx reads it" if file_format is files.IDX else ""
            raise files.wrong_format_error(path, file_format, "a CSV file", hint)
        with closing(csv_parser.read_rows(path)) as rows:
            non_blank_rows = ((n, row) for n, row in enumerate(rows) if any(map(str.strip, row)))
            num_blank, first_row = next(non_blank_rows, (0, []))
        if not first_row:
            raise UserError(f"{path} is empty.")
        is_header = csv_parser.is_header(first_row)
        has_header = {"true": True, "false": False}.get(str(header).lower(), is_header)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        file_name = f"{digest}-{int(has_header)}-v{csv_parser.PARSER_VERSION}.npy"
        cache_path = cache.cache_dir("csv") / file_name
        values = _load_cached(cache_path)
        if values is None:
            values = csv_parser.parse(path, num_blank + 1 if has_header else 0)
        column_names = [cell.strip() for cell in first_row] if has_header else []
        is_one_short = has_header and len(column_names) == values.shape[1] - 1
        if is_one_short and _is_consecutive(values[:, 0]):
            column_names.insert(0, "")  # R writes row names, but no header cell for them
        if column_names and len(column_names) != values.shape[1]:
            raise UserError(
                f"{path}, row 1: the header has {len(column_names)} columns, the rows below "
                f"{values.shape[1]}."
            )
        return cls(path, column_names, values, cache_path)

    @property
    def data_columns(self) -> list[int]:
        """Indices of the columns that are not ignored as an index."""
        return sorted(set(range(self.values.shape[1])).difference(self.ignored_columns))

    @property
    def num_columns(self) -> int:
        """Number of columns that are not ignored as an index."""
        return len(self.data_columns)

    @property
    def has_unnamed_columns(self) -> bool:
        """Whether the header is missing or consists of numbers."""
        names = self.column_names
        return not names or all(names[column].isdecimal() for column in self.data_columns)

    @property
    def notes(self) -> list[str]:
        """One message per ignored column."""
        notes = []
        for column in sorted(self.ignored_columns):
            name = self.column_names[column] if self.column_names else ""
            name = f" ({name})" if name else ""
            notes.append(f"{self.path}: column {column + 1}{name} is an index and is ignored.")
        return notes

    def save_to_cache(self) -> None:
        """Write the values to the cache, unless they come from there."""
        if not isinstance(self.values, np.memmap):
            with cache.atomic_path(self.cache_path) as temp_path:
                np.save(temp_path, self.values)

    def find_label_column(self, label: str) -> int:
        """Return the label column for the setting: a name, auto, first or last."""
        column, _ = self.expected_label_column(label)
        if column is not None:
            return column
        if label == "auto":
            raise UserError(
                f"{self.path}: no column is named {LABEL_COLUMN_NAMES[0]}; "
                "select the label column with dataset.label=NAME, first or last."
            )
        known = ", ".join(self.column_names[:3]) + ", ..." if self.column_names else "no header"
        raise UserError(f"dataset.label={label}: {self.path} has no such column; it has {known}.")

    def expected_label_column(self, label: str, position: int = 0) -> tuple[int | None, bool]:
        """Return the column that would hold labels, and whether it was found by its name.

        Upper and lower case are not distinguished. `position` among the data columns is that of the
        label if these have no names.
        """
        if label in ("first", "last"):
            return self.data_columns[0 if label == "first" else -1], False
        if label == "auto" and self.has_unnamed_columns:
            return self.data_columns[position], False
        columns = self.data_columns if self.column_names else []
        column_by_name = {self.column_names[column].lower(): column for column in reversed(columns)}
        names = LABEL_COLUMN_NAMES if label == "auto" else [label.lower()]
        column = next((column_by_name[name] for name in names if name in column_by_name), None)
        return column, column is not None

    def drop_index_columns(self, label: str) -> CsvTable:
        """Ignore the index columns of a training set."""
        table = self._drop_named_index_columns(label)
        edge = -1 if label == "last" else 0
        while (
            table.has_unnamed_columns
            and table.num_columns > 2
            and table._is_index_column(table.data_columns[edge])
        ):
            table = table._drop_column(table.data_columns[edge])
        label_column = table.find_label_column(label)
        while True:
            pixel_columns = [column for column in table.data_columns if column != label_column]
            edges = [pixel_columns[0], pixel_columns[-1]] if len(pixel_columns) > 1 else []
            column = next((column for column in edges if table._is_index_column(column)), None)
            if column is None:
                return table
            table = table._drop_column(column)

    def align_with(
        self, train: CsvTable, label_column: int, num_classes: int
    ) -> tuple[CsvTable, int | None]:
        """Ignore index columns so that the pixels match those of a training set.

        Returns:
            The table, and its label column or None if it has no labels.
        """
        num_pixels, label_position = train.num_columns - 1, train.data_columns.index(label_column)
        table: CsvTable = self
        if not self.column_names and self.values.shape[1] == train.values.shape[1]:
            table = replace(self, ignored_columns=train.ignored_columns)
        have_headers = bool(train.column_names and self.column_names)
        label_setting = train.column_names[label_column] if have_headers else "auto"
        table = table.drop_extra_columns(
            num_pixels, num_classes, label_setting, label_position, bool(train.ignored_columns)
        )
        if table.num_columns not in (num_pixels, num_pixels + 1):
            raise UserError(
                f"{self.path} has {self.num_columns} columns; {train.path} has a label and "
                f"{num_pixels} pixels."
            )
        if not have_headers:
            own_label_column, _ = table.expected_label_column(label_setting, label_position)
            return table, own_label_column if table.num_columns > num_pixels else None
        if table._pixel_names(label_setting) != train._pixel_names(label_setting):
            raise UserError(
                f"{self.path} and {train.path} differ in their columns or in the column order."
            )
        has_label = label_setting in table.column_names
        return table, table.column_names.index(label_setting) if has_label else None

    def drop_extra_columns(
        self,
        num_pixels: int,
        num_classes: int,
        label: str,
        label_position: int = 0,
        train_has_index: bool = False,
    ) -> CsvTable:
        """Ignore index columns where the number of pixels and classes is known.

        Args:
            num_pixels: Number of pixel columns that must remain.
            num_classes: Number of classes; larger values in a column are not labels.
            label: Setting of the label column: a name, auto, first or last.
            label_position: Position of the label among the data columns if these have no names.
            train_has_index: Whether the training set had an index, which makes one likely here.
        """
        table = self._drop_named_index_columns(label)
        num_extra = table.num_columns - num_pixels
        if num_extra < 0:
            return self  # the network was trained on a column that is named like an index
        if num_extra not in (1, 2):
            return table
        label_column, is_named = table.expected_label_column(label, label_position)
        if num_extra == 1 and is_named:
            return table
        candidates = [table.data_columns[end] for end in (0, -1, 1, -2)[: 2 * num_extra]]
        scores = {
            column: _index_score(self.values[:, column])
            for column in candidates
            if not (is_named and column == label_column)
        }
        best = max(scores, key=lambda column: scores[column])
        if not scores[best]:
            return table
        if num_extra == 1 and label_column is not None:
            values = self.values[:, label_column]
            is_index = scores[best] > 2 if values.min() < values.max() else scores[best] > 1
            is_index = (is_index and best != label_column) or (
                train_has_index and _is_consecutive(self.values[:, best])
            )
            may_be_labels = _are_nonnegative_integers(values) and values.max() < num_classes
            if may_be_labels and not is_index:
                return table
        return table._drop_column(best)

    def to_samples(self, label_column: int | None) -> RawSamples:
        """Split labels from pixels, and reshape the pixels to square images if possible."""
        values, labels = self.values, None
        if label_column is not None:
            column = values[:, label_column]
            if column.min() < 0 or column.max() >= MAX_CLASSES or (column % 1).any():
                raise self._invalid_value_error(label_column)
            labels = column.astype(np.int64)
        dropped = [*self.ignored_columns, *([] if label_column is None else [label_column])]
        values = np.delete(values, dropped, axis=1) if dropped else values
        if not values.size:
            raise UserError(f"{self.path} has no pixels.")
        if values.dtype != np.uint8:
            if values.min() < 0 or values.max() > 255:
                raise self._invalid_value_error(label_column)
            values = csv_parser.as_uint8_if_exact(values)
        side = math.isqrt(values.shape[1])
        shape = (1, side, side) if side**2 == values.shape[1] else (values.shape[1],)
        return RawSamples(values.reshape(-1, *shape), labels)

    def _pixel_names(self, label: str) -> list[str]:
        """Return the names of the data columns other than the label."""
        names = [self.column_names[column] for column in self.data_columns]
        return [name for name in names if name != label]

    def _drop_column(self, column: int) -> CsvTable:
        """Return a copy that ignores this column."""
        return replace(self, ignored_columns=(*self.ignored_columns, column))

    def _drop_named_index_columns(self, label: str) -> CsvTable:
        """Return a copy that ignores the columns named like an index, except for the label."""
        names = [name.lower() for name in self.column_names]
        leading = next((column for column, name in enumerate(names) if name), 0)
        index = [
            column
            for column, name in enumerate(names)
            if is_index_name(name)
            and name != label.lower()
            and (name or names.count("") == 1 or column < leading)
            and _are_nonnegative_integers(self.values[:, column])
        ]
        return replace(self, ignored_columns=(*self.ignored_columns, *index))

    def _is_index_column(self, column: int) -> bool:
        """Whether a column of a training set that could be a pixel must be an index."""
        num_pixels = self.num_columns - 1
        score = _index_score(self.values[:, column])
        if score < 2 or (score == 2 and _is_square(num_pixels)):
            return False
        if self.has_unnamed_columns:
            return True
        # other columns share their name up to digits, as pixel0 and pixel1 do
        stems = [re.sub(r"\d+", "", self.column_names[other]) for other in self.data_columns]
        has_distinct_name = stems.count(stems[self.data_columns.index(column)]) == 1
        return has_distinct_name and _is_square(num_pixels - 1) and not _is_square(num_pixels)

    def _invalid_value_error(self, label_column: int | None) -> UserError:
        """Return an error that locates the first invalid label or pixel."""
        column = -1 if label_column is None else label_column
        return csv_parser.invalid_value_error(
            self.path, bool(self.column_names), None, column, self.ignored_columns
        )


def _index_score(values: NDArray[np.number]) -> int:
    """Rate the evidence for an index column from 0 (not an index) to 4 (cannot be pixels)."""
    is_consecutive, has_enough_rows = _is_consecutive(values), len(values) >= MIN_ROWS
    if not is_consecutive and not (
        has_enough_rows
        and _are_nonnegative_integers(values)
        and len(np.unique(values)) == len(values)
    ):
        return 0
    if values.max() > 255:
        return 4 if is_consecutive else 3
    return 2 if is_consecutive and has_enough_rows else 1


def _is_consecutive(values: NDArray[np.number]) -> bool:
    """Whether each value is its predecessor plus one."""
    is_integer = len(values) > 1 and _are_nonnegative_integers(values)
    return is_integer and bool((np.diff(values.astype(np.int64)) == 1).all())


def _are_nonnegative_integers(values: NDArray[np.number]) -> bool:
    """Whether all values are whole numbers of at least 0."""
    return bool(values.min() >= 0 and not (values % 1).any())


def _is_square(num_pixels: int) -> bool:
    """Whether this number of pixels makes a square image."""
    return math.isqrt(num_pixels) ** 2 == num_pixels


def _load_cached(cache_path: Path) -> NDArray[np.number] | None:
    """Memory-map a cached array; return None if it is missing or damaged."""
    if not cache_path.is_file():
        return None
    try:
        values = np.lib.format.open_memmap(cache_path, mode="r")
        is_valid = values.ndim == 2 and values.size and values.dtype in (np.uint8, np.float32)
    except Exception:  # a damaged file can raise anything; the source is parsed again
        return None
    return values if is_valid else None
