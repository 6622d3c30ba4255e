"""Small IDX files and images to write into them."""

from __future__ import annotations

import gzip
import struct

import numpy as np

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """Serialize an array as IDX."""
    array = np.asarray(array)
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path, array, compressed=False):
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if compressed else content)
    return path


def images_and_labels(count=60, classes=3, side=4, seed=0):
    """Draw random images, brighter from class to class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = labels[:, None, None] * 60 + rng.integers(0, 60, (count, side, side))
    return images.astype(np.uint8), labels.astype(np.uint8)
