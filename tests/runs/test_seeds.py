"""Runs that differ in their seed only are grouped, averaged and compared by seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nn.runs.seeds import average_curves, compare_paired, group_by_seed


def test_runs_are_grouped_by_everything_but_the_seed():
    runs = [{"lr": 0.1, "seed": 0}, {"seed": 0, "lr": 0.3}, {"seed": 1, "lr": 0.1}, {"lr": 0.3}]
    groups = group_by_seed(runs)
    assert [group.settings for group in groups] == [{"lr": 0.1}, {"lr": 0.3}]
    assert [group.seeds for group in groups] == [{0: "0", 2: "1"}, {1: "0", 3: "null"}]


def test_a_repeated_seed_counts_once_with_its_last_known_value():
    (group,) = group_by_seed([{"seed": 0}, {"seed": 1}, {"seed": 0}, {"seed": 1}])
    assert group.by_seed([1.0, 2.0, 3.0, None]) == {"0": 3.0, "1": 2.0}


def test_curves_of_different_lengths_are_averaged_where_they_are_known():
    curve = average_curves([([1, 2, 3], [1.0, None, 3.0]), ([1, 2], [3.0, 4.0])])
    assert curve.x.tolist() == [1, 2, 3]
    assert curve.mean.tolist() == [2.0, 3.0, 3.0]  # the first is interpolated at 2
    assert curve.std[:2] == pytest.approx([math.sqrt(2), math.sqrt(2)])
    assert np.isnan(curve.std[2])
    assert average_curves([([1], [None])]).mean.size == 0


def test_paired_interval_is_that_of_the_t_test_over_common_seeds():
    rng = np.random.default_rng(0)
    seed_effect = rng.normal(size=6)
    first, second = (seed_effect + shift + 0.1 * rng.normal(size=6) for shift in (0.0, 0.3))
    a, b = ({str(seed): value for seed, value in enumerate(v.tolist())} for v in (first, second))
    difference = compare_paired(a | {"only in a": 9.0}, b | {"only in b": -9.0})
    expected = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert difference.num_seeds == 6
    assert difference.interval == pytest.approx((expected.low, expected.high))
    assert difference.difference == pytest.approx(difference.means[1] - difference.means[0])


def test_a_single_common_seed_has_no_interval_and_none_has_no_difference():
    assert compare_paired({"0": 1.0}, {"0": 3.0}).interval is None
    assert compare_paired({"0": 1.0}, {"1": 3.0}) is None
