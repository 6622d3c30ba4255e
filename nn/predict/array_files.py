"""Samples and labels from array files: IDX, .npy, .npz or CSV, compressed or not.

NumPy's files are read without ever unpickling, which could run code.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from nn.data import files, idx
from nn.data.csv import CsvTable
from nn.data.csv_parser import LABEL_COLUMN_NAMES
from nn.data.input_spec import InputSpec
from nn.data.source import check_labels
from nn.errors import UserError, format_shape
from nn.io.paths import relpath
from nn.types import Labels

NPZ_NAMES = (
    ("x_test", "y_test"),
    ("test_images", "test_labels"),
    ("images", "labels"),
    ("image", "label"),
    ("x", "y"),
    ("data", "target"),
    ("samples", "labels"),
    ("x_train", "y_train"),
    ("train_images", "train_labels"),
)
"""Usual names of samples and labels in .npz archives; compared in lower case, first match wins."""
DEFAULT_NPZ_NAMES = ("arr_0", "arr_1")
"""Names that NumPy gives to arrays without names."""


@dataclass(frozen=True)
class CsvOptions:
    """How to read CSV files: the run's `dataset.header` and `dataset.label`."""

    header: str | bool = "auto"
    label: str | int = "auto"


DEFAULT_CSV_OPTIONS = CsvOptions()


@dataclass(frozen=True)
class LoadedSamples:
    """Samples of a file, its labels if there are any, and notes on conversions."""

    samples: NDArray[np.number]
    labels: Labels | None = None
    notes: Sequence[str] = ()


def read_samples(
    path: Path, input_spec: InputSpec, csv_options: CsvOptions = DEFAULT_CSV_OPTIONS
) -> LoadedSamples:
    """Read samples in the shape and range that the model takes, and labels if there are any."""
    kind = _detect_format(path, "an image or a CSV, IDX, .npy or .npz file")
    if kind == "csv":
        loaded = _read_csv(path, input_spec, csv_options)
    elif kind == "npz":
        loaded = _read_npz(path)
    else:
        loaded = LoadedSamples(_read_array(path, kind))
    samples, labels = loaded.samples, loaded.labels
    is_single_image = samples.shape == input_spec.shape[-2:] and len(input_spec.shape) == 3
    if is_single_image and kind in ("npy", "npz"):
        samples = samples[None]
    samples = _reshape_samples(samples, input_spec, path)
    samples, scaling_notes = _rescale_samples(samples, input_spec, path)
    if labels is not None:
        labels = _validate_labels(labels, path, input_spec, len(samples))
    return LoadedSamples(samples, labels, [*loaded.notes, *scaling_notes])


def read_labels(path: Path, input_spec: InputSpec, num_samples: int) -> Labels:
    """Read the true classes of samples from a file of their own."""
    kind = _detect_format(path, "a CSV, IDX, .npy or .npz file")
    if kind == "csv":
        values = _read_csv_labels(path)
    elif kind == "npz":
        values = _read_npz_labels(path)
    else:
        values = _read_array(path, kind)
    return _validate_labels(values, path, input_spec, num_samples)


def _detect_format(path: Path, expected: str) -> str:
    """Return npy, npz, idx or csv; raise a UserError for other formats or a wrong suffix."""
    head = files.read_head(path)
    if not head:
        raise UserError(f"{relpath(path)} is empty.")
    file_format, suffix = files.identify(head), path.suffix.lower()
    if file_format is None and head.startswith(b"\0\0"):
        file_format = files.IDX
    kind = "csv" if file_format is None else file_format.kind
    if file_format is not None and kind not in ("npy", "npz", "idx"):
        raise files.wrong_format_error(relpath(path), file_format, expected)
    if suffix in (".npy", ".npz") and kind != suffix[1:]:
        expected_format = files.NPY if suffix == ".npy" else files.NPZ
        raise UserError(f"{relpath(path)} is not {expected_format.name}.")
    return kind


