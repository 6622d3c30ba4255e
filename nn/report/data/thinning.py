"""Downsampling of curves that preserves their shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def minmax_downsample(curves: Sequence[Sequence[float | None]], max_points: int) -> list[int]:
    """Return the indices of the points to keep, by min-max downsampling.

    The curves share an x axis. From each bucket of neighboring points every curve keeps its
    minimum and its maximum, so that a peak in a single epoch stays visible; both ends are kept.
    """
    length = max(map(len, curves), default=0)
    if length <= max_points:
        return list(range(length))
    buckets = max(1, (max_points - 2) // (2 * len(curves)))
    edges = np.linspace(0, length, buckets + 1).astype(np.int64).tolist()
    kept = {0, length - 1}
    for curve in curves:
        for start, end in pairwise(edges):
            values = enumerate(curve[start:end], start)
            bucket = [(value, index) for index, value in values if value is not None]
            if bucket:
                kept |= {min(bucket)[1], max(bucket)[1]}
    return sorted(kept)
