"""Recommended point of a sweep, and the probability that it is the best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from optuna.trial import TrialState

from nn.sweeps.recommendation import MAX_CANDIDATES, Recommendation, recommend
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.samplers.gp.gaussian_process import matern52
from nn.sweeps.schema import Metric
from nn.sweeps.space import Point, SearchSpace
from nn.types import Array
from tests.sweeps.samplers.gp.test_sampler import categorical, make_space

LOSS, ACCURACY = Metric(name="val/loss"), Metric(name="val/accuracy", goal="maximize")


def unit_square() -> SearchSpace:
    unit = ("uniform", {"min": 0.0, "max": 1.0})
    return make_space(a=unit, b=unit)


def make_trials(x: Array, results: Array) -> list[ObservedTrial]:
    """Make a trial of each result (points, replicates) that is not NaN."""
    runs = [tuple(index) for index in np.argwhere(~np.isnan(results.T))]
    return [
        ObservedTrial(
            number,
            {"a": float(x[point, 0]), "b": float(x[point, 1])},
            TrialState.COMPLETE,
            float(results[point, replicate]),
            replicate=int(replicate),
        )
        for number, (replicate, point) in enumerate(runs)
    ]


def recommend_on_unit_square(trials: list[ObservedTrial]) -> Recommendation:
    recommendation = recommend(unit_square(), LOSS, trials)
    assert recommendation
    return recommendation


def recommend_point(values: list[tuple[Point, int, float | None]], space: SearchSpace) -> list[int]:
    """Return the numbers of the points that have an estimate, the recommended one first."""
    trials = [
        ObservedTrial(
            number,
            point,
            TrialState.FAIL if value is None else TrialState.COMPLETE,
            value,
            replicate=replicate,
        )
        for number, (point, replicate, value) in enumerate(values)
    ]
    recommendation = recommend(space, LOSS, trials)
    assert recommendation
    numbers = [point.number for point in recommendation.points]
    return [numbers.pop(recommendation.best), *numbers]


def test_of_many_points_those_with_the_best_results_are_estimated() -> None:
    x = np.random.default_rng(0).random((MAX_CANDIDATES + 100, 2))
    distances = ((x - 0.5) ** 2).sum(1)
    results = np.column_stack([distances, np.where(distances < 0.05, distances + 0.01, np.nan)])
    recommendation = recommend_on_unit_square(make_trials(x, results))
    numbers = [point.number for point in recommendation.points]
    assert numbers == sorted(np.argsort(distances)[:MAX_CANDIDATES])
    best = recommendation.points[recommendation.best]
    assert (best.number, best.num_seeds) == (distances.argmin(), 2)
    assert recommendation.points[numbers.index(distances.argsort()[-101])].num_seeds == 1


def test_a_single_trial_is_recommended() -> None:
    recommendation = recommend_on_unit_square(
        make_trials(np.array([[0.5, 0.5]]), np.array([[3.0]]))
    )
    (point,) = recommendation.points
    assert (point.number, point.num_seeds, point.probability_best) == (0, 1, 1.0)
    assert point.mean == pytest.approx(3.0)
    assert (recommendation.best, recommendation.contenders) == (0, [])


def test_without_a_result_there_is_no_recommendation() -> None:
    point: Point = {"a": 0.5, "b": 0.5}
    assert recommend(unit_square(), LOSS, []) is None
    assert recommend(unit_square(), LOSS, [ObservedTrial(0, point)]) is None
    assert recommend(unit_square(), LOSS, [ObservedTrial(0, point, TrialState.FAIL)]) is None


def test_a_lucky_run_is_not_recommended() -> None:
    x = np.linspace([0.0, 0.5], [1.0, 0.5], 30)
    results = 5 * (x[:, :1] - 0.3) ** 2 + 0.05 * np.random.default_rng(0).normal(size=(30, 1))
    results[25] = -0.1
    recommendation = recommend_on_unit_square(make_trials(x, results))
    assert results.argmin() == 25
    assert abs(x[recommendation.best, 0] - 0.3) < 0.15


def test_the_effect_of_a_seed_is_not_that_of_a_point() -> None:
    rng, x = np.random.default_rng(0), np.random.default_rng(1).random((8, 2))
    means = np.arange(8) / 10
    results = means[:, None] + np.array([0.5, 0.0, 0.0]) + 0.02 * rng.normal(size=(8, 3))
    results[0, 1:] = np.nan  # on its only seed, all points are 0.5 higher
    recommendation = recommend_on_unit_square(make_trials(x, results))
    assert recommendation.best == 0
    estimates = [point.mean for point in recommendation.points]
    assert np.argsort(estimates).tolist() == [*range(8)]
    assert estimates[5] == pytest.approx(means[5] + 0.5 / 3, abs=0.05)


def test_means_of_a_maximized_metric_have_its_sign() -> None:
    trials = make_trials(np.random.default_rng(0).random((6, 2)), -np.array([[0.5]] * 5 + [[0.9]]))
    recommendation = recommend(unit_square(), ACCURACY, trials)
    assert recommendation
    assert recommendation.best == 5
    assert 0.6 < recommendation.points[5].mean < 1


def test_a_point_with_a_failed_replicate_is_not_recommended() -> None:
    space = make_space(a=categorical("x", "y", "z"))
    assert recommend_point(
        [({"a": "x"}, 0, 1.0), ({"a": "y"}, 0, 2.0), ({"a": "z"}, 0, 3.0), ({"a": "x"}, 1, None)],
        space,
    ) == [1, 2]


def test_the_last_of_several_runs_of_a_replicate_counts() -> None:
    space = make_space(a=categorical("x", "y"))
    values: list[tuple[Point, int, float | None]] = [
        ({"a": "x"}, 0, None),
        ({"a": "y"}, 0, 2.0),
        ({"a": "x"}, 0, 1.0),
    ]
    assert recommend_point(values, space) == [0, 1]


def test_a_seed_in_the_sweep_file_is_not_a_parameter() -> None:
    space = make_space(a=categorical("x", "y"), seed=categorical(0, 1, 2))
    rows: list[tuple[Point, int, float | None]] = [
        ({"a": a, "seed": seed}, 0, {"x": 1.0, "y": 1.5}[a] + seed + 0.01 * (seed == 1))
        for a in "yx"
        for seed in range(3)
    ]
    assert recommend_point(rows, space) == [3, 0]


def test_points_that_cannot_be_told_apart_are_contenders() -> None:
    x = np.random.default_rng(1).random((4, 2))
    results = np.array([[0.0, 3.0, 1.0], [3.0, 0.0, 1.1], [1.0, 1.5, 2.0], [20.0, 21.0, 22.0]])
    recommendation = recommend_on_unit_square(make_trials(x, results))
    assert {recommendation.best, *recommendation.contenders} == {0, 1, 2}
    assert sum(point.probability_best for point in recommendation.points) == pytest.approx(1)


def test_a_sweep_without_varied_parameters_has_a_recommendation() -> None:
    assert recommend_point(
        [({"a": "x"}, 0, 1.0), ({"a": "x"}, 1, 2.0)], make_space(a=categorical("x"))
    ) == [0]


@pytest.mark.parametrize(
    "values", [[1.0], [1.0, 2.0], [1e308, -1e308, 0.0], [1e308, 1.0, 2.0], [1e-320, 0.0, 1.0]]
)
def test_extreme_results_are_handled(values: list[float]) -> None:
    rng = np.random.default_rng(0)
    results = rng.choice(values, (8, 3))
    recommendation = recommend_on_unit_square(make_trials(rng.random((8, 2)), results))
    assert all(np.isfinite(point.mean) for point in recommendation.points)
    assert sum(point.probability_best for point in recommendation.points) == pytest.approx(1)


def smooth(x: Array, rng: np.random.Generator) -> Array:
    curvature, center = np.array([1, rng.choice([0.1, 1])]), rng.random(2)
    return np.asarray((curvature * (x - center) ** 2).sum(1) + 0.1 * np.sin(5 * x.sum(1))) / 0.3


def sampled_from_process(x: Array, rng: np.random.Generator) -> Array:
    sq_distances = ((x[:, None] - x) ** 2).sum(2) / rng.uniform(0.2, 1.0) ** 2
    factor = np.linalg.cholesky(matern52(sq_distances)[0] + 1e-9 * np.eye(len(x)))
    own = rng.choice([0, 0.3]) * rng.normal(size=len(x))
    return np.asarray(factor @ rng.normal(size=len(x)) + own)


def independent(x: Array, rng: np.random.Generator) -> Array:
    return rng.normal(size=len(x))


Truth = Callable[[Array, np.random.Generator], Array]


class SimulatedSweeps:
    """Recommendations for sweeps of which the true means are known."""

    def __init__(self, truth: Truth, num_replicates: int, num_sweeps: int) -> None:
        rng = np.random.default_rng(num_replicates)
        self.probabilities: list[Array] = []
        self.is_best: list[Array] = []
        self.regrets: list[tuple[float, float]] = []
        """Of the recommended point and of the lowest result."""
        for _ in range(num_sweeps):
            x = rng.random((rng.integers(5, 31), 2))
            means, noise_std = truth(x, rng), rng.choice([0.3, 1.0])
            seed_effects = rng.choice([0, 1]) * noise_std * rng.normal(size=num_replicates)
            results = means[:, None] + seed_effects
            results += noise_std * rng.normal(size=results.shape)
            order = np.argsort(results[:, 0])
            results[order[len(x) // 2 :], 1:] = np.nan
            results[order[max(len(x) // 4, 2) :], 3:] = np.nan
            recommendation = recommend_on_unit_square(make_trials(x, results))
            points = recommendation.points
            self.probabilities.append(np.array([point.probability_best for point in points]))
            self.is_best.append(np.arange(len(x)) == means.argmin())
            chosen = means[[recommendation.best, results[:, 0].argmin()]] - means.min()
            self.regrets.append((float(chosen[0]), float(chosen[1])))

    def expected_calibration_error(self) -> float:
        predicted, actual = np.concatenate(self.probabilities), np.concatenate(self.is_best)
        bins = np.minimum((predicted * 10).astype(int), 9)
        gaps = [abs((predicted - actual)[bins == index].sum()) for index in range(10)]
        return float(sum(gaps) / len(predicted))

    def brier_scores(self) -> tuple[float, float]:
        """Return the score of the probabilities, and that of 1/k for each point."""
        pairs = zip(self.probabilities, self.is_best, strict=True)
        scores = [(((p - best) ** 2).sum(), 1 - 1 / len(p)) for p, best in pairs]
        score, uniform_score = np.mean(scores, 0)
        return float(score), float(uniform_score)

    def regret_ratio_interval(self) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the ratio of mean regrets."""
        regrets, rng = np.array(self.regrets), np.random.default_rng(0)
        samples = regrets[rng.integers(len(regrets), size=(2000, len(regrets)))].mean(1)
        low, high = np.quantile(samples[:, 0] / samples[:, 1], [0.025, 0.975])
        return float(low), float(high)


def test_with_replicates_the_recommendation_beats_the_lowest_result_of_a_seed() -> None:
    sweeps = SimulatedSweeps(smooth, 3, 40)
    assert sweeps.regret_ratio_interval()[1] < 1
    assert sweeps.expected_calibration_error() <= 0.05


@pytest.mark.soak
@pytest.mark.parametrize("num_replicates", [1, 3, 5])
@pytest.mark.parametrize("truth", [smooth, sampled_from_process, independent])
def test_probabilities_are_calibrated(truth: Truth, num_replicates: int) -> None:
    sweeps = SimulatedSweeps(truth, num_replicates, 700)
    assert sweeps.expected_calibration_error() <= 0.05
    score, uniform_score = sweeps.brier_scores()
    assert score < uniform_score
    if num_replicates > 1:
        assert sweeps.regret_ratio_interval()[1] < 1


def test_a_thousand_trials_take_bounded_time() -> None:
    rng = np.random.default_rng(0)
    trials = make_trials(rng.random((1000, 2)), rng.random((1000, 1)))
    recommendation = recommend_on_unit_square(trials)
    assert len(recommendation.points) == MAX_CANDIDATES
