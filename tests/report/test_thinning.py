"""Thinned curves keep their shape."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nn.report.thinning import minmax_downsample

values = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=400)


@given(values, st.integers(8, 200))
def test_ends_and_extremes_stay_and_the_points_are_few_enough(curve, most):
    kept = minmax_downsample([curve], most)
    assert kept == sorted(set(kept))
    assert {kept[0], kept[-1]} == {0, len(curve) - 1}
    assert len(kept) <= max(most, min(len(curve), 8))
    known = [value for value in curve if value is not None]
    if known:
        left = [curve[place] for place in kept if curve[place] is not None]
        assert {min(left), max(left)} == {min(known), max(known)}


def test_a_peak_of_one_epoch_in_any_of_several_curves_is_kept():
    flat, peak = [1.0] * 5000, [1.0] * 5000
    peak[3217] = 9.0
    assert 3217 in minmax_downsample([flat, peak], 100)


def test_a_short_curve_is_left_as_it_is():
    assert minmax_downsample([[3.0, 1.0, 2.0]], 10) == [0, 1, 2]
    assert minmax_downsample([], 10) == []
