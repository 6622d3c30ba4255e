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
from nn.data.files import find, opened, read_exactly
from nn.data.source import Content, Raw, Source, check_labels, count_classes
from nn.errors import Mistake
from nn.types import Labels, Shape

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_COMPRESSED = 1100
"""Deflate makes data smaller by a factor of at most 1032."""


def read(path: Path) -> tuple[NDArray[Any], str]:
    """Read an IDX file, plain or compressed, and the SHA-256 of its content."""
    with opened(path) as content:
        magic = read_exactly(content, 4)
        if not magic:
            raise Mistake(f"{path} is empty.")
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
            raise _not_idx(path, bytes(magic))
        dtype, rank = np.dtype(TYPES[magic[2]]), magic[3]
        header = read_exactly(content, 4 * rank)
        if len(header) < 4 * rank:
            raise Mistake(f"{path} is cut off in its header.")
        shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
        declared = math.prod(shape) * dtype.itemsize
        if not declared:
            raise Mistake(f"{path} has no values in it: its sizes are {_sizes(shape)}.")
        if declared > path.stat().st_size * MOST_COMPRESSED:
            raise Mistake(f"{path} claims {declared:,} bytes of values, more than it can hold.")
        values = read_exactly(content, declared)
        if len(values) < declared:
            raise Mistake(
                f"{path} holds {len(values):,} bytes of values; its header, "
                f"{_sizes(shape)}, claims {declared:,}."
            )
        if content.read(1):
            raise Mistake(f"{path} goes on after the {declared:,} bytes that its header claims.")
    digest = hashlib.sha256(magic + header)
    digest.update(values)
    try:
        array = np.frombuffer(values, dtype).reshape(shape)
    except ValueError:  # more dimensions than NumPy has
        raise Mistake(f"{path} has {rank} dimensions, more than can be used.") from None
    return array, digest.hexdigest()


def _not_idx(path: Path, magic: bytes) -> Mistake:
    head = formats.read_head(path)
    found = formats.identify(head)
    if found is not None and found is not formats.IDX:
        return formats.wrong_format(path, found, "an IDX file")
    if head.isascii() and b"\0" not in head:
        text = formats.Format("a text file", "dataset=csv reads CSV files")
        return formats.wrong_format(path, text, "an IDX file")
    return Mistake(f"{path} is not an IDX file: it begins with {magic.hex()}.")


@dataclass(frozen=True, kw_only=True)
class IDX(Source):
    """Any four IDX files; those of the test may be left out."""

    train_images: str
    train_labels: str
    test_images: str | None = None
    test_labels: str | None = None

    def read(self, rng: np.random.Generator) -> Content:
        """Read the files; the labels of the training set say how many classes there are."""
        train = _pair(find(self.train_images), find(self.train_labels))
        assert train.labels is not None
        classes = count_classes(train.labels, self.train_labels)
        test = None
        if self.test_images is not None:
            labels = None if self.test_labels is None else find(self.test_labels)
            test = _pair(find(self.test_images), labels)
            if test.images.shape[1:] != train.images.shape[1:]:
                raise Mistake(
                    f"{self.test_images} has samples of {_sizes(test.images.shape[1:])}, "
                    f"{self.train_images} of {_sizes(train.images.shape[1:])}."
                )
            if test.images.dtype != train.images.dtype:
                raise Mistake(
                    f"{self.test_images} has values of type {test.images.dtype}, "
                    f"{self.train_images} of type {train.images.dtype}."
                )
            if test.labels is not None:
                check_labels(test.labels, classes, str(self.test_labels))
        elif self.test_labels is not None:
            raise Mistake(
                f"dataset.test_labels={self.test_labels}: dataset.test_images is missing."
            )
        peak = 255.0 if train.images.dtype == np.uint8 else None
        return Content(train, test, tuple(map(str, range(classes))), peak)


def _pair(images_path: Path, labels_path: Path | None) -> Raw:
    """Read images and labels that belong together."""
    images = as_images(read(images_path)[0], images_path)
    if labels_path is None:
        return Raw(images, None)
    labels = as_labels(read(labels_path)[0], labels_path)
    if len(images) != len(labels):
        raise Mistake(
            f"{images_path} has {len(images):,} samples, {labels_path} {len(labels):,} labels."
        )
    return Raw(images, labels)


def as_images(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Make samples of values: bytes stay bytes, two dimensions are an image of one channel."""
    if values.dtype != np.uint8:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise Mistake(f"{path} has values that are no finite numbers.")
    if values.ndim == 1:
        return values[:, None]
    return values[:, None] if values.ndim == 3 else values


def as_labels(values: NDArray[Any], path: Path) -> Labels:
    """Make labels of values: one whole number for each sample."""
    if values.ndim != 1:
        raise Mistake(f"{path} has no labels in it: its sizes are {_sizes(values.shape)}.")
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.int64)
    if (labels != values).any():
        raise Mistake(f"{path} has labels that are no whole numbers.")
    return labels


def _sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape))
