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
    edges = np.linspace(0, length, buckets + 1).astype(np.int64)
    kept = {0, length - 1}
    for curve in curves:
        values = np.array([np.nan if value is None else value for value in curve])
        for start, end in pairwise(edges):
            bucket = values[start:end]
            if np.isfinite(bucket).any():
                kept |= {int(start + np.nanargmin(bucket)), int(start + np.nanargmax(bucket))}
    return sorted(kept)
