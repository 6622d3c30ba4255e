"""Many samples in one file: IDX, .npy, .npz or CSV, compressed or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.data import formats, idx
from nn.data.csv import Table
from nn.data.csv_text import NAMES_OF_LABELS
from nn.data.input_spec import Inputs
from nn.data.source import check_labels
from nn.errors import Mistake
from nn.io.paths import short
from nn.predict.numpy_files import read_npy, read_npz, read_npz_labels
from nn.types import Array, Labels, Shape


@dataclass(frozen=True)
class Columns:
    """How CSV files are to be read: `dataset.header` and `dataset.label`."""

    header: str | bool = "auto"
    label: str | int = "auto"


USUAL = Columns()


@dataclass(frozen=True)
class Content:
    """What is in a file."""

    images: Array
    labels: Labels | None
    notes: Sequence[str]


def read(path: Path, inputs: Inputs, columns: Columns = USUAL) -> Content:
    """Read samples, and labels if they are in the same file."""
    labels: NDArray[Any] | None = None
    notes: list[str] = []
    kind = _kind(path, "an image or a CSV, IDX, .npy or .npz file")
    if kind == "npy":
        values = read_npy(path)
    elif kind == "npz":
        arrays = read_npz(path)
        values, labels, notes = arrays.samples, arrays.labels, arrays.notes
    elif kind == "idx":
        values = idx.read(path)[0]
    else:
        values, labels, notes = _rows(path, inputs, columns)
    if values.shape == inputs.shape[-2:] and len(inputs.shape) == 3 and kind in ("npy", "npz"):
        values = values[None]
    images = _shaped(values, inputs, path)
    images, scaled = _ranged(images, inputs, path)
    if labels is not None:
        labels = _checked_labels(labels, path, inputs, len(images))
    return Content(images, labels, [*notes, *scaled])


def read_labels(path: Path, inputs: Inputs, samples: int) -> Labels:
    """Read the true classes of samples that are in another file."""
    kind = _kind(path, "a CSV, IDX, .npy or .npz file")
    if kind == "npy":
        values = read_npy(path)
    elif kind == "npz":
        values = read_npz_labels(path)
    elif kind == "idx":
        values = idx.read(path)[0]
    else:
        table = Table.open(path, "auto")
        column = _label_column(table, table.width - 1)
        numbers = table.values[:, 0]
        if table.names is not None and column > 0 and (numbers[1:] <= numbers[:-1]).any():
            index = table.names[0] or "its first column"
            raise Mistake(f"{short(path)}: its rows are not in the order of {index}.")
        values = table.values[:, column]
    return _checked_labels(values, path, inputs, samples)


def _checked_labels(values: NDArray[Any], path: Path, inputs: Inputs, samples: int) -> Labels:
    """Make labels of values, one for each sample."""
    labels = idx.as_labels(values, path)
    if len(labels) != samples:
        raise Mistake(f"{short(path)} has {len(labels):,} labels for {samples:,} samples.")
    check_labels(labels, len(inputs.class_names), short(path))
    return labels


def _kind(path: Path, expected: str) -> str:
    """Recognize the format of a file, and refuse what cannot hold samples."""
    head = formats.read_head(path)
    if not head:
        raise Mistake(f"{short(path)} is empty.")
    found, suffix = formats.identify(head), path.suffix.lower()
    if found is None and head.startswith(b"\0\0"):
        found = formats.IDX
    kind = "csv" if found is None else found.kind
    if found is not None and kind not in ("npy", "npz", "idx"):
        raise formats.wrong_format(short(path), found, expected)
    if suffix in (".npy", ".npz") and kind != suffix[1:]:
        what = formats.NPY if suffix == ".npy" else formats.NPZ
        raise Mistake(f"{short(path)} is not {what.name}.")
    return kind


def _rows(
    path: Path, inputs: Inputs, columns: Columns
) -> tuple[NDArray[Any], Labels | None, list[str]]:
    """Read a CSV file, with a column of labels or without, and say what is ignored in it."""
    pixels, label = math.prod(inputs.shape), str(columns.label)
    whole = Table.open(path, columns.header)
    table = whole.without_extra(
        pixels, len(inputs.class_names), label, place=pixels if label == "last" else 0
    )
    if table.width not in (pixels, pixels + 1):
        raise Mistake(
            f"{short(path)} has {whole.width:,} columns; the model takes {pixels:,} values, to "
            "which a label and an index may be added."
        )
    if table.width == pixels:
        column = None
    elif label != "auto":
        column = table.label_column(label)
    else:
        column = _label_column(table, without_names=0)
    raw = table.samples(column)
    return raw.images, raw.labels, table.notes


def _label_column(table: Table, without_names: int) -> int:
    """Find the column of the labels by its name, or take the usual one where there are no names."""
    if table.is_unnamed:
        return table.columns[without_names]
    found = table.column_of(NAMES_OF_LABELS)
    if found is None:
        names = table.names or []
        raise Mistake(
            f"{short(table.path)}: none of its {len(names):,} columns, from {names[0]} to "
            f"{names[-1]}, is named {NAMES_OF_LABELS[0]}."
        )
    return found


def _shaped(values: NDArray[Any], inputs: Inputs, path: Path) -> NDArray[Any]:
    """Give each sample the shape that the model takes, if only dimensions are missing."""
    given, wanted = values.shape[1:], inputs.shape
    flat, layers = (math.prod(wanted),), wanted[1:] if wanted[0] == 1 else wanted
    last = (*wanted[1:], wanted[0])
    if given == last and given != wanted and inputs.look:
        values = np.moveaxis(values, -1, 1)
    elif given not in (wanted, flat, layers) and not (given == () and flat == (1,)):
        raise Mistake(
            f"{short(path)} has samples of {_sizes(given)}; the model takes {_sizes(layers)}."
        )
    return np.ascontiguousarray(values).reshape(-1, *wanted)


def _ranged(images: NDArray[Any], inputs: Inputs, path: Path) -> tuple[NDArray[Any], Sequence[str]]:
    """Bring values into the range of the training images, and say so where they were not."""
    if images.dtype != np.uint8:
        with np.errstate(over="ignore"):
            images = images.astype(np.float32)
        if not np.isfinite(images).all():
            raise Mistake(f"{short(path)} has values that are no finite numbers.")
    low, high = float(images.min()), float(images.max())
    if inputs.low == 0 <= low < high <= 1 < inputs.high:
        note = f"values from 0 to 1 were taken for shares of {inputs.high:g}"
        return images * np.float32(inputs.high), [note]
    room = 0.0 if inputs.bounded else inputs.high - inputs.low
    if high > inputs.high + room or low < inputs.low - room:
        raise Mistake(
            f"{short(path)} has values from {low:g} to {high:g}; the model was trained on "
            f"{inputs.low:g} to {inputs.high:g}."
        )
    return images, []


def _sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "one value"
