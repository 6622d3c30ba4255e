"""NumPy's .npy and .npz files, read without ever unpickling, which could run code."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nn.data.files import open_maybe_gzip, read_up_to
from nn.data.idx import MAX_COMPRESSION_RATIO, format_shape
from nn.errors import UserError
from nn.io.paths import relpath

NAME_PAIRS = (
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
DEFAULT_NAME_PAIR = ("arr_0", "arr_1")


@dataclass(frozen=True)
class NpzArrays:
    """Samples, labels if there are any, and a note if other arrays are ignored."""

    samples: NDArray[Any]
    labels: NDArray[Any] | None
    notes: list[str]


def read_npy(path: Path) -> NDArray[Any]:
    """Read an .npy file, compressed or not."""
    with open_maybe_gzip(path) as file:
        return _read_array(file, relpath(path), path.stat().st_size * MAX_COMPRESSION_RATIO)


def read_npz(path: Path) -> NpzArrays:
    """Read samples, and labels if there are any, from an .npz archive."""
    with _open_npz(path) as members:
        if len(members) == 1:
            (member,) = members.values()
            return NpzArrays(_read_member(path, member), None, [])
        name_pairs = [DEFAULT_NAME_PAIR] if members.keys() == set(DEFAULT_NAME_PAIR) else NAME_PAIRS
        for samples, labels in name_pairs:
            if samples in members:
                selected = [name for name in (samples, labels) if name in members]
                arrays = [_read_member(path, members[name]) for name in selected]
                num_unused = len(members) - len(selected)
                note = (
                    f"{relpath(path)}: read {' and '.join(selected)} of its {len(members)} arrays"
                )
                return NpzArrays(
                    arrays[0], _squeeze_labels([*arrays, None][1]), [note] if num_unused else []
                )
        raise _missing_array_error(path, members, [samples for samples, _ in NAME_PAIRS[:3]])


def read_npz_labels(path: Path) -> NDArray[Any]:
    """Read labels from an .npz archive."""
    with _open_npz(path) as members:
        names = [labels for _, labels in (DEFAULT_NAME_PAIR, *NAME_PAIRS)]
        names = list(members) if len(members) == 1 else names
        member = next((members[name] for name in names if name in members), None)
        if member is None:
            raise _missing_array_error(path, members, [labels for _, labels in NAME_PAIRS[:3]])
        labels = _squeeze_labels(_read_member(path, member))
        assert labels is not None
        return labels


def _squeeze_labels(labels: NDArray[Any] | None) -> NDArray[Any] | None:
    """Drop the second axis of labels of shape (n, 1)."""
    return labels[:, 0] if labels is not None and labels.shape[1:] == (1,) else labels


@dataclass(frozen=True)
class _NpzMember:
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo


@contextmanager
def _open_npz(path: Path) -> Iterator[Mapping[str, _NpzMember]]:
    """Open an archive, and map the lower-case names of its arrays to the members."""
    try:
        with open_maybe_gzip(path) as file, zipfile.ZipFile(file) as archive:
            yield {
                info.filename.removesuffix(".npy").lower(): _NpzMember(archive, info)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except UserError:
        raise
    except Exception as error:  # a damaged archive can raise anything in its reader
        raise UserError(f"{relpath(path)} is a damaged .npz archive: {error}.") from None


def _read_member(path: Path, member: _NpzMember) -> NDArray[Any]:
    name = f"{member.info.filename} in {relpath(path)}"
    with member.archive.open(member.info) as file:
        return _read_array(cast(BinaryIO, file), name, path.stat().st_size * MAX_COMPRESSION_RATIO)


def _read_array(file: BinaryIO, name: str, max_bytes: int) -> NDArray[Any]:
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
    data = read_up_to(file, num_bytes) if 0 < num_bytes <= max_bytes else b""
    try:
        values = np.frombuffer(data, dtype)
        return values.reshape(shape, order="F" if fortran_order else "C")
    except ValueError:
        raise UserError(f"{name} is not a complete .npy array of numbers.") from None


def _missing_array_error(
    path: Path, members: Mapping[str, _NpzMember], expected_names: Sequence[str]
) -> UserError:
    if not members:
        return UserError(f"{relpath(path)} has no arrays.")
    found_names = ", ".join([*list(members)[:6], *(["..."] if len(members) > 6 else [])])
    expected_text = f"{', '.join(expected_names[:-1])} or {expected_names[-1]}"
    return UserError(
        f"{relpath(path)} has the arrays {found_names}; rename the one to read to {expected_text}."
    )
