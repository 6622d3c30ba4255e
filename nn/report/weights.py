"""First-layer filters as images: the input pattern that each unit responds to."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nn.report.images import Pixels
from nn.types import Array

MAX_UNITS = 64
"""Units shown: those with the largest L2 norm of their weights."""
MIN_SIDE_PIXELS = 4
"""Side below which the inputs of a dense layer do not count as an image."""
POSITIVE_COLOR, NEGATIVE_COLOR = (213, 94, 0), (0, 114, 178)
"""RGB colors that stand out in the light and in the dark theme."""


def first_layer_filters(weights: Mapping[str, Array], shape: Sequence[int] | None) -> Array | None:
    """Return the first layer's weights (units, channels, height, width); None if not images."""
    candidates = (key for key in weights if re.search(r"(conv2d|dense)1\.weight$", key))
    name = min(candidates, default=None)  # a convolution precedes dense layers, as in the alphabet
    if name is None:
        return None
    array = weights[name]
    if array.ndim == 4:
        units = array
    elif array.ndim == 2:
        shape = shape or _square_shape(array.shape[0])
        if shape is None or len(shape) != 3 or math.prod(shape) != array.shape[0]:
            return None
        units = array.T.reshape(-1, *shape)
    else:
        return None
    is_large = min(units.shape[2:]) >= (2 if array.ndim == 4 else MIN_SIDE_PIXELS)
    is_valid = units.size and units.shape[1] > 0 and np.isfinite(units).all()
    return units if is_large and is_valid else None


def render_filters(units: Array) -> list[Pixels]:
    """Render each unit's weights, summed over channels: color by sign, opacity by magnitude."""
    summed = units.astype(np.float64).sum(axis=1)
    largest = np.argsort(-np.square(summed).sum(axis=(1, 2)), kind="stable")[:MAX_UNITS]
    return [_color_by_sign(summed[unit]) for unit in sorted(largest.tolist())]


def _color_by_sign(unit: NDArray[np.float64]) -> Pixels:
    magnitude = np.abs(unit) / (np.abs(unit).max() or 1.0)
    image = np.where((unit > 0)[..., None], POSITIVE_COLOR, NEGATIVE_COLOR)
    return np.dstack([image, 255 * magnitude**0.8]).astype(np.uint8)


def _square_shape(num_inputs: int) -> tuple[int, int, int] | None:
    """Return the shape of a square one-channel image with this many pixels, if there is one."""
    side = math.isqrt(num_inputs)
    return (1, side, side) if side * side == num_inputs else None
