"""IDX, the file format of MNIST: a magic number, the shape, then the values, all big-endian."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nn.data import files
from nn.data.source import DataSource, RawDataset, RawSamples, check_labels, count_classes
from nn.errors import UserError, format_shape
from nn.types import Labels

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_COMPRESSION_RATIO = 1100
"""Limit against decompression bombs; Deflate compresses by a factor of at most 1032."""


def read(path: Path) -> tuple[NDArray[np.number], str]:
    """Read an IDX file, plain or gzipped; return its values and the SHA-256 of its content."""
    with files.open_maybe_gzip(path) as stream:
        magic = files.read_up_to(stream, 4)
        if not magic:
            raise UserError(f"{path} is empty.")
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not magic[3]:
            raise _not_idx_error(path, bytes(magic))
        dtype, ndim = np.dtype(DTYPES[magic[2]]), magic[3]
        header = files.read_up_to(stream, 4 * ndim)
        if len(header) < 4 * ndim:
            raise UserError(f"{path} is truncated in its header.")
        shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
        num_bytes = math.prod(shape) * dtype.itemsize
        if not num_bytes:
            raise UserError(f"{path} has no values: its shape is {format_shape(shape)}.")
        if num_bytes > path.stat().st_size * MAX_COMPRESSION_RATIO:
            raise UserError(
                f"{path} declares {num_bytes:,} bytes of values, more than it can hold."
            )
        values = files.read_up_to(stream, num_bytes)
        if len(values) < num_bytes:
            raise UserError(
                f"{path} holds {len(values):,} bytes of values; its header, "
                f"{format_shape(shape)}, declares {num_bytes:,}."
            )
        if stream.read(1):
            raise UserError(
                f"{path} has data after the {num_bytes:,} bytes that its header declares."
            )
    digest = hashlib.sha256(magic + header)
    digest.update(values)
    try:
        array = np.frombuffer(values, dtype).reshape(shape)
    except ValueError:  # more dimensions than NumPy supports
        raise UserError(f"{path} has {ndim} dimensions, more than NumPy supports.") from None
    return array, digest.hexdigest()


def _not_idx_error(path: Path, magic: bytes) -> UserError:
    head = files.read_head(path)
    file_format = files.identify(head)
    if file_format is not None and file_format is not files.IDX:
        return files.wrong_format_error(path, file_format, "an IDX file")
    if head.isascii() and b"\0" not in head:
        text_format = files.FileFormat("a text file", "dataset=csv reads CSV files")
        return files.wrong_format_error(path, text_format, "an IDX file")
    return UserError(f"{path} is not an IDX file: it starts with {magic.hex()}.")


@dataclass(frozen=True, kw_only=True)
class IDX(DataSource):
    """Four IDX files; the test files are optional."""

    train_images: str
    train_labels: str
    test_images: str | None = None
    test_labels: str | None = None

    def read(self, rng: np.random.Generator) -> RawDataset:
        """Read the files; the training labels determine the number of classes."""
        train = _read_samples(self.train_images, self.train_labels)
        assert train.labels is not None
        num_classes = count_classes(train.labels, self.train_labels)
        test = None
        if self.test_images is not None:
            test = _read_samples(self.test_images, self.test_labels)
            if test.images.shape[1:] != train.images.shape[1:]:
                raise UserError(
                    f"{self.test_images} has samples of {format_shape(test.images.shape[1:])}, "
                    f"{self.train_images} of {format_shape(train.images.shape[1:])}."
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


def _read_samples(images_file: str, labels_file: str | None) -> RawSamples:
    """Read images and, if there are any, their labels."""
    images_path = files.find_file(images_file)
    labels_path = None if labels_file is None else files.find_file(labels_file)
    images = as_images(read(images_path)[0], images_path)
    if labels_path is None:
        return RawSamples(images, None)
    labels = as_labels(read(labels_path)[0], labels_path)
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} has {len(images):,} samples, {labels_path} {len(labels):,} labels."
        )
    return RawSamples(images, labels)


def as_images(values: NDArray[np.number], path: Path) -> NDArray[np.number]:
    """Convert values to samples; uint8 is kept, anything else becomes float32.

    Two dimensions per sample are an image of one channel, none is a single value.
    """
    values = to_float32_unless_uint8(values, str(path))
    return values[:, None] if values.ndim in (1, 3) else values


def to_float32_unless_uint8(values: NDArray[np.number], path: str) -> NDArray[np.number]:
    """Convert values to float32, unless they are uint8; raise a UserError if any is not finite."""
    if values.dtype == np.uint8:
        return values
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"{path} has values that are not finite.")
    return values


def as_labels(values: NDArray[np.number], path: Path) -> Labels:
    """Convert values to labels: one whole number per sample."""
    if values.ndim != 1:
        raise UserError(f"{path} has no labels: its shape is {format_shape(values.shape)}.")
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.int64)
    if (labels != values).any():
        raise UserError(f"{path} has labels that are not whole numbers.")
    return labels