def _read_array(path: Path, kind: str) -> NDArray[np.number]:
    """Read the only array of a file: idx or npy, compressed or not."""
    if kind == "idx":
        return idx.read(path)[0]
    with files.open_maybe_gzip(path) as file:
        return _read_npy(file, relpath(path), path.stat().st_size * idx.MAX_COMPRESSION_RATIO)


def _read_csv(path: Path, input_spec: InputSpec, csv_options: CsvOptions) -> LoadedSamples:
    """Read a CSV file, and note the columns that are ignored."""
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
    return LoadedSamples(raw.images, raw.labels, table.notes)


def _read_csv_labels(path: Path) -> NDArray[np.number]:
    """Read the label column of a CSV file; a first column that is an index must be sorted."""
    table = CsvTable.from_file(path, "auto")
    column = _find_label_column(table, default=-1)
    index_values = table.values[:, 0]
    if table.column_names and column > 0 and (index_values[1:] <= index_values[:-1]).any():
        index_name = table.column_names[0] or "its first column"
        raise UserError(f"{relpath(path)}: its rows are not sorted by {index_name}.")
    return table.values[:, column]


def _find_label_column(table: CsvTable, default: int) -> int:
    """Return the label column by its name, or the default position if columns are unnamed."""
    column, _ = table.expected_label_column("auto", default)
    if column is None:
        names = table.column_names
        raise UserError(
            f"{relpath(table.path)}: none of its {len(names):,} columns, from {names[0]} to "
            f"{names[-1]}, is named {LABEL_COLUMN_NAMES[0]}."
        )
    return column


NpzMembers = Mapping[str, Callable[[], NDArray[np.number]]]
"""Functions that read the arrays of an .npz archive, by their lower-case names."""


def _read_npz(path: Path) -> LoadedSamples:
    """Read samples, and labels if there are any, from an .npz archive."""
    with _open_npz(path) as members:
        if len(members) == 1:
            (read,) = members.values()
            return LoadedSamples(read())
        is_unnamed = members.keys() == set(DEFAULT_NPZ_NAMES)
        for pair in [DEFAULT_NPZ_NAMES] if is_unnamed else NPZ_NAMES:
            if pair[0] in members:
                found = [name for name in pair if name in members]
                samples, labels = members[pair[0]](), None
                if pair[1] in members:
                    labels = idx.as_labels(_squeeze_labels(members[pair[1]]()), path)
                note = f"{relpath(path)}: read {' and '.join(found)} of its {len(members)} arrays"
                return LoadedSamples(samples, labels, [note] if len(members) > len(found) else [])
        raise _missing_array_error(path, members, [samples for samples, _ in NPZ_NAMES[:3]])


def _read_npz_labels(path: Path) -> NDArray[np.number]:
    """Read labels from an .npz archive."""
    with _open_npz(path) as members:
        usual_names = [labels for _, labels in (DEFAULT_NPZ_NAMES, *NPZ_NAMES)]
        for name in members if len(members) == 1 else usual_names:
            if name in members:
                return _squeeze_labels(members[name]())
        raise _missing_array_error(path, members, [labels for _, labels in NPZ_NAMES[:3]])


def _squeeze_labels(labels: NDArray[np.number]) -> NDArray[np.number]:
    """Drop the second axis of labels of shape (n, 1)."""
    return labels[:, 0] if labels.shape[1:] == (1,) else labels


