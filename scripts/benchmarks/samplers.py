"""Benchmark of the samplers of sweeps on test functions."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.compare import SINGLE_THREAD_ENV

# Surjanovic and Bingham, Virtual Library of Simulation Experiments, by number of dimensions
HARTMANN_SLOPES: dict[int, list[list[float]]] = {
    3: [[3, 10, 30], [0.1, 10, 35]] * 2,
    6: [
        [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
    ],
}  # fmt: skip
HARTMANN_CENTERS = {  # times 10^4
    3: [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]],
    6: [
        [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
    ],
}  # fmt: skip
HARTMANN_DEPTHS = {3: 3.8627821, 6: 3.3223680}
"""The maximum depths of the four wells."""


def branin(x: float, y: float) -> float:
    """Return the Branin function, shifted so that its three global minima are 0."""
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.3978873


def hartmann(useless: float = 0.0, **coordinates: float) -> float:
    """Return the Hartmann function, shifted so that the lowest of its four minima is 0.

    The parameter `useless` has no effect.
    """
    x = list(coordinates.values())
    slopes, centers = HARTMANN_SLOPES[len(x)], HARTMANN_CENTERS[len(x)]
    depth = HARTMANN_DEPTHS[len(x)]
    for weight, alpha, center in zip((1, 1.2, 3, 3.2), slopes, centers, strict=True):
        distance = sum(s * (v - p / 1e4) ** 2 for s, v, p in zip(alpha, x, center, strict=True))
        depth -= weight * math.exp(-distance)
    return depth


def tuning_loss(lr: float, batch: int, depth: int, wd: float) -> float:
    """Return a model of the loss of a training run by four hyperparameters."""
    log_lr, log_wd = math.log10(lr), math.log10(wd)
    discrete_loss = 0.05 * abs(math.log2(batch) - 5) + 0.1 * abs(depth - 3)
    lr_loss = 0.3 * (log_lr + 1.26) ** 2
    return lr_loss + discrete_loss + 0.02 * (log_wd + 4) ** 2 + 0.2 * max(0.0, log_lr + 0.5)


def optimizer_choice_loss(
    lr: float, optimizer: str, activation: str, dropout: float, useless: float
) -> float:
    """Return a model of the loss where the best learning rate depends on the optimizer.

    The parameter `useless` has no effect.
    """
    best_log_lr = {"sgd": -0.5, "momentum": -1.2, "adam": -2.6, "adamw": -2.4, "rmsprop": -3.0}
    penalty = {"sgd": 0.08, "momentum": 0.03, "adam": 0.01, "adamw": 0.0, "rmsprop": 0.06}
    penalty |= {"relu": 0.0, "gelu": 0.03, "tanh": 0.09}
    bowl = 0.15 * (math.log10(lr) - best_log_lr[optimizer]) ** 2
    return bowl + 0.3 * (dropout - 0.25) ** 2 + penalty[optimizer] + penalty[activation]


ParameterConfig = Mapping[str, float | str | Sequence[float] | Sequence[str]]

UNIT_INTERVAL: ParameterConfig = {"distribution": "uniform", "min": 0.0, "max": 1.0}
BRANIN_DOMAIN: dict[str, ParameterConfig] = {
    "x": {"min": -5.0, "max": 10.0},
    "y": {"min": 0.0, "max": 15.0},
}
LR_DISTRIBUTION: ParameterConfig = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}
TUNING_SPACE: dict[str, ParameterConfig] = {
    "lr": LR_DISTRIBUTION,
    "batch": {"values": [8, 16, 32, 64, 128, 256]},
    "depth": {"min": 1, "max": 6},
    "wd": {"distribution": "log_uniform_values", "min": 1e-6, "max": 0.1},
}
OPTIMIZER_CHOICE_SPACE: dict[str, ParameterConfig] = {
    "lr": LR_DISTRIBUTION,
    "optimizer": {"values": ["sgd", "momentum", "adam", "adamw", "rmsprop"]},
    "activation": {"values": ["relu", "gelu", "tanh"]},
    "dropout": {"min": 0.0, "max": 0.9},
    "useless": UNIT_INTERVAL,
}


@dataclass(frozen=True)
class TestProblem:
    """A function to minimize, with the parameters of a sweep file as its domain.

    The result of W&B's own engine was measured earlier, as the median of 8 seeds.
    """

    objective: Callable[..., float]
    parameters: Mapping[str, ParameterConfig]
    noise_std: float = 0.0
    wandb_result: float | None = None


TEST_PROBLEMS = {
    "Branin": TestProblem(branin, BRANIN_DOMAIN, wandb_result=0.011),
    "Hartmann-6": TestProblem(hartmann, dict.fromkeys("abcdef", UNIT_INTERVAL), wandb_result=0.51),
    "training": TestProblem(tuning_loss, TUNING_SPACE, wandb_result=0.0015),
    "Branin, noise 2": TestProblem(branin, BRANIN_DOMAIN, noise_std=2.0),
    "Hartmann-3, noise 0.02, useless": TestProblem(
        hartmann, dict.fromkeys([*"abc", "useless"], UNIT_INTERVAL), noise_std=0.02
    ),
    "optimizers, noise 0.01, useless": TestProblem(
        optimizer_choice_loss, OPTIMIZER_CHOICE_SPACE, noise_std=0.01
    ),
}


@dataclass(frozen=True)
class SamplerComparison:
    """Median best values after 40 trials by sampler, and the seconds of a proposal after 100."""

    problem: str
    best_values: dict[str, float | None]
    seconds: float


def compare_samplers(num_seeds: int, quick: bool) -> Iterator[SamplerComparison]:
    """Compare the samplers on all test problems, or on the first one if `quick`."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = ["gp", "random", "tpe", *(["optuna-gp"] if find_spec("torch") and not quick else [])]
    for name, problem in list(TEST_PROBLEMS.items())[: 1 if quick else None]:
        best_values: dict[str, float | None] = {
            sampler: statistics.median(
                run_study(problem, sampler, seed, 40)[0] for seed in range(num_seeds)
            )
            for sampler in samplers
        }
        best_values["wandb_recorded"] = problem.wandb_result
        yield SamplerComparison(name, best_values, run_study(problem, "gp", 0, 105)[1])


