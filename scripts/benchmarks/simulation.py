"""Sweeps that are played on recorded learning curves, without training anything."""

from __future__ import annotations

import heapq
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from benchmarks.rivals import SmacSampler, create_optuna_pruner
from benchmarks.samplers import ParameterConfig
from optuna.trial import TrialState

from nn.sweeps.asha import Rungs, choose_promotion
from nn.sweeps.hyperband import should_prune
from nn.sweeps.samplers.base import ObservedTrial, RandomSampler, Sampler
from nn.sweeps.samplers.registry import create_sampler
from nn.sweeps.schema import HyperbandConfig, Metric, SweepConfig
from nn.sweeps.space import Point, SearchSpace
from nn.types import Array

T = TypeVar("T")
S = TypeVar("S")
METRIC = Metric(name="val/loss")


@dataclass(frozen=True)
class CurveProblem:
    """A search space where a run has a learning curve, and a point a true value.

    A problem without curves has one epoch.
    """

    space: SearchSpace
    num_epochs: int
    run: Callable[[Point, int], Sequence[float]]
    """Return the metric of each epoch of the trial with a number; infinite where it diverged."""
    true_value: Callable[[Point], float]


@dataclass(frozen=True)
class Strategy:
    """How a sweep chooses its points, and how it stops or pauses its trials."""

    sampler: str
    """`random`, `smac`, or a sampler of `method: bayes`."""
    scheduler: Literal["full", "hyperband", "asha", "optuna-hyperband", "optuna-halving"] = "full"
    min_iter: int = 1

    @property
    def sampler_name(self) -> str:
        """The name of the sampler in results, as in a sweep file for the project's own."""
        return "bayes" if self.sampler == "gp" else self.sampler

    @property
    def name(self) -> str:
        """The name of the strategy in results; W&B's rule comes with `min_iter` and `eta`."""
        scheduler = f"W&B ({self.min_iter}, 3)" if self.scheduler == "hyperband" else self.scheduler
        return f"{self.sampler_name}, {scheduler}"


