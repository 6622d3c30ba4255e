"""Benchmark of replicates: does running points with several seeds find better settings?

Sweeps are played on a table of recorded runs of the digits network and on noisy test functions. A
sweep sees a few seeds; the true value of a point is its mean over seeds that the sweep never sees.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from benchmarks.samplers import TEST_PROBLEMS, TestProblem
from benchmarks.simulation import METRIC, bootstrap_ratio, create_space, map_in_processes
from benchmarks.tables import Grid, best_values, record_table
from optuna.trial import TrialState

from nn.sweeps.recommendation import recommend
from nn.sweeps.replication import choose_promotion, rungs
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.samplers.registry import create_sampler
from nn.sweeps.space import Point, SearchSpace, point_key
from nn.types import Array

DIGITS_GRID = Grid(
    {
        "lr": [0.02, 0.05, 0.1, 0.2, 0.4, 0.8],
        "batch_size": [16, 32, 64, 128],
        "depth": [1, 2, 3],
        "width": [32, 64, 128, 256],
    },
    num_epochs=15,
    num_seeds=37,
)
QUICK_GRID = Grid(
    {"lr": [0.02, 0.1, 0.4], "batch_size": [64, 128], "depth": [1], "width": [16, 32]},
    num_epochs=2,
    num_seeds=8,
)


@dataclass(frozen=True)
class NoisyProblem:
    """A search space where a point has a value for each seed, and a true value."""

    space: SearchSpace
    run: Callable[[Point, int], float]
    true_value: Callable[[Point], float]
    lowest_true_value: float

    @classmethod
    def from_table(cls, table: Array, grid: Grid, rng: np.random.Generator) -> NoisyProblem:
        """Let a sweep see the runs of a few random seeds; the truth is the mean over all others.

        In the truth, a run that diverged counts as much as a network that knows nothing.
        """
        seeds = rng.permutation(table.shape[1])
        visible, hidden = table[:, seeds[:MAX_REPLICATES]], table[:, seeds[MAX_REPLICATES:]]
        true_values = np.minimum(hidden, math.log(10)).mean(1)
        rows = {point_key(point): row for row, point in enumerate(grid.points)}

        def find_row(point: Point) -> int:
            return rows[point_key({name: point[name] for name in grid.parameters})]

        return cls(
            create_space({name: {"values": each} for name, each in grid.parameters.items()}),
            lambda point, replicate: float(visible[find_row(point), replicate]),
            lambda point: float(true_values[find_row(point)]),
            float(true_values.min()),
        )

    @classmethod
    def from_function(cls, problem: TestProblem, rng: np.random.Generator) -> NoisyProblem:
        """Add noise to a function whose minimum is 0, and effects of the seeds as large."""
        seed_effects = problem.noise_std * rng.normal(size=MAX_REPLICATES)

        def run(point: Point, replicate: int) -> float:
            noise = problem.noise_std * rng.normal()
            return problem.objective(**point) + float(seed_effects[replicate]) + noise

        space = create_space(problem.parameters)
        return cls(space, run, lambda point: problem.objective(**point), 0.0)


@dataclass(frozen=True)
class Strategy:
    """How a sweep spends its runs on points and seeds."""

    name: str
    num_replicates: int = 1
    racing: bool = True


STRATEGIES = (
    Strategy("one seed"),
    Strategy("3 seeds, racing", 3),
    Strategy("5 seeds, racing", 5),
    Strategy("3 seeds", 3, racing=False),
    Strategy("5 seeds", 5, racing=False),
)
MAX_REPLICATES = max(strategy.num_replicates for strategy in STRATEGIES)
NUM_WORKERS = 2
"""Workers of a sweep, whose runs take random times, so that they end in another order."""


def play_sweep(
    problem: NoisyProblem, strategy: Strategy, num_runs: int, seed: int
) -> list[ObservedTrial]:
    """Play a sweep by `method: bayes` and return its finished runs in the order of their start.

    As in a real one, a free worker takes a promotion if there is one, else a new point.
    """
    rng = np.random.default_rng(seed)
    sampler = create_sampler("gp", problem.space, seed)
    seeds_of_rungs = rungs(strategy.num_replicates, strategy.racing)
    points: list[Point] = []
    trials: list[ObservedTrial] = []
    rows: list[int] = []  # the points of the trials, by index
    values = np.full((num_runs, strategy.num_replicates), np.nan)
    is_open = np.zeros(values.shape, bool)
    running: list[tuple[float, int]] = []  # the ends of running trials, and their numbers
    now = 0.0
    while len(trials) < num_runs or running:
        while len(trials) < num_runs and len(running) < NUM_WORKERS:
            row = choose_promotion(
                values[: len(points)], is_open[: len(points)], seeds_of_rungs, more_points=True
            )
            if row is None:
                row = len(points)
                points.append(sampler.propose(row, trials))
            replicate = rows.count(row)
            is_open[row, replicate] = True
            heapq.heappush(running, (now + rng.uniform(0.5, 1.5), len(trials)))
            trials.append(ObservedTrial(len(trials), points[row], replicate=replicate))
            rows.append(row)
        now, number = heapq.heappop(running)
        trial = trials[number]
        value = problem.run(trial.point, trial.replicate)
        state = TrialState.COMPLETE if math.isfinite(value) else TrialState.FAIL
        trials[number] = replace(trial, state=state, value=value if math.isfinite(value) else None)
        values[rows[number], trial.replicate] = value
        is_open[rows[number], trial.replicate] = False
    return trials


OBSERVED, RECOMMENDED, ORACLE = "observed best", "recommended", "truly best tried"


def select_points(
    problem: NoisyProblem, strategy: Strategy, trials: Sequence[ObservedTrial]
) -> dict[str, Point]:
    """Return the points that a sweep may end with; the one observed best has one seed only."""
    finished = [trial for trial in trials if trial.value is not None]
    recommendation = recommend(problem.space, METRIC, trials)
    assert recommendation is not None  # some runs have finished
    recommended_trial = trials[recommendation.points[recommendation.best].number]
    selected = {
        RECOMMENDED: recommended_trial.point,
        ORACLE: min((trial.point for trial in finished), key=problem.true_value),
    }
    if strategy.num_replicates == 1:
        selected[OBSERVED] = min(finished, key=lambda trial: trial.value or 0.0).point
    return selected


def measure_regrets(
    create_problem: Callable[[np.random.Generator], NoisyProblem],
    budgets: Sequence[int],
    job: tuple[Strategy, int],
) -> dict[tuple[int, str], float]:
    """Play a sweep, and return the true regret of the selected points by budget and selection.

    The first runs of a sweep are the sweep of a smaller budget.
    """
    strategy, seed = job
    problem = create_problem(np.random.default_rng(seed))
    trials = play_sweep(problem, strategy, max(budgets), seed)
    return {
        (budget, selection): problem.true_value(point) - problem.lowest_true_value
        for budget in budgets
        for selection, point in select_points(problem, strategy, trials[:budget]).items()
    }


@dataclass(frozen=True)
class RegretComparison:
    """Mean true regret, and its ratio to that of the observed best of one seed.

    The ratio comes with its 95 % interval, and is None if the observed best was always the best.
    """

    problem: str
    num_runs: int
    strategy: str
    selection: str
    regret: float
    ratio: tuple[float, float, float] | None


def compare_strategies(table_path: Path, quick: bool) -> Iterator[RegretComparison]:
    """Record what the table lacks, then compare the strategies with equal numbers of runs."""
    grid = QUICK_GRID if quick else DIGITS_GRID
    budgets, num_sweeps = ((10,), 2) if quick else ((60, 120), 32)
    table = best_values(record_table(table_path, grid))
    yield from compare_on(
        "digits", partial(NoisyProblem.from_table, table, grid), budgets, num_sweeps
    )
    for name, problem in TEST_PROBLEMS.items():
        if problem.noise_std and not quick:
            create_problem = partial(NoisyProblem.from_function, problem)
            yield from compare_on(name, create_problem, budgets, num_sweeps)


def compare_on(
    name: str,
    create_problem: Callable[[np.random.Generator], NoisyProblem],
    budgets: Sequence[int],
    num_sweeps: int,
) -> Iterator[RegretComparison]:
    """Compare the strategies on one problem, with the same seeds for all."""
    regrets: dict[tuple[int, str, str], list[float]] = {}
    jobs = list(product(STRATEGIES, range(num_sweeps)))
    measured = map_in_processes(partial(measure_regrets, create_problem, budgets), jobs)
    for (strategy, _), by_selection in zip(jobs, measured, strict=True):
        for (budget, selection), regret in by_selection.items():
            regrets.setdefault((budget, strategy.name, selection), []).append(regret)
    for (budget, strategy_name, selection), values in regrets.items():
        reference = regrets[budget, STRATEGIES[0].name, OBSERVED]
        ratio = bootstrap_ratio(np.array(values), np.array(reference))
        regret = float(np.mean(values))
        yield RegretComparison(name, budget, strategy_name, selection, regret, ratio)


def print_strategy_comparison(table_path: Path, quick: bool) -> Iterator[RegretComparison]:
    """Print the comparison as a table, and yield its rows."""
    print(f"{'problem':32}{'runs':>5}  {'strategy':17}{'selection':17}{'regret':>9}  ratio (95 %)")
    for row in compare_strategies(table_path, quick):
        ratio = "{:.2f} ({:.2f}-{:.2f})".format(*row.ratio) if row.ratio else ""
        print(
            f"{row.problem:32}{row.num_runs:5}  {row.strategy:17}{row.selection:17}"
            f"{row.regret:9.5f}  {ratio}",
            flush=True,
        )
        yield row
