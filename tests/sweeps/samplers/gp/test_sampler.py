"""`method: bayes` proposes good points, and only valid ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from nn.sweeps.distributions import DISTRIBUTIONS, IntUniform
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.samplers.gp.objective import PriorTask, normalize_objective
from nn.sweeps.samplers.gp.sampler import N_STARTUP_TRIALS, GPSampler
from nn.sweeps.samplers.gp.unit_cube import Dimension, UnitCube
from nn.sweeps.schema import Metric
from nn.sweeps.space import SearchSpace
from tests.strategies import seeds
from tests.sweeps.samplers.in_memory_sweep import InMemorySweep


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


def make_sweep(space, seed=0, prior_tasks=()):
    return InMemorySweep(GPSampler(space, seed, prior_tasks=prior_tasks))


def test_branin_minimum_is_closer_than_wandbs():
    found = [min(map(branin, make_sweep(BRANIN_SPACE, seed).run(branin, 40))) for seed in range(3)]
    assert np.median(found) < 0.011  # reached by W&B's engine


def test_proposals_depend_only_on_seed_and_history():
    search = make_sweep(BRANIN_SPACE)
    points = search.run(branin, N_STARTUP_TRIALS + 3)
    restored = make_sweep(BRANIN_SPACE)
    restored.trials += search.trials
    assert restored.ask() == search.ask()
    assert make_sweep(BRANIN_SPACE).run(branin, N_STARTUP_TRIALS + 3) == points
    assert make_sweep(BRANIN_SPACE, seed=1).run(branin, 1) != points[:1]


def distance(one, other):
    return math.hypot((one["x"] - other["x"]) / 15, (one["y"] - other["y"]) / 15)


def test_running_trials_are_not_proposed_again():
    search = make_sweep(BRANIN_SPACE)
    search.run(branin, 15)
    running = [search.ask() for _ in range(6)]
    apart = [distance(a, b) for i, a in enumerate(running) for b in running[:i]]
    assert min(apart) > 0.01
    assert np.median(apart) > 0.1


def test_startup_trials_are_spread_out():
    search = make_sweep(make_space(x=uniform(), kind=categorical("a", "b")))
    points = [tuple(search.ask().values()) for _ in range(40)]
    assert len(set(points)) == 40
    assert max(np.diff(sorted(x for x, _ in ((p[1], p[0]) for p in points)))) < 0.1


def test_failed_trials_count_as_the_worst():
    assert list(normalize_objective(np.array([1.0, math.nan, 3.0]))) == list(
        normalize_objective(np.array([1.0, 3.0, 3.0]))
    )
    hole = make_sweep(make_space(x=uniform(), y=uniform()))

    def function(point):
        return None if point["x"] < 0.5 else point["x"]  # the closer to the hole the better

    points = hole.run(function, 30)
    assert sum(point["x"] < 0.5 for point in points[10:]) <= 8
    assert min(point["x"] for point in points if point["x"] >= 0.5) < 0.52


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
@settings(max_examples=10)
def test_proposals_lie_in_the_space(kinds, seed):
    space = make_space(**{f"p{place}": each for place, each in enumerate(kinds)})
    rng = np.random.default_rng(seed)
    for point in make_sweep(space, seed).run(lambda point: rng.normal(), N_STARTUP_TRIALS + 3):
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
        {"a": ("int_uniform", {"min": 1, "max": 30})},
        {"a": categorical("alone"), "b": categorical("too")},
    ],
)
def test_finite_space_is_exhausted_before_points_repeat(parameters):
    space = make_space(**parameters)
    points = make_sweep(space).run(lambda point: len(str(point)), int(space.num_points) + 2)
    assert len({str(point) for point in points[: int(space.num_points)]}) == space.num_points


def test_larger_finite_space_is_not_repeated():
    space = make_space(**{name: ("int_uniform", {"min": 0, "max": 9}) for name in "abcd"})
    points = make_sweep(space).run(lambda point: sum((v - 7) ** 2 for v in point.values()), 40)
    assert len({str(point) for point in points}) == 40
    assert {"a": 7, "b": 7, "c": 7, "d": 7} in points


def test_best_of_many_categories_is_found():
    space = make_space(kind=categorical(*(f"k{i}" for i in range(300))), x=uniform())
    points = make_sweep(space).run(lambda point: point["x"] + (point["kind"] != "k7"), 12)
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
    points = make_sweep(BRANIN_SPACE).run(function, N_STARTUP_TRIALS + 6)
    assert len({str(point) for point in points}) == N_STARTUP_TRIALS + 6


STARTUP_VALUES = [4.0, 3.0, 8.0, 5.0, 6.0, 4.5, 2.0, 7.0, 5.5]


def propose_after(last_trial, metric=None):
    """Return the proposal after finished trials and a last one with a state, value and epochs."""
    sampler = GPSampler(BRANIN_SPACE, 0, metric and Metric(name="loss", **metric))
    trials = []
    for number, value in enumerate([*STARTUP_VALUES, None]):
        point = {"x": number * 1.5 - 5.0, "y": (number * 7 % 10) * 1.5}
        results = last_trial if value is None else {"state": TrialState.COMPLETE, "value": value}
        trials.append(ObservedTrial(number, point, **results))
    return sampler.propose(len(trials), trials)


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING])
def test_trials_that_did_not_finish_are_imputed(state):
    key = "impute_while_running" if state == TrialState.RUNNING else "impute"
    last_trial = {"state": state, "intermediate_values": {1: 3.0, 2: 1.0, 3: 9.0, 4: 6.5}}
    for strategy, value in {"latest": 6.5, "best": 1.0, "worst": max(STARTUP_VALUES)}.items():
        imputed = propose_after(last_trial, {key: strategy})
        assert imputed == propose_after({"state": TrialState.COMPLETE, "value": value})
    without_epochs = propose_after({"state": state}, {key: "latest"})
    assert without_epochs == imputed  # as the worst
    if state == TrialState.RUNNING:
        as_default = propose_after(last_trial, {key: "false"})
        assert as_default == propose_after(last_trial) != imputed


def make_replicates(num_points, replicates=(0, 1, 2), effects=(0.0, 0.3, -0.2)):
    """Return finished trials of spread points, each with several seeds."""
    points = [{"x": n * 1.5 - 5.0, "y": (n * 7 % 10) * 1.5} for n in range(num_points)]
    runs = [(point, replicate) for replicate in replicates for point in points]
    return [
        ObservedTrial(
            number,
            point,
            TrialState.COMPLETE,
            branin(point) / 20 + effects[replicate],
            replicate=replicate,
        )
        for number, (point, replicate) in enumerate(runs)
    ]


def test_replicates_are_not_counted_as_points_at_the_start():
    with_replicates, without = (
        GPSampler(BRANIN_SPACE, 0).propose(5, make_replicates(5, replicates))
        for replicates in ((0, 1, 2), (0,))
    )
    assert with_replicates == without


def test_a_tried_point_is_not_proposed_whatever_its_replicates():
    space = make_space(x=categorical(*range(10)))
    trials = [
        ObservedTrial(
            number, {"x": number % 9}, TrialState.COMPLETE, number % 9 + 0.1, replicate=number // 9
        )
        for number in range(18)
    ]
    assert GPSampler(space, 0).propose(9, trials) == {"x": 9}


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.FAIL, TrialState.COMPLETE])
def test_a_replicate_counts_in_whatever_state_it_is(state):
    trials = make_replicates(10)
    value = trials[-1].value if state == TrialState.COMPLETE else None
    trials[-1] = ObservedTrial(29, trials[-1].point, state, value, replicate=2)
    assert BRANIN_SPACE.contains(GPSampler(BRANIN_SPACE, 0).propose(10, trials))


def test_a_failed_run_that_was_retried_does_not_count():
    trials = make_replicates(10)
    failed = ObservedTrial(30, trials[12].point, TrialState.FAIL, replicate=1)
    proposals = [
        GPSampler(BRANIN_SPACE, 0).propose(10, history) for history in (trials, [*trials, failed])
    ]
    assert proposals[0] == proposals[1]


def test_the_effects_of_seeds_hardly_change_a_proposal():
    proposals = [
        GPSampler(BRANIN_SPACE, 0).propose(10, make_replicates(10, effects=effects))
        for effects in ((0.0, 0.0, 0.0), (0.0, 3.0, -2.0))
    ]
    for name, value in proposals[0].items():
        assert value == pytest.approx(proposals[1][name], abs=0.5)


def branin_task(count=40, change=branin):
    """Return the record of a random search, whose objective `change` computes from the point."""
    rng = np.random.default_rng(7)
    points = [
        {name: each.ppf(rng.random()) for name, each in BRANIN_SPACE.parameters.items()}
        for _ in range(count)
    ]
    return PriorTask(points, [change(point) for point in points])


def best_of(count, seed, *tasks):
    return min(map(branin, make_sweep(BRANIN_SPACE, seed, prior_tasks=tasks).run(branin, count)))


def test_first_proposals_are_good_after_a_related_task():
    related = branin_task(change=lambda point: 3 * branin(point) + point["x"] - 50)
    assert max(best_of(8, seed, related) for seed in range(3)) < 0.5
    assert np.median([best_of(8, seed) for seed in range(3)]) > 2
    (first,) = make_sweep(BRANIN_SPACE, prior_tasks=[related]).run(branin, 1)
    assert branin(first) < 10


@pytest.mark.soak
def test_unrelated_task_does_little_harm():
    opposite = branin_task(change=lambda point: -branin(point))
    assert max(best_of(24, seed, opposite) for seed in range(2)) < 0.1


def test_unrelated_task_costs_one_trial_before_the_startup_trials():
    opposite = branin_task(change=lambda point: -branin(point))
    points = make_sweep(BRANIN_SPACE, prior_tasks=[opposite]).run(branin, N_STARTUP_TRIALS + 1)
    assert points[1:] == make_sweep(BRANIN_SPACE).run(branin, N_STARTUP_TRIALS)


def test_only_the_first_trial_relies_on_prior_tasks_before_there_are_results():
    sweep = make_sweep(BRANIN_SPACE, prior_tasks=[branin_task()])
    points = [sweep.ask() for _ in range(4)]
    assert points[1:] == make_sweep(BRANIN_SPACE).run(branin, 3)


def test_prior_task_counts_while_every_trial_fails():
    points = make_sweep(BRANIN_SPACE, prior_tasks=[branin_task()]).run(lambda point: None, 12)
    assert len({str(point) for point in points}) == 12
    assert branin(points[0]) < 12  # as at a fifth of all points


@pytest.mark.parametrize("values", [[], [math.nan] * 3, [1.0] * 3, [math.inf, 2.0]])
def test_prior_task_without_information_has_no_effect(values):
    task = PriorTask(branin_task(len(values)).points, values)
    points = make_sweep(BRANIN_SPACE, prior_tasks=[task]).run(branin, 10)
    assert points == make_sweep(BRANIN_SPACE).run(branin, 10)


def test_prior_points_may_lack_parameters_and_lie_outside():
    space = make_space(
        x=uniform(), kind=categorical("a", "b"), size=categorical(8, 16, 32), fixed=categorical(1)
    )
    values = {"x": [0.5, -9.0, "high"], "kind": ["a", "c", 1], "size": [8, 64, None], "other": [3]}
    rng = np.random.default_rng(0)
    points = [
        {
            name: each[int(rng.integers(len(each)))]
            for name, each in values.items()
            if rng.random() < 0.8
        }
        for _ in range(30)
    ]
    task = PriorTask(points, list(rng.normal(size=30)))
    for point in make_sweep(space, prior_tasks=[task]).run(lambda point: point["x"], 10):
        for name, value in point.items():
            assert contains(space.parameters[name], value), (name, value)


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (uniform(0.0, 2.0), 0.5, 0.25),
        (uniform(0.0, 2.0), 3, 1.5),
        (uniform(0.0, 2.0), -100.0, -1),
        (uniform(0.0, 2.0), "high", 0.5),
        (uniform(0.0, 2.0), True, 0.5),
        (uniform(0.0, 2.0), math.nan, 0.5),
        (("log_uniform_values", {"min": 0.01, "max": 1.0}), 10, 1.5),
        (("log_uniform_values", {"min": 0.01, "max": 1.0}), 0, -1),
        (("q_log_uniform_values", {"min": 16, "max": 256, "q": 16}), 65, 0.506),
        (("q_log_uniform_values", {"min": 16, "max": 256, "q": 16}), 512, 1.25),
        (("int_uniform", {"min": 1, "max": 5}), 7, 1.5),
        (categorical(8, 16, 32), 16.0, 0.5),
        (categorical(8, 16, 32), 64, 1.5),
        (categorical(8, 16, 32), None, 0.5),
    ],
)
def test_numbers_outside_are_placed_outside(distribution, value, expected):
    dimension = Dimension(DISTRIBUTIONS[distribution[0]](**distribution[1]))
    assert dimension.extrapolate(value) == pytest.approx([expected], abs=1e-3)


def test_unknown_category_is_equally_far_from_all():
    dimension = Dimension(DISTRIBUTIONS["categorical"](values=["sgd", "adam", None]))
    distances = np.linalg.norm(dimension.transformed_values - dimension.extrapolate("lion"), axis=1)
    assert distances == pytest.approx(distances[0])
    assert 0 < distances[0] < 1
