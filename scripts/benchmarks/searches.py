"""Benchmark of the samplers of sweeps on test functions."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from benchmarks.turns import SINGLE_THREAD_ENV

# Surjanovic and Bingham, Virtual Library of Simulation Experiments: A and P (times 10^4)
HARTMANN_CONSTANTS = {
    3: ([[3, 10, 30], [0.1, 10, 35]] * 2, [
        [3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828],
    ], 3.8627821),
    6: ([
        [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
    ], [
        [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
    ], 3.3223680),
}  # fmt: skip
"""By number of dimensions: slopes A, centers P and the maximum depth of the four wells."""


def branin(point: dict[str, Any]) -> float:
    """Return the Branin function, shifted so that its three global minima are 0."""
    x, y = point["x"], point["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.3978873)


def hartmann(point: dict[str, Any]) -> float:
    """Return the Hartmann function, shifted so that the lowest of its four minima is 0.

    A parameter named useless has no effect.
    """
    x = [value for name, value in point.items() if name != "useless"]
    alphas, centers, depth = HARTMANN_CONSTANTS[len(x)]
    for weight, alpha, center in zip((1, 1.2, 3, 3.2), alphas, centers, strict=True):
        distance = sum(s * (v - p / 1e4) ** 2 for s, v, p in zip(alpha, x, center, strict=True))
        depth -= weight * math.exp(-distance)
    return depth


def tuning_loss(point: dict[str, Any]) -> float:
    """Return a model of the loss of a training run by four hyperparameters."""
    lr, wd = math.log10(point["lr"]), math.log10(point["wd"])
    discrete_loss = 0.05 * abs(math.log2(point["batch"]) - 5) + 0.1 * abs(point["depth"] - 3)
    return 0.3 * (lr + 1.26) ** 2 + discrete_loss + 0.02 * (wd + 4) ** 2 + 0.2 * max(0.0, lr + 0.5)


def optimizer_choice_loss(point: dict[str, Any]) -> float:
    """Return a model of the loss where the best learning rate depends on the optimizer.

    The parameter `useless` has no effect.
    """
    best_log_lr = {"sgd": -0.5, "momentum": -1.2, "adam": -2.6, "adamw": -2.4, "rmsprop": -3.0}
    penalty = {"sgd": 0.08, "momentum": 0.03, "adam": 0.01, "adamw": 0.0, "rmsprop": 0.06}
    penalty |= {"relu": 0.0, "gelu": 0.03, "tanh": 0.09}
    optimizer, activation = point["optimizer"], point["activation"]
    bowl = 0.15 * (math.log10(point["lr"]) - best_log_lr[optimizer]) ** 2
    return bowl + 0.3 * (point["dropout"] - 0.25) ** 2 + penalty[optimizer] + penalty[activation]


UNIT_INTERVAL = {"distribution": "uniform", "min": 0.0, "max": 1.0}
BRANIN_DOMAIN = {"x": {"min": -5.0, "max": 10.0}, "y": {"min": 0.0, "max": 15.0}}
LR_DISTRIBUTION = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}
TUNING_SPACE = {
    "lr": LR_DISTRIBUTION,
    "batch": {"values": [8, 16, 32, 64, 128, 256]},
    "depth": {"min": 1, "max": 6},
    "wd": {"distribution": "log_uniform_values", "min": 1e-6, "max": 0.1},
}
OPTIMIZER_CHOICE_SPACE = {
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

    objective: Callable[[dict[str, Any]], float]
    parameters: dict[str, Any]
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


def run_study(problem: TestProblem, sampler: str, seed: int, n_trials: int) -> tuple[float, float]:
    """Return the best value of a study, and the slowest of its last five proposals in seconds."""
    import numpy as np
    import optuna

    from nn.sweeps.samplers.registry import create_sampler
    from nn.sweeps.schema import SweepConfig
    from nn.sweeps.space import SearchSpace

    sweep = SweepConfig(method="random", parameters=problem.parameters)
    space = SearchSpace(sweep.parameters)
    study = optuna.create_study(sampler=create_sampler(sampler, space, seed, 0))
    rng, values, seconds = np.random.default_rng(seed), [], []
    for _ in range(n_trials):
        start = time.perf_counter()
        trial = study.ask(space.optuna_distributions)
        seconds.append(time.perf_counter() - start)
        values.append(problem.objective(space.from_optuna(trial.params)))
        study.tell(trial, values[-1] + problem.noise_std * rng.normal())
    return min(values), max(seconds[-5:])


def compare_samplers(n_seeds: int, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the median best value after 40 trials, and the seconds per proposal after 100."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = ["gp", "random", "tpe", *(["optuna-gp"] if find_spec("torch") and not quick else [])]
    for name, problem in list(TEST_PROBLEMS.items())[: 1 if quick else None]:
        result: dict[str, Any] = {"surface": name}
        for sampler in samplers:
            best_values = [run_study(problem, sampler, seed, 40)[0] for seed in range(n_seeds)]
            result[sampler] = statistics.median(best_values)
        result["wandb then"] = problem.wandb_result
        result["seconds"] = run_study(problem, "gp", 0, 105)[1]
        yield result


def print_sampler_comparison(n_seeds: int, quick: bool) -> Iterator[dict[str, Any]]:
    """Print the comparison as a table, and yield its rows."""
    os.environ.update(SINGLE_THREAD_ENV)
    for number, result in enumerate(compare_samplers(n_seeds, quick)):
        if number == 0:
            names = [f"{name:>11}" for name in list(result)[1:]]
            print(f"{'surface':31}" + "".join(names))
        cells = [
            f"{value:11.5f}" if value is not None else " " * 11
            for value in list(result.values())[1:]
        ]
        print(f"{result['surface']:31}" + "".join(cells), flush=True)
        yield result