class SimulatedSweep:
    """A sweep with asynchronous workers on a problem; an epoch takes about a unit of time."""

    def __init__(
        self,
        problem: CurveProblem,
        strategy: Strategy,
        seed: int,
        *,
        num_workers: int = 1,
        max_trials: float = math.inf,
    ) -> None:
        self.problem, self.strategy = problem, strategy
        self.num_workers = num_workers
        self.max_trials = min(max_trials, problem.space.num_points)
        config = HyperbandConfig(type="hyperband", min_iter=strategy.min_iter)
        self.hyperband = config if strategy.scheduler == "hyperband" else None
        is_asha = strategy.scheduler == "asha"
        self.rungs = Rungs.of(config, problem.num_epochs) if is_asha else None
        self.pruner = create_optuna_pruner(strategy.scheduler, problem.num_epochs, seed)
        self.sampler = self._create_sampler(seed)
        self.rng = np.random.default_rng(seed)
        self.trials: list[ObservedTrial] = []
        self._curves: list[Sequence[float]] = []
        self._seconds_per_epoch: list[float] = []
        self._rung_values: list[Array] = []

    def _create_sampler(self, seed: int) -> Sampler:
        space = self.problem.space
        if self.strategy.sampler == "random":
            return RandomSampler(space, seed)
        if self.strategy.sampler == "smac":
            return SmacSampler(space, seed, int(self.max_trials))
        return create_sampler(self.strategy.sampler, space, seed, METRIC, rungs=self.rungs)

    def play(self) -> Iterator[ObservedTrial]:
        """Play the sweep, and yield the trial of each epoch as it stands after that epoch."""
        running: list[tuple[float, int]] = []  # the ends of the present epochs, and the trials
        now = 0.0
        while True:
            while len(running) < self.num_workers:
                number = self._choose_promotion(len(running))
                if number is None:
                    if len(self.trials) >= self.max_trials:
                        break
                    number = self._start_trial()
                self.trials[number] = replace(self.trials[number], is_paused=False)
                heapq.heappush(running, (now + self._seconds_per_epoch[number], number))
            if not running:
                return
            now, number = heapq.heappop(running)
            trial = self._train_epoch(number)
            if trial.state == TrialState.RUNNING and not trial.is_paused:
                heapq.heappush(running, (now + self._seconds_per_epoch[number], number))
            yield trial

    def _choose_promotion(self, num_running: int) -> int | None:
        if self.rungs is None or not self.trials:
            return None
        return choose_promotion(
            np.array(self._rung_values),
            np.array([trial.is_paused for trial in self.trials]),
            num_running,
            self.rungs.eta,
            more_trials=len(self.trials) < self.max_trials,
        )

    def _start_trial(self) -> int:
        """Start the trial that the sampler proposes, or continue a paused one."""
        number = len(self.trials)
        point = self.sampler.propose(number, self.trials)
        if self.sampler.continues_paused:
            for trial in self.trials:
                if trial.is_paused and trial.point == point:
                    return trial.number
        self.trials.append(ObservedTrial(number, point))
        self._curves.append(self.problem.run(point, number))
        self._seconds_per_epoch.append(self.rng.uniform(0.5, 1.5))
        self._rung_values.append(np.full(len(self.rungs.epochs) if self.rungs else 0, math.nan))
        return number

    def _train_epoch(self, number: int) -> ObservedTrial:
        trial = self.trials[number]
        epoch = len(trial.intermediate_values) + 1
        value = self._curves[number][epoch - 1]
        if math.isfinite(value):
            trial = replace(trial, intermediate_values={**trial.intermediate_values, epoch: value})
            best = min(trial.intermediate_values.values())
            if epoch == self.problem.num_epochs:
                trial = replace(trial, state=TrialState.COMPLETE, value=best)
            elif self._should_prune(trial):
                trial = replace(trial, state=TrialState.PRUNED, value=best)
            elif self.rungs and epoch in self.rungs.epochs:
                trial = replace(trial, is_paused=True)
            if self.rungs:
                self._rung_values[number] = self.rungs.values(trial.intermediate_values)
        else:
            trial = replace(trial, state=TrialState.FAIL)
            unreached = np.flatnonzero(np.isnan(self._rung_values[number]))
            self._rung_values[number][unreached[:1]] = math.inf
        if self.pruner and trial.state.is_finished():
            self.pruner.finish(trial)
        self.trials[number] = trial
        return trial

    def _should_prune(self, trial: ObservedTrial) -> bool:
        if self.pruner:
            return self.pruner.should_prune(trial)
        if self.hyperband is None:
            return False
        histories = [list(other.intermediate_values.values()) for other in self.trials]
        del histories[trial.number]
        own_values = list(trial.intermediate_values.values())
        return should_prune(self.hyperband, METRIC, own_values, histories)


def create_space(parameters: Mapping[str, ParameterConfig]) -> SearchSpace:
    """Create the search space of a sweep file with these parameters."""
    sweep = SweepConfig.model_validate({"method": "random", "parameters": parameters})
    return SearchSpace(sweep.parameters)


def map_in_processes(function: Callable[[S], T], arguments: Iterable[S]) -> Iterator[T]:
    """Call a function in one process per core, and yield the results in order."""
    num_processes = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, arguments)


def bootstrap_ratio(values: Array, reference: Array) -> tuple[float, float, float] | None:
    """Return the ratio of paired means, with the ends of its 95 % bootstrap interval."""
    if not reference.any():
        return None
    indices = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    means, reference_means = values[indices].mean(1), reference[indices].mean(1)
    is_defined = reference_means > 0
    low, high = np.quantile(means[is_defined] / reference_means[is_defined], [0.025, 0.975])
    return float(values.mean() / reference.mean()), float(low), float(high)
