"""Curves of fewer points that look the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def minmax_downsample(curves: Sequence[Sequence[float | None]], max_points: int) -> list[int]:
    """Choose the points that curves over the same axis keep.

    Of each bucket of neighbours every curve keeps its lowest and its highest, so that a peak of a
    single epoch is seen; the two ends stay where they are.
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
            part = values[start:end]
            if np.isfinite(part).any():
                kept |= {int(start + np.nanargmin(part)), int(start + np.nanargmax(part))}
    return sorted(kept)
