"""A search space of any size is enumerated lazily."""

from __future__ import annotations

import math
import tracemalloc
from itertools import product

import numpy as np
import pytest

from nn.sweeps.distributions import DISTRIBUTIONS, QUniformGrid
from nn.sweeps.space import SearchSpace


def test_grid_is_the_product_with_the_last_parameter_fastest():
    values = {"a": [3, 1, 2], "b": ["x", "y"], "c": [0.5]}
    space = SearchSpace(
        {name: DISTRIBUTIONS["categorical"](values=each) for name, each in values.items()}
    )
    expected = [dict(zip(values, point, strict=True)) for point in product(*values.values())]
    assert list(space.grid()) == expected
    assert len(space.grid()) == space.num_points == 6


def test_huge_grid_takes_no_memory():
    tracemalloc.start()
    space = SearchSpace(
        {
            "lr": DISTRIBUTIONS["int_uniform"](min=1, max=10**12),
            "seed": DISTRIBUTIONS["int_uniform"](min=1, max=10**12),
            "width": QUniformGrid(min=10, max=10**6, q=1),
        }
    )
    grid = space.grid()
    assert grid[0] == {"lr": 1, "seed": 1, "width": 10}
    assert grid[10**6] == {"lr": 1, "seed": 2, "width": 20}
    assert space.num_points == 10**12 * 10**12 * (10**6 - 10)
    assert len(grid) > 10**18
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "each",
    [
        DISTRIBUTIONS["q_uniform"](min=0.0, max=1e5, q=0.1),
        DISTRIBUTIONS["q_uniform"](min=1, max=10**7, q=1),
        DISTRIBUTIONS["q_uniform"](min=1, max=9, q=2),
        QUniformGrid(min=9, max=16, q=2),
        QUniformGrid(min=0.5, max=10**6, q=1),
    ],
)
def test_points_round_trip_through_optuna(each):
    space = SearchSpace({"width": each})
    rng = np.random.default_rng(0)
    points = [space.sample_untried(rng, []) for _ in range(50)]
    points += [{"width": each.list_values()[place]} for place in (0, -1)]
    for point in points:
        back = space.from_optuna(space.to_optuna(point))
        assert back == point
        assert type(back["width"]) is type(point["width"])


@pytest.mark.parametrize(
    "point",
    [
        {"lr": 0.5, "depth": 2},
        {"lr": 0.5, "depth": 2, "kind": "a", "more": 1},
        {"lr": 1.5, "depth": 2, "kind": "a"},
        {"lr": True, "depth": 2, "kind": "a"},
        {"lr": math.nan, "depth": 2, "kind": "a"},
        {"lr": "0.5", "depth": 2, "kind": "a"},
        {"lr": 0.5, "depth": 5, "kind": "a"},
        {"lr": 0.5, "depth": 10**400, "kind": "a"},
        {"lr": 0.5, "depth": 2, "kind": ["a"]},
    ],
)
def test_point_outside_is_not_contained(point):
    space = SearchSpace(
        {
            "lr": DISTRIBUTIONS["uniform"](min=0.0, max=1.0),
            "kind": DISTRIBUTIONS["categorical"](values=["a", None]),
            "depth": DISTRIBUTIONS["int_uniform"](min=1, max=4),
        }
    )
    assert space.contains({"lr": 1.0, "depth": 4, "kind": None})
    assert not space.contains(point)
