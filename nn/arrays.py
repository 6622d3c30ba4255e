"""Allocation of arrays that start at a cache line."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nn.types import Shape

CACHE_LINE_BYTES = 64


def aligned_full(
    shape: Shape,
    fill: float,
    dtype: type[np.generic] | np.dtype[Any],
    order: Literal["C", "F"] = "C",
) -> NDArray[Any]:
    """Return an array like `np.full`, but aligned to cache lines.

    NumPy aligns to 16 bytes only; then every second or every single access of a vector instruction
    touches two cache lines, which makes element-wise operations up to twice as slow.
    """
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(num_bytes + CACHE_LINE_BYTES, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE_BYTES
    array = memory[start : start + num_bytes].view(dtype).reshape(shape, order=order)
    if fill:
        array.fill(fill)
    return array
