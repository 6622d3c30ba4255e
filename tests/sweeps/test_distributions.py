"""Each distribution is as W&B documents it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nn.sweeps.distributions import DISTRIBUTIONS, QUniformGrid, infer_distribution_name

PROBABILITIES = np.random.default_rng(0).random(20_000)
LOG_LOW, LOG_HIGH = math.log(0.01), math.log(10.0)


def sample_values(kind, **settings):
    each = DISTRIBUTIONS[kind](**settings)
    return np.array([each.ppf(probability) for probability in PROBABILITIES])


def rounded_to_multiples(kind, q, **settings):
    """Define a quantized distribution: the continuous one rounded to multiples."""
    plain = sample_values(kind.removeprefix("q_"), **settings)
    return np.round(plain / q) * q


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("uniform", {"min": -1.0, "max": 3.0}, stats.uniform(-1, 4)),
        ("normal", {"mu": 2.0, "sigma": 0.5}, stats.norm(2, 0.5)),
        ("normal", {}, stats.norm(0, 1)),
        ("log_normal", {"mu": -1.0, "sigma": 0.3}, stats.lognorm(0.3, scale=math.exp(-1))),
        ("beta", {"a": 2.0, "b": 5.0}, stats.beta(2, 5)),
        ("beta", {}, stats.uniform(0, 1)),
        ("log_uniform", {"min": LOG_LOW, "max": LOG_HIGH}, stats.loguniform(0.01, 10)),
        ("log_uniform_values", {"min": 0.01, "max": 10.0}, stats.loguniform(0.01, 10)),
        ("inv_log_uniform", {"min": -LOG_HIGH, "max": -LOG_LOW}, stats.loguniform(0.01, 10)),
        ("inv_log_uniform_values", {"min": 0.01, "max": 10.0}, stats.loguniform(0.01, 10)),
    ],
)
def test_continuous_distributions_follow_their_definitions(kind, settings, expected):
    values = sample_values(kind, **settings)
    assert stats.kstest(values, expected.cdf).pvalue > 0.01


def test_inverse_of_inv_log_uniform_is_log_uniform():
    values = sample_values("inv_log_uniform", min=1.0, max=3.0)
    assert stats.kstest(np.log(1 / values), stats.uniform(1, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("q", [1, 3, 0.25, 0.1])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("q_uniform", {"min": -1.0, "max": 10.0}),
        ("q_log_uniform", {"min": 0.0, "max": 3.0}),
        ("q_log_uniform_values", {"min": 1.0, "max": 20.0}),
        ("q_normal", {"mu": 4.0, "sigma": 3.0}),
        ("q_log_normal", {"mu": 1.0, "sigma": 0.5}),
        ("q_beta", {"a": 2.0, "b": 2.0}),
    ],
)
def test_quantized_distribution_rounds_the_continuous_one(kind, settings, q):
    values = sample_values(kind, q=q, **settings)
    np.testing.assert_allclose(values, rounded_to_multiples(kind, q, **settings), atol=1e-12)
    one = DISTRIBUTIONS[kind](q=q, **settings).ppf(0.5)
    assert isinstance(one, type(q))


def test_q_defaults_to_one():
    value = DISTRIBUTIONS["q_uniform"](min=0.0, max=9.0).ppf(0.4)
    assert value == 4.0
    assert isinstance(value, float)


def test_int_uniform_is_uniform_including_its_bounds():
    counts = np.bincount(sample_values("int_uniform", min=1, max=6), minlength=7)[1:]
    assert stats.chisquare(counts).pvalue > 0.01
    assert isinstance(DISTRIBUTIONS["int_uniform"](min=1, max=6).ppf(0.5), int)


def test_categories_follow_their_probabilities():
    counts = np.bincount(sample_values("categorical", values=[0, 1, 2]))
    assert stats.chisquare(counts).pvalue > 0.01
    chances = [0.5, 0.0, 0.2, 0.3]
    counts = np.bincount(
        sample_values("categorical_w_probabilities", values=[0, 1, 2, 3], probabilities=chances)
    )
    assert counts[1] == 0
    possible = [0, 2, 3]
    expected = np.array(chances)[possible] * len(PROBABILITIES)
    assert stats.chisquare(counts[possible], expected).pvalue > 0.01


def test_constant_always_returns_its_value():
    for value in (1, 2.5, "adam", True, None, [196, 49]):
        assert DISTRIBUTIONS["constant"](value=value).ppf(0.3) == value


@given(
    probability=st.floats(0, 1),
    low=st.floats(1e-6, 1e3),
    spread=st.floats(1.001, 1e4),
)
def test_values_stay_within_the_bounds(probability, low, spread):
    high = low * spread
    for kind in ("uniform", "log_uniform_values", "inv_log_uniform_values"):
        assert low <= DISTRIBUTIONS[kind](min=low, max=high).ppf(probability) <= high


@given(probability=st.floats(0, 1), low=st.integers(-1000, 1000), span=st.integers(1, 1000))
def test_integers_stay_within_the_bounds(probability, low, span):
    each = DISTRIBUTIONS["int_uniform"](min=low, max=low + span)
    assert low <= each.ppf(probability) <= low + span


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"value": 3}, "constant"),
        ({"values": [1, 2]}, "categorical"),
        ({"values": [1, 2], "probabilities": [0.5, 0.5]}, "categorical_w_probabilities"),
        ({"min": 0, "max": 1}, "int_uniform"),
        ({"min": 0, "max": 1.0}, "uniform"),
        ({"min": 0.0, "max": 1}, "uniform"),
        ({"mu": 0}, None),
    ],
)
def test_implied_distribution_matches_wandb(given, kind):
    assert infer_distribution_name(given) == kind


def test_huge_ranges_are_listed_lazily():
    integers = DISTRIBUTIONS["int_uniform"](min=2, max=10**30)
    assert (integers.num_values, integers.list_values()[10**9]) == (10**30 - 1, 10**9 + 2)
    steps = DISTRIBUTIONS["q_uniform"](min=0.0, max=1e9, q=0.25)
    assert (steps.num_values, steps.list_values()[-1]) == (4 * 10**9 + 1, 1e9)
    assert list(DISTRIBUTIONS["int_uniform"](min=2, max=4).list_values()) == [2, 3, 4]
    assert list(DISTRIBUTIONS["q_uniform"](min=2.4, max=8.0, q=2).list_values()) == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"min": 0.0, "max": 1.0, "q": 0.25}, [0.0, 0.25, 0.5, 0.75]),
        ({"min": 9, "max": 16, "q": 2}, [9, 11, 13, 15]),
        ({"min": 0.5, "max": 2.6, "q": 1}, [0.5, 1.5, 2.5]),
    ],
)
def test_grid_steps_start_at_min_and_exclude_max(settings, values):
    steps = QUniformGrid(**settings)
    listed = steps.list_values()
    assert list(listed) == values
    assert listed[1:] == values[1:]
    assert [type(value) for value in listed] == [type(value) for value in values]
    assert steps.num_values == len(values)
    assert [steps.round(value + 0.1) for value in values] == values
    with pytest.raises(IndexError):
        listed[len(values)]
