"""Small images as parts of a page: PNG in a data: address, one by one or many on a sheet."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # height x width, with a last axis of 3 or 4 for colours
MAX_SIDE_PIXELS = 48
"""Pixels that a side of a shown image may have."""


@dataclass(frozen=True)
class SpriteSheet:
    """Images of one size, side by side in rows."""

    address: str
    columns: int
    rows: int
    ratio: float  # width over height


def to_data_uri(pixels: Pixels) -> str:
    """Write an image as the address of itself."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def to_thumbnail(image: Pixels) -> Pixels:
    """Put the channels of a sample last, and make a large one smaller."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(np.moveaxis(image, 0, -1))
    height, width = pixels.shape[:2]
    shrink = MAX_SIDE_PIXELS / max(height, width)
    if shrink >= 1:
        return pixels
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def make_sprite_sheet(images: Sequence[Pixels]) -> SpriteSheet:
    """Put images of one size on a sheet."""
    height, width, *colours = images[0].shape
    columns = min(len(images), 32)
    rows = -(-len(images) // columns)
    pixels = np.zeros((rows, height, columns, width, *colours), np.uint8)
    for place, image in enumerate(images):
        pixels[place // columns, :, place % columns] = image
    whole: Any = pixels.reshape(rows * height, columns * width, *colours)
    return SpriteSheet(to_data_uri(whole), columns, rows, width / height)
