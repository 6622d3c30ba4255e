"""Samples and labels from array files: IDX, .npy, .npz or CSV, compressed or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.data import formats, idx
from nn.data.csv import CsvTable
from nn.data.csv_text import LABEL_COLUMN_NAMES
from nn.data.input_spec import InputSpec
from nn.data.source import check_labels
from nn.errors import UserError
from nn.io.paths import relpath
from nn.predict.numpy_files import read_npy, read_npz, read_npz_labels
from nn.types import Array, Labels


@dataclass(frozen=True)
class CsvOptions:
    """How to read CSV files: the run's `dataset.header` and `dataset.label`."""

    header: str | bool = "auto"
    label: str | int = "auto"


DEFAULT_CSV_OPTIONS = CsvOptions()


@dataclass(frozen=True)
class LoadedSamples:
    """Samples of a file, its labels if there are any, and notes on conversions."""

    samples: Array
    labels: Labels | None
    notes: Sequence[str]


def read_samples(
    path: Path, input_spec: InputSpec, csv_options: CsvOptions = DEFAULT_CSV_OPTIONS
) -> LoadedSamples:
    """Read samples in the shape and range that the model takes, and labels if there are any."""
    labels: NDArray[Any] | None = None
    notes: list[str] = []
    kind = _detect_format(path, "an image or a CSV, IDX, .npy or .npz file")
    if kind == "npy":
        values = read_npy(path)
    elif kind == "npz":
        arrays = read_npz(path)
        values, labels, notes = arrays.samples, arrays.labels, arrays.notes
    elif kind == "idx":
        values = idx.read(path)[0]
    else:
        values, labels, notes = _read_csv(path, input_spec, csv_options)
    if (
        values.shape == input_spec.shape[-2:]
        and len(input_spec.shape) == 3
        and kind in ("npy", "npz")
    ):
        values = values[None]
    samples = _reshape_samples(values, input_spec, path)
    samples, scaling_notes = _rescale_samples(samples, input_spec, path)
    if labels is not None:
        labels = _validate_labels(labels, path, input_spec, len(samples))
    return LoadedSamples(samples, labels, [*notes, *scaling_notes])


def read_labels(path: Path, input_spec: InputSpec, num_samples: int) -> Labels:
    """Read the true classes of samples from a file of their own."""
    kind = _detect_format(path, "a CSV, IDX, .npy or .npz file")
    if kind == "npy":
        values = read_npy(path)
    elif kind == "npz":
        values = read_npz_labels(path)
    elif kind == "idx":
        values = idx.read(path)[0]
    else:
        table = CsvTable.from_file(path, "auto")
        column = _find_label_column(table, table.num_columns - 1)
        index_values = table.values[:, 0]
        if (
            table.column_names is not None
            and column > 0
            and (index_values[1:] <= index_values[:-1]).any()
        ):
            index_name = table.column_names[0] or "its first column"
            raise UserError(f"{relpath(path)}: its rows are not sorted by {index_name}.")
        values = table.values[:, column]
    return _validate_labels(values, path, input_spec, num_samples)


def _validate_labels(
    values: NDArray[Any], path: Path, input_spec: InputSpec, num_samples: int
) -> Labels:
    """Convert values to labels; raise a UserError unless there is a valid one per sample."""
    labels = idx.as_labels(values, path)
    if len(labels) != num_samples:
        raise UserError(f"{relpath(path)} has {len(labels):,} labels for {num_samples:,} samples.")
    check_labels(labels, len(input_spec.class_names), relpath(path))
    return labels


def _detect_format(path: Path, expected: str) -> str:
    """Return npy, npz, idx or csv; raise a UserError for other formats or a wrong suffix."""
    head = formats.read_head(path)
    if not head:
        raise UserError(f"{relpath(path)} is empty.")
    file_format, suffix = formats.identify(head), path.suffix.lower()
    if file_format is None and head.startswith(b"\0\0"):
        file_format = formats.IDX
    kind = "csv" if file_format is None else file_format.kind
    if file_format is not None and kind not in ("npy", "npz", "idx"):
        raise formats.wrong_format_error(relpath(path), file_format, expected)
    if suffix in (".npy", ".npz") and kind != suffix[1:]:
        expected_format = formats.NPY if suffix == ".npy" else formats.NPZ
        raise UserError(f"{relpath(path)} is not {expected_format.name}.")
    return kind


