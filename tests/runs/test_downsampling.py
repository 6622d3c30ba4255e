"""Thinned curves keep their shape."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nn.runs.history import minmax_downsample

curves = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=400)


@given(curves, st.integers(8, 200))
def test_endpoints_and_extremes_are_kept_within_the_limit(curve, max_points):
    indices = minmax_downsample([curve], max_points)
    assert indices == sorted(set(indices))
    assert {indices[0], indices[-1]} == {0, len(curve) - 1}
    assert len(indices) <= max(max_points, min(len(curve), 8))
    known = [value for value in curve if value is not None]
    if known:
        remaining = [curve[place] for place in indices if curve[place] is not None]
        assert {min(remaining), max(remaining)} == {min(known), max(known)}


def test_single_epoch_peaks_are_kept():
    flat, peak = [1.0] * 5000, [1.0] * 5000
    peak[3217] = 9.0
    assert 3217 in minmax_downsample([flat, peak], 100)


def test_short_curves_are_unchanged():
    assert minmax_downsample([[3.0, 1.0, 2.0]], 10) == [0, 1, 2]
    assert minmax_downsample([], 10) == []
