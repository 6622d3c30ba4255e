"""IDX, the format of MNIST: a magic number, the sizes, then the values (all big-endian)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.data import formats
from nn.data.files import find_file, open_maybe_gzip, read_up_to
from nn.data.source import DataSource, RawDataset, RawSamples, check_labels, count_classes
from nn.errors import UserError
from nn.types import Labels, Shape

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_COMPRESSION_RATIO = 1100
"""Deflate makes data smaller by a factor of at most 1032."""


def read(path: Path) -> tuple[NDArray[Any], str]:
    """Read an IDX file, plain or compressed, and the SHA-256 of its content."""
    with open_maybe_gzip(path) as stream:
        magic = read_up_to(stream, 4)
        if not magic:
            raise UserError(f"{path} is empty.")
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not magic[3]:
            raise _not_idx_error(path, bytes(magic))
        dtype, ndim = np.dtype(DTYPES[magic[2]]), magic[3]
        header = read_up_to(stream, 4 * ndim)
        if len(header) < 4 * ndim:
            raise UserError(f"{path} is cut off in its header.")
        shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
        num_bytes = math.prod(shape) * dtype.itemsize
        if not num_bytes:
            raise UserError(f"{path} has no values in it: its sizes are {_format_shape(shape)}.")
        if num_bytes > path.stat().st_size * MAX_COMPRESSION_RATIO:
            raise UserError(f"{path} claims {num_bytes:,} bytes of values, more than it can hold.")
        values = read_up_to(stream, num_bytes)
        if len(values) < num_bytes:
            raise UserError(
                f"{path} holds {len(values):,} bytes of values; its header, "
                f"{_format_shape(shape)}, claims {num_bytes:,}."
            )
        if stream.read(1):
            raise UserError(f"{path} goes on after the {num_bytes:,} bytes that its header claims.")
    digest = hashlib.sha256(magic + header)
    digest.update(values)
    try:
        array = np.frombuffer(values, dtype).reshape(shape)
    except ValueError:  # more dimensions than NumPy has
        raise UserError(f"{path} has {ndim} dimensions, more than can be used.") from None
    return array, digest.hexdigest()


def _not_idx_error(path: Path, magic: bytes) -> UserError:
    head = formats.read_head(path)
    file_format = formats.identify(head)
    if file_format is not None and file_format is not formats.IDX:
        return formats.wrong_format_error(path, file_format, "an IDX file")
    if head.isascii() and b"\0" not in head:
        text_format = formats.FileFormat("a text file", "dataset=csv reads CSV files")
        return formats.wrong_format_error(path, text_format, "an IDX file")
    return UserError(f"{path} is not an IDX file: it begins with {magic.hex()}.")


@dataclass(frozen=True, kw_only=True)
class IDX(DataSource):
    """Any four IDX files; those of the test may be left out."""

    train_images: str
    train_labels: str
    test_images: str | None = None
    test_labels: str | None = None

    def read(self, rng: np.random.Generator) -> RawDataset:
        """Read the files; the labels of the training set say how many classes there are."""
        train = _read_samples(find_file(self.train_images), find_file(self.train_labels))
        assert train.labels is not None
        num_classes = count_classes(train.labels, self.train_labels)
        test = None
        if self.test_images is not None:
            labels_path = None if self.test_labels is None else find_file(self.test_labels)
            test = _read_samples(find_file(self.test_images), labels_path)
            if test.images.shape[1:] != train.images.shape[1:]:
                raise UserError(
                    f"{self.test_images} has samples of {_format_shape(test.images.shape[1:])}, "
                    f"{self.train_images} of {_format_shape(train.images.shape[1:])}."
                )
            if test.images.dtype != train.images.dtype:
                raise UserError(
                    f"{self.test_images} has values of type {test.images.dtype}, "
                    f"{self.train_images} of type {train.images.dtype}."
                )
            if test.labels is not None:
                check_labels(test.labels, num_classes, str(self.test_labels))
        elif self.test_labels is not None:
            raise UserError(
                f"dataset.test_labels={self.test_labels}: dataset.test_images is missing."
            )
        max_value = 255.0 if train.images.dtype == np.uint8 else None
        return RawDataset(train, test, tuple(map(str, range(num_classes))), max_value)


def _read_samples(images_path: Path, labels_path: Path | None) -> RawSamples:
    """Read images and labels that belong together."""
    images = as_images(read(images_path)[0], images_path)
    if labels_path is None:
        return RawSamples(images, None)
    labels = as_labels(read(labels_path)[0], labels_path)
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} has {len(images):,} samples, {labels_path} {len(labels):,} labels."
        )
    return RawSamples(images, labels)


def as_images(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Make samples of values: bytes stay bytes, two dimensions are an image of one channel."""
    if values.dtype != np.uint8:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise UserError(f"{path} has values that are no finite numbers.")
    if values.ndim == 1:
        return values[:, None]
    return values[:, None] if values.ndim == 3 else values


def as_labels(values: NDArray[Any], path: Path) -> Labels:
    """Make labels of values: one whole number for each sample."""
    if values.ndim != 1:
        raise UserError(f"{path} has no labels in it: its sizes are {_format_shape(values.shape)}.")
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.int64)
    if (labels != values).any():
        raise UserError(f"{path} has labels that are no whole numbers.")
    return labels


def _format_shape(shape: Shape) -> str:
    return " x ".join(map(str, shape))