def _read_csv(
    path: Path, input_spec: InputSpec, csv_options: CsvOptions
) -> tuple[NDArray[Any], Labels | None, list[str]]:
    """Read a CSV file; return samples, labels if there are any, and notes on ignored columns."""
    num_values, label = math.prod(input_spec.shape), str(csv_options.label)
    full_table = CsvTable.from_file(path, csv_options.header)
    table = full_table.drop_extra_columns(
        num_values,
        len(input_spec.class_names),
        label,
        label_position=num_values if label == "last" else 0,
    )
    if table.num_columns not in (num_values, num_values + 1):
        raise UserError(
            f"{relpath(path)} has {full_table.num_columns:,} columns; the model takes "
            f"{num_values:,} values, optionally with a label and an index."
        )
    if table.num_columns == num_values:
        column = None
    elif label != "auto":
        column = table.find_label_column(label)
    else:
        column = _find_label_column(table, default=0)
    raw = table.to_samples(column)
    return raw.images, raw.labels, table.notes


def _find_label_column(table: CsvTable, default: int) -> int:
    """Return the label column by its name, or the default position if columns are unnamed."""
    if table.has_unnamed_columns:
        return table.data_columns[default]
    column = table.find_column(LABEL_COLUMN_NAMES)
    if column is None:
        names = table.column_names or []
        raise UserError(
            f"{relpath(table.path)}: none of its {len(names):,} columns, from {names[0]} to "
            f"{names[-1]}, is named {LABEL_COLUMN_NAMES[0]}."
        )
    return column


def _reshape_samples(values: NDArray[Any], input_spec: InputSpec, path: Path) -> NDArray[Any]:
    """Reshape samples that are flat, lack the channel axis or have it last."""
    sample_shape, model_shape = values.shape[1:], input_spec.shape
    flat_shape = (math.prod(model_shape),)
    squeezed_shape = model_shape[1:] if model_shape[0] == 1 else model_shape
    channels_last_shape = (*model_shape[1:], model_shape[0])
    if sample_shape == channels_last_shape and sample_shape != model_shape and input_spec.look:
        values = np.moveaxis(values, -1, 1)
    elif sample_shape not in (model_shape, flat_shape, squeezed_shape) and not (
        sample_shape == () and flat_shape == (1,)
    ):
        raise UserError(
            f"{relpath(path)} has samples of {idx.format_shape(sample_shape)}; "
            f"the model takes {idx.format_shape(squeezed_shape)}."
        )
    return np.ascontiguousarray(values).reshape(-1, *model_shape)


def _rescale_samples(
    samples: NDArray[Any], input_spec: InputSpec, path: Path
) -> tuple[NDArray[Any], Sequence[str]]:
    """Scale values from 0 to 1 to the range of the training data, and check that range."""
    if samples.dtype != np.uint8:
        with np.errstate(over="ignore"):
            samples = samples.astype(np.float32)
        if not np.isfinite(samples).all():
            raise UserError(f"{relpath(path)} has values that are not finite.")
    low, high = float(samples.min()), float(samples.max())
    if input_spec.low == 0 <= low < high <= 1 < input_spec.high:
        note = f"values from 0 to 1 were multiplied by {input_spec.high:g}"
        return samples * np.float32(input_spec.high), [note]
    margin = 0.0 if input_spec.bounded else input_spec.high - input_spec.low
    if high > input_spec.high + margin or low < input_spec.low - margin:
        raise UserError(
            f"{relpath(path)} has values from {low:g} to {high:g}; the model was trained on "
            f"{input_spec.low:g} to {input_spec.high:g}."
        )
    return samples, []