def run_study(problem: TestProblem, sampler: str, seed: int, n_trials: int) -> tuple[float, float]:
    """Return the best value of a study, and the slowest of its last five proposals in seconds."""
    import numpy as np
    from optuna.trial import TrialState

    from nn.sweeps.samplers.base import ObservedTrial
    from nn.sweeps.samplers.registry import create_sampler
    from nn.sweeps.schema import SweepConfig
    from nn.sweeps.space import SearchSpace

    sweep = SweepConfig.model_validate({"method": "random", "parameters": problem.parameters})
    space = SearchSpace(sweep.parameters)
    proposer, trials = create_sampler(sampler, space, seed), list[ObservedTrial]()
    rng, values, seconds = np.random.default_rng(seed), [], []
    for number in range(n_trials):
        start = time.perf_counter()
        point = proposer.propose(number, trials)
        seconds.append(time.perf_counter() - start)
        values.append(problem.objective(**point))
        noisy_value = values[-1] + problem.noise_std * rng.normal()
        trials.append(ObservedTrial(number, point, TrialState.COMPLETE, noisy_value))
    return min(values), max(seconds[-5:])


def print_sampler_comparison(num_seeds: int, quick: bool) -> Iterator[SamplerComparison]:
    """Print the comparison as a table, and yield its rows."""
    os.environ.update(SINGLE_THREAD_ENV)
    for number, row in enumerate(compare_samplers(num_seeds, quick)):
        columns = {**row.best_values, "seconds": row.seconds}
        if number == 0:
            print(f"{'problem':31}" + "".join(f"{name:>15}" for name in columns))
        cells = [" " * 15 if value is None else f"{value:15.5f}" for value in columns.values()]
        print(f"{row.problem:31}" + "".join(cells), flush=True)
        yield row
