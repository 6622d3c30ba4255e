"""NumPy's .npy and .npz files, which are data and never code."""

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

from nn.data.files import opened, read_exactly
from nn.data.idx import MOST_COMPRESSED
from nn.errors import Mistake
from nn.io.paths import short

PAIRS = (
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
"""The usual names of samples and their labels in an .npz archive, in any case."""
UNNAMED = ("arr_0", "arr_1")


@dataclass(frozen=True)
class Arrays:
    """Samples, and labels if they are there, and what is to be said about the choice."""

    samples: NDArray[Any]
    labels: NDArray[Any] | None
    notes: list[str]


def read_npy(path: Path) -> NDArray[Any]:
    """Read an .npy file, compressed or not."""
    with opened(path) as content:
        return _array(content, short(path), path.stat().st_size * MOST_COMPRESSED)


def read_npz(path: Path) -> Arrays:
    """Read samples, and labels if they are there, from an .npz archive."""
    with _archive(path) as members:
        if len(members) == 1:
            (member,) = members.values()
            return Arrays(_member(path, member), None, [])
        pairs = [UNNAMED] if members.keys() == set(UNNAMED) else PAIRS
        for samples, labels in pairs:
            if samples in members:
                chosen = [name for name in (samples, labels) if name in members]
                arrays = [_member(path, members[name]) for name in chosen]
                left = len(members) - len(chosen)
                note = f"{short(path)}: read {' and '.join(chosen)} of its {len(members)} arrays"
                return Arrays(arrays[0], _column([*arrays, None][1]), [note] if left else [])
        raise _unknown(path, members, [samples for samples, _ in PAIRS[:3]])


def read_npz_labels(path: Path) -> NDArray[Any]:
    """Read labels from an .npz archive."""
    with _archive(path) as members:
        names = [labels for _, labels in (UNNAMED, *PAIRS)]
        names = list(members) if len(members) == 1 else names
        found = next((members[name] for name in names if name in members), None)
        if found is None:
            raise _unknown(path, members, [labels for _, labels in PAIRS[:3]])
        labels = _column(_member(path, found))
        assert labels is not None
        return labels


def _column(labels: NDArray[Any] | None) -> NDArray[Any] | None:
    """Make a list of a column."""
    return labels[:, 0] if labels is not None and labels.shape[1:] == (1,) else labels


@dataclass(frozen=True)
class _Member:
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo


@contextmanager
def _archive(path: Path) -> Iterator[Mapping[str, _Member]]:
    """Open an archive, and list its arrays by their names in lower case."""
    try:
        with opened(path) as content, zipfile.ZipFile(content) as archive:
            yield {
                info.filename.removesuffix(".npy").lower(): _Member(archive, info)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except Mistake:
        raise
    except Exception as error:  # a damaged archive may do anything to its reader
        raise Mistake(f"{short(path)} is a damaged .npz archive: {error}.") from None


def _member(path: Path, member: _Member) -> NDArray[Any]:
    name = f"{member.info.filename} in {short(path)}"
    with member.archive.open(member.info) as content:
        return _array(cast(BinaryIO, content), name, path.stat().st_size * MOST_COMPRESSED)


def _array(content: BinaryIO, name: str, most_bytes: int) -> NDArray[Any]:
    """Read one array of numbers, of no more bytes than the file can hold."""
    try:
        version = np.lib.format.read_magic(content)
        first = version == (1, 0)
        read_header = (
            np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        )
        shape, by_columns, dtype = read_header(content)
    except Exception:  # a damaged header may do anything to its parser
        raise Mistake(f"{name} is not a complete .npy array of numbers.") from None
    if dtype.kind not in "biuf":
        raise Mistake(f"{name} has values of type {dtype}; they must be numbers.")
    size = math.prod(shape) * dtype.itemsize
    if not size:
        sizes = " x ".join(map(str, shape)) or "one value"
        raise Mistake(f"{name} has no values in it: its sizes are {sizes}.")
    data = read_exactly(content, size) if 0 < size <= most_bytes else b""
    try:
        values = np.frombuffer(data, dtype)
        return values.reshape(shape, order="F" if by_columns else "C")
    except ValueError:
        raise Mistake(f"{name} is not a complete .npy array of numbers.") from None


def _unknown(path: Path, members: Mapping[str, _Member], wanted: Sequence[str]) -> Mistake:
    if not members:
        return Mistake(f"{short(path)} has no arrays in it.")
    listed = ", ".join([*list(members)[:6], *(["..."] if len(members) > 6 else [])])
    one_of = f"{', '.join(wanted[:-1])} or {wanted[-1]}"
    return Mistake(f"{short(path)} has the arrays {listed}; name the one to read {one_of}.")
