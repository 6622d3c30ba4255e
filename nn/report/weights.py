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

MOST = 64
"""Units that are shown, those of the greatest weights."""
SMALLEST = 4
"""Inputs of fewer pixels a side are no image."""
POSITIVE, NEGATIVE = (213, 94, 0), (0, 114, 178)  # the same by day and by night


def first_layer(weights: Mapping[str, Array], shape: Sequence[int] | None) -> NDArray[Any] | None:
    """Give the first layer's weights, units x channels x height x width, if they are images."""
    firsts = (key for key in weights if re.search(r"(conv2d|dense)1\.weight$", key))
    name = min(firsts, default=None)  # a convolution comes before what is dense
    if name is None:
        return None
    array = weights[name]
    if array.ndim == 4:
        units = array
    elif array.ndim == 2:
        shape = shape or _square(array.shape[0])
        if shape is None or len(shape) != 3 or math.prod(shape) != array.shape[0]:
            return None
        units = array.T.reshape(-1, *shape)
    else:
        return None
    large = min(units.shape[2:]) >= (2 if array.ndim == 4 else SMALLEST)
    whole = units.size and units.shape[1] > 0 and np.isfinite(units).all()
    return units if large and whole else None


def pictures(units: NDArray[Any]) -> list[Pixels]:
    """Colour each unit's weights by sign, the more opaque the greater, summed over channels."""
    plain = units.astype(np.float64).sum(axis=1)
    order = np.argsort(-np.square(plain).sum(axis=(1, 2)), kind="stable")[:MOST]
    return [_coloured(plain[unit]) for unit in sorted(order.tolist())]


def _coloured(unit: NDArray[np.float64]) -> Pixels:
    strength = np.abs(unit) / (np.abs(unit).max() or 1.0)
    image = np.where((unit > 0)[..., None], POSITIVE, NEGATIVE)
    return np.dstack([image, 255 * strength**0.8]).astype(np.uint8)


def _square(inputs: int) -> tuple[int, int, int] | None:
    """Take inputs for a square image of one channel."""
    side = math.isqrt(inputs)
    return (1, side, side) if side * side == inputs else None
