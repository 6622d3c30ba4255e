"""`method: bayes` proposes good points, and only valid ones."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from nn.sweeps.distributions import DISTRIBUTIONS, IntUniform
from nn.sweeps.samplers.gp.sampler import (
    N_STARTUP_TRIALS,
    GPSampler,
    normalize_objective,
    objective_value,
)
from nn.sweeps.samplers.gp.unit_cube import Dimension, UnitCube
from nn.sweeps.space import SearchSpace
from tests.strategies import seeds

optuna.logging.set_verbosity(optuna.logging.ERROR)


def make_space(**parameters):
    return SearchSpace(
        {name: DISTRIBUTIONS[kind](**given) for name, (kind, given) in parameters.items()}
    )


def uniform(low=0.0, high=1.0):
    return "uniform", {"min": low, "max": high}


def categorical(*values):
    return "categorical", {"values": list(values)}


BRANIN_SPACE = make_space(x=uniform(-5.0, 10.0), y=uniform(0.0, 15.0))


def branin(point):
    """Return the Branin function minus its minimum."""
    x, y = point["x"], point["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887


class StrictGPSampler(GPSampler):
    """Fail if Optuna samples a parameter independently: it rejected the proposed value."""

    def sample_independent(self, *args):
        raise AssertionError("the proposal was not taken")


class InMemorySweep:
    """An in-memory study."""

    def __init__(self, space, seed=0, direction="minimize"):
        self.space = space
        self.study = optuna.create_study(sampler=StrictGPSampler(space, seed), direction=direction)

    def ask(self):
        trial = self.study.ask(self.space.optuna_distributions)
        return trial.number, self.space.from_optuna(trial.params)

    def run(self, function, count):
        """Finish a trial at each proposed point; None and NaN values count as failures."""
        points = []
        for _ in range(count):
            number, point = self.ask()
            value = function(point)
            if value is None or math.isnan(value):
                self.study.tell(number, state=TrialState.FAIL)
            else:
                self.study.tell(number, value)
            points.append(point)
        return points


def test_branin_minimum_is_closer_than_wandbs():
    found = [
        min(map(branin, InMemorySweep(BRANIN_SPACE, seed).run(branin, 40))) for seed in range(3)
    ]
    assert np.median(found) < 0.011  # reached by W&B's engine


def test_maximize_mirrors_minimize():
    low = InMemorySweep(BRANIN_SPACE).run(branin, 12)
    high = InMemorySweep(BRANIN_SPACE, direction="maximize").run(lambda point: -branin(point), 12)
    assert low == high


def test_proposals_depend_only_on_seed_and_history():
    search = InMemorySweep(BRANIN_SPACE)
    points = search.run(branin, N_STARTUP_TRIALS + 3)
    restored = InMemorySweep(BRANIN_SPACE)
    for trial in search.study.trials:
        restored.study.add_trial(trial)
    assert restored.ask()[1] == search.ask()[1]
    assert InMemorySweep(BRANIN_SPACE).run(branin, N_STARTUP_TRIALS + 3) == points
    assert InMemorySweep(BRANIN_SPACE, seed=1).run(branin, 1) != points[:1]


def distance(one, other):
    return math.hypot((one["x"] - other["x"]) / 15, (one["y"] - other["y"]) / 15)


def test_running_trials_are_not_proposed_again():
    search = InMemorySweep(BRANIN_SPACE)
    search.run(branin, 15)
    running = [search.ask()[1] for _ in range(6)]
    apart = [distance(a, b) for i, a in enumerate(running) for b in running[:i]]
    assert min(apart) > 0.01
    assert np.median(apart) > 0.1


def test_startup_trials_are_spread_out():
    search = InMemorySweep(make_space(x=uniform(), kind=categorical("a", "b")))
    points = [tuple(search.ask()[1].values()) for _ in range(40)]
    assert len(set(points)) == 40
    assert max(np.diff(sorted(x for x, _ in ((p[1], p[0]) for p in points)))) < 0.1


def test_failed_trials_count_as_the_worst():
    assert list(normalize_objective(np.array([1.0, math.nan, 3.0]))) == list(
        normalize_objective(np.array([1.0, 3.0, 3.0]))
    )
    hole = InMemorySweep(make_space(x=uniform(), y=uniform()))

    def function(point):
        return None if point["x"] < 0.5 else point["x"]  # the closer to the hole the better

    points = hole.run(function, 30)
    assert sum(point["x"] < 0.5 for point in points[10:]) <= 8
    assert min(point["x"] for point in points if point["x"] >= 0.5) < 0.52


def test_pruned_trial_counts_by_its_objective():
    search = InMemorySweep(BRANIN_SPACE)
    number, _ = search.ask()
    search.study.tell(number, state=TrialState.PRUNED)
    (trial,) = search.study.trials
    assert math.isnan(objective_value(trial))
    trial.user_attrs["objective"] = 0.5
    assert objective_value(trial) == 0.5


DISTRIBUTION_SETTINGS = {
    "constant": [{"value": "last"}, {"value": None}],
    "categorical": [
        {"values": [8, 16, 32, 64, 8]},
        {"values": [[64], [64, 32]]},
        {"values": [True, None, 1.5, "x"]},
        {"values": [-1, 0.5]},
    ],
    "categorical_w_probabilities": [{"values": [1, 2, "x"], "probabilities": [0.5, 0.5, 0.0]}],
    "int_uniform": [{"min": 1, "max": 4}, {"min": -5, "max": 2**32}],
    "uniform": [{"min": -1.0, "max": 1.0}, {"min": 0.0, "max": 1e-300}],
    "q_uniform": [{"min": 0.0, "max": 0.3, "q": 0.1}, {"min": 1.0, "max": 1000.0, "q": 3}],
    "log_uniform": [{"min": -20.0, "max": 3.0}],
    "log_uniform_values": [{"min": 1e-8, "max": 1.0}],
    "q_log_uniform": [{"min": 0.0, "max": 3.0, "q": 2}],
    "q_log_uniform_values": [{"min": 1, "max": 256, "q": 16}, {"min": 1, "max": 1e5, "q": 1}],
    "inv_log_uniform": [{"min": 0.0, "max": 5.0}],
    "inv_log_uniform_values": [{"min": 0.1, "max": 7.0}],
    "normal": [{"mu": 2.0, "sigma": 0.1}],
    "q_normal": [{"mu": 0.0, "sigma": 30.0, "q": 0.5}, {"sigma": 2.0, "q": 1}],
    "log_normal": [{"mu": 0.0, "sigma": 1.0}],
    "q_log_normal": [{"mu": 1.0, "sigma": 0.5, "q": 1}],
    "beta": [{"a": 2.0, "b": 5.0}],
    "q_beta": [{"a": 2.0, "b": 5.0, "q": 0.25}],
}
any_distribution = st.sampled_from(
    [(kind, each) for kind, several in DISTRIBUTION_SETTINGS.items() for each in several]
)


def contains(each, value):
    """Return whether a value lies in a distribution's support."""
    if isinstance(each, IntUniform):
        return type(value) is int and each.min <= value <= each.max
    if each.is_discrete:
        return value in each.list_values()
    low, high = each.ppf(0.0), each.ppf(1.0)
    return low <= value <= high and each.round(value) == value


