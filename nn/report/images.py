"""Thumbnails embedded in a page: PNGs as data URIs, one by one or as a sprite sheet."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width), or (height, width, 3 or 4) in color
MAX_SIDE_PIXELS = 48
"""Longer side of a thumbnail."""


@dataclass(frozen=True)
class SpriteSheet:
    """Images of equal size tiled in rows, as charts.js reads it."""

    address: str  # data URI of the whole sheet
    columns: int
    rows: int
    ratio: float  # width / height of an image


def to_data_uri(pixels: Pixels) -> str:
    """Encode an image as a PNG data URI."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def to_thumbnail(image: Pixels) -> Pixels:
    """Convert (channels, height, width) to `Pixels`, shrunk to at most `MAX_SIDE_PIXELS`."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(np.moveaxis(image, 0, -1))
    height, width = pixels.shape[:2]
    scale = MAX_SIDE_PIXELS / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def make_sprite_sheet(images: Sequence[Pixels]) -> SpriteSheet:
    """Tile images of equal size, 32 per row."""
    height, width, *color_axis = images[0].shape
    columns = min(len(images), 32)
    rows = -(-len(images) // columns)
    pixels = np.zeros((rows, height, columns, width, *color_axis), np.uint8)
    for index, image in enumerate(images):
        pixels[index // columns, :, index % columns] = image
    sheet: Pixels = pixels.reshape(rows * height, columns * width, *color_axis)
    return SpriteSheet(to_data_uri(sheet), columns, rows, width / height)
