"""PNG images as data URIs: thumbnails, sprite sheets, and first-layer filters."""

from __future__ import annotations

import io
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from nn.types import Array

Pixels = NDArray[np.uint8]  # (height, width), or (height, width, 3 or 4) in color
MAX_SIDE_PIXELS = 48
"""Longer side of a thumbnail."""
SHEET_COLUMNS = 32
MAX_FILTERS = 64
"""Units shown: those with the largest L2 norm of their weights."""
MIN_FILTER_SIDE = 4
"""Side below which the inputs of a dense layer do not count as an image."""
POSITIVE_COLOR, NEGATIVE_COLOR = (213, 94, 0), (0, 114, 178)
"""RGB colors of weights that stand out in the light and in the dark theme."""


class SpriteSheet(TypedDict):
    """Images of equal size tiled in rows."""

    address: str
    """Data URI of the whole sheet."""
    columns: int
    rows: int
    ratio: float
    """Width of an image divided by its height."""


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
    """Tile images of equal size."""
    height, width, *color_axis = images[0].shape
    columns = min(len(images), SHEET_COLUMNS)
    rows = -(-len(images) // columns)
    sheet = np.zeros((rows, height, columns, width, *color_axis), np.uint8)
    for index, image in enumerate(images):
        sheet[index // columns, :, index % columns] = image
    address = to_data_uri(sheet.reshape(rows * height, columns * width, *color_axis))
    return {"address": address, "columns": columns, "rows": rows, "ratio": width / height}


def first_layer_filters(weights: Mapping[str, Array], shape: Sequence[int] | None) -> Array | None:
    """Return the first layer's weights (units, channels, height, width); None if not images.

    Args:
        shape: That of a sample, if known.
    """
    names = [key for key in weights if re.search(r"(conv2d|dense)1\.weight$", key)]
    if not names:
        return None
    array = weights[min(names)]  # a convolution precedes dense layers, as in the alphabet
    min_side = 2
    if array.ndim == 2:
        side = math.isqrt(array.shape[0])
        shape = shape or (1, side, side)
        if len(shape) != 3 or math.prod(shape) != array.shape[0]:
            return None
        array, min_side = array.T.reshape(-1, *shape), MIN_FILTER_SIDE
    if array.ndim != 4 or not array.size or min(array.shape[2:]) < min_side:
        return None
    return array if np.isfinite(array).all() else None


def render_filters(units: Array) -> list[Pixels]:
    """Render each unit's weights, summed over channels: color by sign, opacity by magnitude."""
    summed = units.astype(np.float64).sum(axis=1)
    largest = np.argsort(-np.square(summed).sum(axis=(1, 2)), kind="stable")[:MAX_FILTERS]
    return [_color_by_sign(summed[unit]) for unit in sorted(largest.tolist())]


def _color_by_sign(unit: NDArray[np.float64]) -> Pixels:
    magnitude = np.abs(unit) / (np.abs(unit).max() or 1.0)
    image = np.where((unit > 0)[..., None], POSITIVE_COLOR, NEGATIVE_COLOR)
    return np.dstack([image, 255 * magnitude**0.8]).astype(np.uint8)