def test_all_distributions_are_tested():
    assert DISTRIBUTION_SETTINGS.keys() == DISTRIBUTIONS.keys()


@given(st.lists(any_distribution, min_size=1, max_size=4), seeds)
@settings(max_examples=25)
def test_proposals_lie_in_the_space(kinds, seed):
    space = make_space(**{f"p{place}": each for place, each in enumerate(kinds)})
    rng = np.random.default_rng(seed)
    for point in InMemorySweep(space, seed).run(lambda point: rng.normal(), N_STARTUP_TRIALS + 3):
        for name, value in point.items():
            assert contains(space.parameters[name], value), (name, value)


@given(any_distribution, st.integers(0, 1000).map(lambda number: number / 1000))
def test_axis_coordinates_round_trip(kind, share):
    axis = Dimension(DISTRIBUTIONS[kind[0]](**kind[1]))
    value = axis.distribution.ppf(share)
    restored = axis.inverse_transform(axis.transform(value))
    assert restored == (value if axis.values else pytest.approx(value, rel=5e-3, abs=1e-2))
    assert ((axis.transform(value) >= 0) & (axis.transform(value) <= 1)).all()


def test_numbers_are_ordered_and_categories_equidistant():
    geometric = Dimension(DISTRIBUTIONS["categorical"](values=[8, 16, 32, 64]))
    assert geometric.transformed_values[:, 0] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    even = Dimension(DISTRIBUTIONS["categorical"](values=[0.3, 0.1, 0.2]))
    assert even.transformed_values[:, 0] == pytest.approx([1, 0, 0.5])
    names = Dimension(DISTRIBUTIONS["categorical"](values=["sgd", "adam", None])).transformed_values
    assert [np.linalg.norm(names[i] - names[i - 1]) for i in range(3)] == pytest.approx([1] * 3)
    rounded = Dimension(DISTRIBUTIONS["q_log_uniform_values"](min=16, max=256, q=16))
    assert rounded.transform(64) == pytest.approx([0.5], abs=1e-3)
    assert UnitCube(make_space(a=categorical(1), b=categorical("x"))).dimensions == {}


