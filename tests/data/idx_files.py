"""Small IDX files, images to write into them, and the input spec of these images."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nn.batches import Rescaling
from nn.data.input_spec import ImageStats, InputSpec

TYPE_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
IMAGE_STATS = ImageStats(0.0, 1.0, False, 0.5, 0.5)
INPUT_SPEC = InputSpec(
    shape=(1, 4, 4),
    low=0.0,
    high=255.0,
    is_bounded=True,
    image_stats=IMAGE_STATS,
    rescaling=Rescaling(1 / 255),
    class_names=("0", "1", "2"),
)


def to_idx_bytes(array: ArrayLike) -> bytes:
    """Serialize an array as IDX."""
    array = np.asarray(array)
    header = bytes([0, 0, TYPE_CODES[array.dtype.str[1:]], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path: Path, array: ArrayLike, compressed: bool = False) -> Path:
    content = to_idx_bytes(array)
    path.write_bytes(gzip.compress(content) if compressed else content)
    return path


def make_images_and_labels(
    count: int = 60, classes: int = 3, side: int = 4, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw random images, brighter from class to class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = labels[:, None, None] * 60 + rng.integers(0, 60, (count, side, side))
    return images.astype(np.uint8), labels.astype(np.uint8)