@contextmanager
def _open_npz(path: Path) -> Iterator[NpzMembers]:
    """Open an archive, and turn errors, also later ones, into a UserError."""
    max_bytes = path.stat().st_size * idx.MAX_COMPRESSION_RATIO

    def read(info: zipfile.ZipInfo) -> NDArray[np.number]:
        with archive.open(info) as file:
            return _read_npy(file, f"{info.filename} in {relpath(path)}", max_bytes)

    try:
        with files.open_maybe_gzip(path) as stream, zipfile.ZipFile(stream) as archive:
            yield {
                info.filename.removesuffix(".npy").lower(): partial(read, info)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except UserError:
        raise
    except Exception as error:  # a damaged archive can raise anything in its reader
        raise UserError(f"{relpath(path)} is a damaged .npz archive: {error}.") from None


def _missing_array_error(
    path: Path, members: NpzMembers, expected_names: Sequence[str]
) -> UserError:
    if not members:
        return UserError(f"{relpath(path)} has no arrays.")
    found_names = ", ".join([*list(members)[:6], *(["..."] if len(members) > 6 else [])])
    expected_text = f"{', '.join(expected_names[:-1])} or {expected_names[-1]}"
    return UserError(
        f"{relpath(path)} has the arrays {found_names}; rename the one to read to {expected_text}."
    )


def _read_npy(file: IO[bytes], name: str, max_bytes: int) -> NDArray[np.number]:
    """Read one numeric array; `max_bytes` guards against headers that declare too much."""
    try:
        is_version_1 = np.lib.format.read_magic(file) == (1, 0)
        read_header = (
            np.lib.format.read_array_header_1_0
            if is_version_1
            else np.lib.format.read_array_header_2_0  # 3.0 differs only in field names
        )
        shape, fortran_order, dtype = read_header(file)
    except Exception:  # a damaged header can raise anything in its parser
        raise UserError(f"{name} is not a complete .npy array of numbers.") from None
    if dtype.kind not in "biuf":
        raise UserError(f"{name} has values of type {dtype}; they must be numbers.")
    num_bytes = math.prod(shape) * dtype.itemsize
    if not num_bytes:
        raise UserError(f"{name} has no values: its shape is {format_shape(shape)}.")
    data = files.read_up_to(file, num_bytes) if 0 < num_bytes <= max_bytes else b""
    try:
        values = np.frombuffer(data, dtype)
        return values.reshape(shape, order="F" if fortran_order else "C")
    except ValueError:
        raise UserError(f"{name} is not a complete .npy array of numbers.") from None


def _validate_labels(
    values: NDArray[np.number], path: Path, input_spec: InputSpec, num_samples: int
) -> Labels:
    """Convert values to labels; raise a UserError unless there is a valid one per sample."""
    labels = idx.as_labels(values, path)
    if len(labels) != num_samples:
        raise UserError(f"{relpath(path)} has {len(labels):,} labels for {num_samples:,} samples.")
    check_labels(labels, len(input_spec.class_names), relpath(path))
    return labels


def _reshape_samples(
    values: NDArray[np.number], input_spec: InputSpec, path: Path
) -> NDArray[np.number]:
    """Reshape samples that are flat, lack the channel axis or have it last."""
    sample_shape, model_shape = values.shape[1:], input_spec.shape
    flat_shape = (math.prod(model_shape),)
    squeezed_shape = model_shape[1:] if model_shape[0] == 1 else model_shape
    channels_last_shape = (*model_shape[1:], model_shape[0])
    if (
        sample_shape == channels_last_shape
        and sample_shape != model_shape
        and input_spec.image_stats
    ):
        values = np.moveaxis(values, -1, 1)
    elif sample_shape not in (model_shape, flat_shape, squeezed_shape) and not (
        sample_shape == () and flat_shape == (1,)
    ):
        raise UserError(
            f"{relpath(path)} has samples of {format_shape(sample_shape)}; "
            f"the model takes {format_shape(squeezed_shape)}."
        )
    return np.ascontiguousarray(values).reshape(-1, *model_shape)


def _rescale_samples(
    samples: NDArray[np.number], input_spec: InputSpec, path: Path
) -> tuple[NDArray[np.number], Sequence[str]]:
    """Scale values from 0 to 1 to the range of the training data, and check that range."""
    samples = idx.to_float32_unless_uint8(samples, relpath(path))
    low, high = float(samples.min()), float(samples.max())
    if input_spec.low == 0 <= low < high <= 1 < input_spec.high:
        note = f"values from 0 to 1 were multiplied by {input_spec.high:g}"
        return samples * np.float32(input_spec.high), [note]
    margin = 0.0 if input_spec.is_bounded else input_spec.high - input_spec.low
    if high > input_spec.high + margin or low < input_spec.low - margin:
        raise UserError(
            f"{relpath(path)} has values from {low:g} to {high:g}; the model was trained on "
            f"{input_spec.low:g} to {input_spec.high:g}."
        )
    return samples, []
