"""The first layer's weights as images: what each unit looks for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.report.images import Pixels
from nn.types import Array

MAX_UNITS = 64
"""Units that are shown, those of the greatest weights."""
MIN_SIDE_PIXELS = 4
"""Inputs of fewer pixels a side are no image."""
POSITIVE_COLOR, NEGATIVE_COLOR = (213, 94, 0), (0, 114, 178)  # the same by day and by night


def first_layer_filters(
    weights: Mapping[str, Array], shape: Sequence[int] | None
) -> NDArray[Any] | None:
    """Give the first layer's weights, units x channels x height x width, if they are images."""
    firsts = (key for key in weights if re.search(r"(conv2d|dense)1\.weight$", key))
    name = min(firsts, default=None)  # a convolution comes before what is dense
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
    large = min(units.shape[2:]) >= (2 if array.ndim == 4 else MIN_SIDE_PIXELS)
    whole = units.size and units.shape[1] > 0 and np.isfinite(units).all()
    return units if large and whole else None


def render_filters(units: NDArray[Any]) -> list[Pixels]:
    """Colour each unit's weights by sign, the more opaque the greater, summed over channels."""
    plain = units.astype(np.float64).sum(axis=1)
    order = np.argsort(-np.square(plain).sum(axis=(1, 2)), kind="stable")[:MAX_UNITS]
    return [_color_by_sign(plain[unit]) for unit in sorted(order.tolist())]


def _color_by_sign(unit: NDArray[np.float64]) -> Pixels:
    strength = np.abs(unit) / (np.abs(unit).max() or 1.0)
    image = np.where((unit > 0)[..., None], POSITIVE_COLOR, NEGATIVE_COLOR)
    return np.dstack([image, 255 * strength**0.8]).astype(np.uint8)


def _square_shape(num_inputs: int) -> tuple[int, int, int] | None:
    """Take inputs for a square image of one channel."""
    side = math.isqrt(num_inputs)
    return (1, side, side) if side * side == num_inputs else None
