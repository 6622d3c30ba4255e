"""Benchmark of replicates: does running points with several seeds find better settings?

Sweeps are played on a table of recorded runs of the digits network and on noisy test functions. A
sweep sees a few seeds; the true value of a point is its mean over seeds that the sweep never sees.
"""

from __future__ import annotations

import heapq
import io
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import numpy as np
from benchmarks.samplers import TEST_PROBLEMS, ParameterConfig, TestProblem
from optuna.trial import TrialState
from threadpoolctl import threadpool_limits

from nn.config.compose import compose_config
from nn.errors import UserError
from nn.io.files import atomic_write
from nn.runs.experiment import prepare
from nn.sweeps.recommendation import recommend
from nn.sweeps.replication import choose_promotion, rungs
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.samplers.registry import create_sampler
from nn.sweeps.schema import Metric, SweepConfig
from nn.sweeps.space import Point, SearchSpace, point_key
from nn.training import fit
from nn.types import Array

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Grid:
    """All combinations of listed settings of the digits network."""

    parameters: dict[str, list[float]]
    num_epochs: int
    num_seeds: int

    @property
    def points(self) -> list[Point]:
        """The points, in the order of the rows of a table."""
        return [
            dict(zip(self.parameters, values, strict=True))
            for values in product(*self.parameters.values())
        ]

    @property
    def description(self) -> str:
        """What a table must have in common with the grid, to be one of its recorded runs."""
        return json.dumps([self.parameters, self.num_epochs])


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


def record_table(path: Path, grid: Grid) -> Array:
    """Train what a table lacks on all available cores, and return the values (points, seeds).

    A value is the lowest validation loss of a run, infinite if it diverged. The file is written
    after each seed, so that an interrupted recording is continued.

    Raises:
        UserError: The file is not a table of this grid.
    """
    columns = list(_load_table(path, grid).T) if path.exists() else []
    seeds = range(len(columns), grid.num_seeds)
    recorded = _map_in_processes(partial(_train_seed, grid), seeds)
    for seed, values in zip(seeds, recorded, strict=True):
        columns.append(np.array(values))
        content = io.BytesIO()
        np.savez_compressed(content, grid=grid.description, values=np.array(columns).T)
        atomic_write(path, content.getvalue())
        print(f"{path}: recorded {seed + 1} of {grid.num_seeds} seeds", flush=True)
    return np.array(columns).T


def _load_table(path: Path, grid: Grid) -> Array:
    try:
        with np.load(path, allow_pickle=False) as content:
            description, values = str(content["grid"]), np.asarray(content["values"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        raise UserError(f"{path}: this is not a table of recorded runs; name a new file.") from None
    if description != grid.description:
        raise UserError(f"{path}: this table is of another grid; name a new file.")
    return values


def _train_seed(grid: Grid, seed: int) -> list[float]:
    """Train all points of a grid with a seed, one after another, since they share the dataset."""
    return [
        _train(
            f"epochs={grid.num_epochs}",
            f"seed={seed}",
            "tracking=disabled",
            *(f"{name}={value}" for name, value in point.items()),
        )
        for point in grid.points
    ]


def _train(*overrides: str) -> float:
    """Train without a run directory, and return the lowest validation loss of all epochs."""
    config = compose_config(overrides)
    experiment = prepare(config)
    losses = []
    with threadpool_limits(1, "blas"), np.errstate(all="ignore"):
        for result in fit(
            experiment.network,
            experiment.loss,
            experiment.optimizer,
            experiment.schedule,
            experiment.batches,
            experiment.dataset.val,
            lr=config.lr,
            epochs=config.epochs,
        ):
            if result.val is None or not result.is_finite:
                return math.inf
            losses.append(result.val.loss)
    return min(losses)


def _map_in_processes(function: Callable[[S], T], arguments: Iterable[S]) -> Iterator[T]:
    """Call a function in one process per core, and yield the results in order."""
    num_processes = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, arguments)


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
            _create_space({name: {"values": each} for name, each in grid.parameters.items()}),
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

        space = _create_space(problem.parameters)
        return cls(space, run, lambda point: problem.objective(**point), 0.0)


def _create_space(parameters: Mapping[str, ParameterConfig]) -> SearchSpace:
    sweep = SweepConfig.model_validate({"method": "random", "parameters": parameters})
    return SearchSpace(sweep.parameters)


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


METRIC = Metric(name="val/loss")
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
    table = record_table(table_path, grid)
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
    measured = _map_in_processes(partial(measure_regrets, create_problem, budgets), jobs)
    for (strategy, _), by_selection in zip(jobs, measured, strict=True):
        for (budget, selection), regret in by_selection.items():
            regrets.setdefault((budget, strategy.name, selection), []).append(regret)
    for (budget, strategy_name, selection), values in regrets.items():
        reference = regrets[budget, STRATEGIES[0].name, OBSERVED]
        ratio = bootstrap_ratio(np.array(values), np.array(reference))
        regret = float(np.mean(values))
        yield RegretComparison(name, budget, strategy_name, selection, regret, ratio)


def bootstrap_ratio(values: Array, reference: Array) -> tuple[float, float, float] | None:
    """Return the ratio of paired means, with the ends of its 95 % bootstrap interval."""
    if not reference.any():
        return None
    indices = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    means, reference_means = values[indices].mean(1), reference[indices].mean(1)
    is_defined = reference_means > 0
    low, high = np.quantile(means[is_defined] / reference_means[is_defined], [0.025, 0.975])
    return float(values.mean() / reference.mean()), float(low), float(high)


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