@pytest.mark.parametrize(
    "parameters",
    [
        {
            "a": categorical(1, 2, 4, 8),
            "b": ("int_uniform", {"min": 0, "max": 5}),
            "c": categorical("x"),
        },
        {
            "a": categorical("x", "y", "z"),
            "b": categorical(True, False),
            "c": categorical([1], [1, 2]),
        },
        {"a": ("q_uniform", {"min": 0.0, "max": 1.0, "q": 0.05})},
        {"a": ("int_uniform", {"min": 1, "max": 70})},
        {"a": categorical("alone"), "b": categorical("too")},
    ],
)
def test_finite_space_is_exhausted_before_points_repeat(parameters):
    space = make_space(**parameters)
    points = InMemorySweep(space).run(lambda point: len(str(point)), int(space.num_points) + 2)
    assert len({str(point) for point in points[: int(space.num_points)]}) == space.num_points


def test_larger_finite_space_is_not_repeated():
    space = make_space(**{name: ("int_uniform", {"min": 0, "max": 9}) for name in "abcd"})
    points = InMemorySweep(space).run(lambda point: sum((v - 7) ** 2 for v in point.values()), 40)
    assert len({str(point) for point in points}) == 40
    assert {"a": 7, "b": 7, "c": 7, "d": 7} in points


def test_best_of_many_categories_is_found():
    space = make_space(kind=categorical(*(f"k{i}" for i in range(300))), x=uniform())
    points = InMemorySweep(space).run(lambda point: point["x"] + (point["kind"] != "k7"), 12)
    assert len({point["kind"] for point in points}) > 5
    assert min(point["x"] for point in points) < 0.01


@pytest.mark.parametrize(
    "function",
    [
        lambda point: 1.0,
        lambda point: None,
        lambda point: math.inf,
        lambda point: 1.0 if point["x"] > 0 else math.nan,
        lambda point: 10.0 ** (300 * point["x"] / 10),
        lambda point: -1e308 if point["x"] > 0 else 1e308,
        lambda point: 1e-320 * point["x"],
    ],
    ids=["equal", "failed", "infinite", "half", "huge", "extreme", "tiny"],
)
def test_degenerate_histories_are_handled(function):
    points = InMemorySweep(BRANIN_SPACE).run(function, N_STARTUP_TRIALS + 6)
    assert len({str(point) for point in points}) == N_STARTUP_TRIALS + 6
