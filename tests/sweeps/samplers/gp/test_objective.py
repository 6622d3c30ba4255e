"""Values of any size are normalized, and those that are accidents are ignored."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from optuna.trial import TrialState

from nn.sweeps.samplers.gp.objective import (
    fit_normalization,
    fit_normalized_gp,
    is_accident,
    normalize_objective,
)
from nn.sweeps.samplers.gp.sampler import N_STARTUP_TRIALS, GPSampler
from nn.sweeps.space import Point
from nn.types import Array
from tests.sweeps.samplers.gp.test_sampler import BRANIN_SPACE, branin, make_space, uniform
from tests.sweeps.samplers.in_memory_sweep import InMemorySweep

VALUES = np.array([3.0, 1.0, 2.0, 1.5, 8.0, 2.5])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e6, 1e300, 1.7e308])
def test_failed_trials_and_gross_outliers_count_as_the_worst(bad: float) -> None:
    expected = normalize_objective(np.append(VALUES, VALUES.max()))
    assert normalize_objective(np.append(VALUES, bad)) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e3, 1e200])
def test_the_unit_of_the_objective_does_not_matter(scale: float) -> None:
    assert normalize_objective(VALUES * scale) == pytest.approx(normalize_objective(VALUES))


@pytest.mark.parametrize("offset", [-1e9, 1e9])
def test_a_huge_offset_does_not_matter(offset: float) -> None:
    y, normalization = fit_normalization(VALUES + offset)
    assert y == pytest.approx(normalize_objective(VALUES), abs=1e-6)
    assert normalization.inverse(y) == pytest.approx(VALUES + offset)


def scattered_points(count: int = 60) -> Array:
    return np.random.default_rng(0).random((count, 3))


def test_scattered_outliers_are_accidents() -> None:
    x, is_bad = scattered_points(), np.arange(60) % 10 == 3
    values = np.where(is_bad, 1e6, x.sum(1))
    assert is_accident(x, values, np.arange(3)).tolist() == is_bad.tolist()


@pytest.mark.parametrize("bad", [math.nan, 1e6])
def test_outliers_of_a_region_are_no_accidents(bad: float) -> None:
    x = scattered_points()
    values = np.where(x[:, 1] > 0.7, bad, x.sum(1))
    found = is_accident(x, values, np.arange(3))
    assert not found[x[:, 1] > 0.75].any()
    assert not found[x[:, 1] <= 0.7].any()


@pytest.mark.parametrize("values", [[], [1.0], [math.nan], [2.0] * 3, [math.nan] * 3])
def test_without_a_difference_there_are_no_accidents(values: list[float]) -> None:
    x = np.linspace(0.0, 1.0, len(values))[:, None]
    assert not is_accident(x, np.array(values), np.zeros(1, int)).any()


def with_accidents(point: Point) -> float:
    """Return the Branin function, or 1e6 at one point in ten, whatever the point's settings."""
    is_bad = int(1e6 * (float(str(point["x"])) + 5)) % 10 == 3
    return 1e6 if is_bad else branin(point)


def test_accidents_hardly_disturb_the_search() -> None:
    points = InMemorySweep(GPSampler(BRANIN_SPACE, 0)).run(with_accidents, 30)
    assert min(map(branin, points)) < 0.1


@pytest.mark.parametrize(
    "change",
    [
        lambda value: 1e9 + 1e-3 * value,
        lambda value: 1e-250 * value,
        lambda value: 1e250 * value,
        lambda value: math.floor(value / 10),
        lambda value: -1e6 if value > 200 else value,
    ],
    ids=["offset", "tiny", "large", "few values", "low outlier"],
)
def test_the_minimum_is_approached_whatever_the_scale(
    change: Callable[[float], float],
) -> None:
    sweep = InMemorySweep(GPSampler(BRANIN_SPACE, 0))
    points = sweep.run(lambda point: change(branin(point)), 30)
    assert min(map(branin, points)) < 3


def test_settings_that_diverge_are_avoided() -> None:
    space = make_space(lr=uniform(), other=uniform())
    sweep = InMemorySweep(GPSampler(space, 0))

    def diverging(point: Point) -> float:
        lr = float(str(point["lr"]))
        return 10.0 ** (40 * lr) if lr > 0.6 else 1 - lr

    points = sweep.run(diverging, 30)
    assert sum(float(str(point["lr"])) > 0.6 for point in points[N_STARTUP_TRIALS:]) <= 8
    assert min(map(diverging, points)) < 0.45
    assert all(trial.state == TrialState.COMPLETE for trial in sweep.trials)


@pytest.mark.parametrize(
    ("function", "quantile"),
    [(lambda x: ((x - 0.4) ** 2).sum(1), 0.8), (lambda x: np.exp(12 * x[:, 0]), 0.25)],
    ids=["smooth", "far worse"],
)
def test_bad_values_are_compressed_only_where_that_predicts_better(
    function: Callable[[Array], Array], quantile: float
) -> None:
    x = np.random.default_rng(0).random((40, 2))
    values = function(x)
    gp = fit_normalized_gp(x, values, np.arange(2), (), np.zeros(40, int))
    expected, _ = fit_normalization(values, quantile)
    assert np.sort(gp.y_train) == pytest.approx(np.sort(expected))
