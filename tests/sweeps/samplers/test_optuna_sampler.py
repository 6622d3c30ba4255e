"""Optuna's samplers get listed numbers in their order, and propose no point twice."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.samplers.optuna_sampler import OptunaSampler
from nn.sweeps.schema import SweepConfig
from nn.sweeps.space import SearchSpace
from tests.sweeps.samplers.in_memory_sweep import InMemorySweep

optuna.logging.set_verbosity(optuna.logging.ERROR)
NUMBERS = list(range(16))
SHUFFLED = [5, 12, 0, 9, 3, 14, 7, 1, 11, 6, 15, 2, 8, 13, 4, 10]


def make_sweep(parameters, seed=0, name="tpe"):
    sweep = SweepConfig.model_validate({"method": "random", "parameters": parameters})
    return InMemorySweep(OptunaSampler(name, SearchSpace(sweep.parameters), seed))


def squared_distance(point):
    return sum((value - 7) ** 2 for value in point.values())


def best_distances(values, to_number):
    """Return the best value of each of four sweeps over the same four parameters."""
    sweeps = [make_sweep({name: {"values": values} for name in "abcd"}, n) for n in range(4)]

    def distance(point):
        return squared_distance({name: to_number(value) for name, value in point.items()})

    return [min(map(distance, sweep.run(distance, 50))) for sweep in sweeps]


def test_listed_numbers_are_ordered():
    as_numbers = best_distances(SHUFFLED, int)
    as_categories = best_distances(
        [f"v{number}" for number in SHUFFLED], lambda text: int(text[1:])
    )
    assert 2 * sum(as_numbers) < sum(as_categories)


def test_order_does_not_depend_on_the_file():
    sorted_points, shuffled_points = (
        make_sweep({"a": {"values": values}, "b": {"min": 0.0, "max": 1.0}}).run(
            lambda point: point["a"], 15
        )
        for values in (NUMBERS, SHUFFLED)
    )
    assert sorted_points == shuffled_points


def test_other_values_stay_categories():
    parameters = {
        "mixed": {"values": [1, "two"]},
        "flag": {"values": [True, False]},
        "hidden": {"values": [[8], [16, 8]]},
        "width": {"values": [32, 8, 16]},
        "dropout": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5},
        "lr": {"min": 0.1, "max": 0.2},
    }
    sweep = make_sweep(parameters)
    assert sweep.sampler.ranked_values == {"width": ["8", "16", "32"], "dropout": ["0", "0.5", "1"]}
    for point in sweep.run(lambda point: point["lr"], 15):
        for name in ("mixed", "flag", "hidden", "width"):
            assert point[name] in parameters[name]["values"]


def test_no_point_is_repeated_until_all_have_been_tried():
    sweep = make_sweep({"a": {"values": [1, 2, 3]}, "b": {"values": [0.1, 0.2, 0.4, 0.8]}})
    points = sweep.run(lambda point: point["a"] * point["b"], 12)
    assert len({tuple(point.values()) for point in points}) == 12
    sweep.run(lambda point: point["a"], 1)


@pytest.mark.parametrize("name", ["tpe", "random", "qmc"])
def test_proposals_depend_only_on_seed_and_history(name):
    parameters = {
        "a": {"values": NUMBERS},
        "kind": {"values": ["x", "y", "z"]},
        "lr": {"min": 0.0, "max": 1.0},
    }
    sweep = make_sweep(parameters, name=name)
    for number in range(20):
        point = sweep.ask()
        if number % 5 == 0:
            sweep.tell(point["lr"], TrialState.PRUNED)
        elif number % 5 == 1:
            sweep.tell(None, TrialState.FAIL)
        elif number % 5 != 2:  # else it is still running
            sweep.tell(point["a"])
    resumed = make_sweep(parameters, name=name)
    resumed.trials += sweep.trials
    assert resumed.ask() == sweep.ask()
    other_seed = make_sweep(parameters, 1, name)
    other_seed.trials += sweep.trials[:-1]
    assert other_seed.ask() != sweep.trials[-1].point
    assert len({trial.point["lr"] for trial in sweep.trials}) == 21


def test_trials_outside_the_space_are_left_out():
    sweep = make_sweep({"a": {"values": [1, 2, 3]}, "lr": {"min": 0.0, "max": 1.0}})
    sweep.run(lambda point: point["lr"], 12)
    others = [{"a": 4, "lr": 0.5}, {"a": 1, "lr": 2.0}, {"a": 1}, {"a": True, "lr": 0.5}]
    outside = [
        ObservedTrial(number, point, TrialState.COMPLETE, -1.0)
        for number, point in enumerate(others, 12)
    ]
    assert sweep.sampler.propose(16, sweep.trials) == sweep.sampler.propose(
        16, sweep.trials + outside
    )
