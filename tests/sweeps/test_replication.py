"""Replicates: means of points, and racing."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import pytest

from nn.sweeps.replication import choose_promotion, estimate_points, rungs
from nn.types import Array

NAN, INF = float("nan"), float("inf")


def test_rungs() -> None:
    assert rungs(1) == (1,)
    assert rungs(2) == (1, 2)
    assert rungs(3) == (1, 3)
    assert rungs(8) == (1, 3, 8)
    assert rungs(8, racing=False) == (8,)


def test_means_of_points_that_lack_seeds_are_adjusted() -> None:
    values = np.array([[1.0, 2, 6], [11, 12, 16], [21, NAN, NAN], [NAN, NAN, 36]])
    estimates = estimate_points(values)
    assert estimates.means == pytest.approx(np.array([3.0, 13, 23, 33]))
    assert estimates.seed_effects == pytest.approx(np.array([-2.0, -1, 3]))
    assert estimates.num_seeds.tolist() == [3, 3, 1, 1]
    assert estimates.noise_std == pytest.approx(0, abs=1e-9)


def test_standard_errors_are_those_of_simulated_sweeps() -> None:
    rng, means = np.random.default_rng(0), np.array([0.0, 1, 2, 3])
    errors, std_errors = [], []
    for _ in range(2000):
        values = means[:, None] + rng.normal(size=3) * 5 + rng.normal(size=(4, 3))
        values[3, 1:] = NAN
        values[2, 2] = NAN
        estimates = estimate_points(values)
        errors.append(estimates.means - estimates.means[0] - means)
        std_errors.append(estimates.std_errors)
    rms_errors, (first, *others) = np.std(errors, 0)[1:], np.sqrt(np.mean(np.square(std_errors), 0))
    assert first == pytest.approx(3**-0.5, rel=0.05)
    assert rms_errors[0] == pytest.approx((2 / 3) ** 0.5, rel=0.05)
    assert np.all(np.diff([first, *others[1:]]) > 0)


def test_one_seed_tells_no_standard_error() -> None:
    estimates = estimate_points(np.array([[1.0], [2.0], [NAN], [INF]]))
    assert estimates.means[:2].tolist() == [1, 2]
    assert np.isnan(estimates.means[2])
    assert np.isinf(estimates.means[3])
    assert np.isnan(estimates.std_errors).all()


def test_a_failed_replicate_gives_its_point_an_infinite_mean_and_changes_no_other() -> None:
    values = np.array([[1.0, 2, 6], [11, 12, 16], [21, INF, NAN]])
    estimates = estimate_points(values)
    assert np.isinf(estimates.means[2])
    assert estimates.means[:2] == pytest.approx(estimate_points(values[:2]).means)


def test_estimates_of_no_points() -> None:
    assert not len(estimate_points(np.empty((0, 3))).means)


def promote(
    values: Sequence[Sequence[float]], *open_at: tuple[int, int], more: bool = False
) -> int | None:
    matrix = np.array(values, float)
    is_open = np.zeros(matrix.shape, bool)
    for place in open_at:
        is_open[place] = True
    return choose_promotion(matrix, is_open, rungs(matrix.shape[1]), more)


def test_the_best_point_is_promoted_first() -> None:
    assert promote([[3, NAN, NAN], [1, NAN, NAN], [2, NAN, NAN]]) == 1


def test_a_point_whose_replicates_all_run_is_not_promoted_again() -> None:
    values = [[3, NAN, NAN], [1, NAN, NAN], [2, NAN, NAN]]
    assert promote(values, (1, 1)) == 1
    assert promote(values, (1, 1), (1, 2)) == 2


def test_points_of_a_higher_rung_come_first() -> None:
    values = [[0, NAN, NAN, NAN], [1, 1, 1, NAN], [2, 2, 3, NAN], [9, NAN, NAN, NAN]]
    assert promote(values) == 1


def test_only_the_seeds_that_all_points_of_a_rung_have_are_compared() -> None:
    values = [[1.0, 9, 9, NAN], [2, NAN, NAN, NAN], [3, NAN, NAN, NAN], [9, NAN, NAN, NAN]]
    assert promote(values, (0, 3), more=True) is None  # by the first seed, the first is the best


def test_a_point_that_is_far_behind_is_dropped() -> None:
    close: list[list[float]] = [[i / 10, i / 10 + 0.01 * (i % 3), i / 10] for i in range(4)]
    assert promote([*close, [1000, NAN, NAN]]) is None


def test_failed_points_are_not_promoted() -> None:
    assert promote([[INF, NAN, NAN]]) is None
    assert promote([[1, INF, NAN], [2, NAN, NAN]]) == 1


def test_without_racing_all_replicates_of_a_point_run() -> None:
    values, is_open = np.array([[1.0, 2.0, 3.0], [9.0, NAN, NAN]]), np.zeros((2, 3), bool)
    assert choose_promotion(values, is_open, rungs(3, racing=False)) == 1


def test_while_the_search_goes_on_a_third_is_promoted() -> None:
    assert promote([[1, NAN, NAN], [2, NAN, NAN]], more=True) is None
    values = [[3, NAN, NAN], [1, NAN, NAN], [2, NAN, NAN], [4, NAN, NAN], [5, NAN, NAN]]
    assert promote(values, more=True) == 1
    assert promote(values, (1, 1), (1, 2), more=True) is None


def test_while_the_search_goes_on_points_that_differ_by_more_than_noise_wait() -> None:
    noisy = [[1.0, 1.1, 0.9], [3.0, 3.0, 3.1], [3.1, 3.2, 3.1]]
    values = [*noisy, *([3.2, NAN, NAN] for _ in range(9))]
    assert promote(values, more=True) is None
    values[-1] = [1.05, NAN, NAN]
    assert promote(values, more=True) == len(values) - 1


@pytest.mark.parametrize("value", [1e308, -1e308])
def test_huge_results_are_compared(value: float) -> None:
    assert promote([[value, 1, 1], [2, NAN, NAN], [3, NAN, NAN]]) in (0, 1)


def test_no_points() -> None:
    assert choose_promotion(np.empty((0, 3)), np.empty((0, 3), bool), rungs(3)) is None


def race(
    means: Array, results: Array, rng: np.random.Generator, num_workers: int, rungs: Sequence[int]
) -> Array:
    """Return the results of a race; runs take random times, so that they end in any order."""
    values, is_open = np.full(results.shape, NAN), np.zeros(results.shape, bool)
    num_points, now = 0, 0.0
    running: list[tuple[float, int, int]] = []
    while True:
        while len(running) < num_workers:
            more_points = num_points < len(means)
            point = choose_promotion(values[:num_points], is_open[:num_points], rungs, more_points)
            if point is None and not more_points:
                break
            if point is None:
                point, num_points = num_points, num_points + 1
            replicate = int((is_open | ~np.isnan(values))[point].sum())
            is_open[point, replicate] = True
            heapq.heappush(running, (now + rng.exponential(), point, replicate))
        if not running:
            return values
        now, point, replicate = heapq.heappop(running)
        values[point, replicate], is_open[point, replicate] = results[point, replicate], False


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_a_race_ends_on_rungs_and_the_best_point_has_all_seeds(num_workers: int) -> None:
    rng, means = np.random.default_rng(num_workers), np.arange(20.0)
    results = means[:, None] + rng.normal(size=5) + 0.5 * rng.normal(size=(20, 5))
    values = race(means, results, rng, num_workers, rungs(5))
    counts = (~np.isnan(values)).sum(1)
    assert set(counts) == {1, 3, 5}
    assert counts[0] == 5
    assert (counts[-5:] == 1).all()


@pytest.mark.soak
@pytest.mark.parametrize("num_replicates", [2, 3, 5, 8])
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 3.0])
def test_the_best_point_by_a_standard_deviation_of_a_run_is_rarely_dropped(
    num_replicates: int, spread: float
) -> None:
    rng, num_dropped, num_sweeps = np.random.default_rng(num_replicates), 0, 500
    for _ in range(num_sweeps):
        means = spread * rng.normal(size=rng.integers(5, 61))
        best = means.argmin()
        means[best] = np.delete(means, best).min() - 1
        seed_effects = rng.choice([0, 1, 2]) * rng.normal(size=num_replicates)
        noise = rng.normal(size=(len(means), num_replicates))
        results = means[:, None] + seed_effects + noise
        values = race(means, results, rng, int(rng.integers(1, 5)), rungs(num_replicates))
        num_dropped += bool(np.isnan(values[best]).any())
    assert num_dropped / num_sweeps <= 0.1
