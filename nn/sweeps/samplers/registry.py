"""Who proposes the points where the method is bayes: this library's Gaussian process, or Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import optuna
from optuna.samplers import BaseSampler

from nn.config.instantiate import get_closest_match
from nn.errors import UserError
from nn.sweeps.space import SearchSpace

GP = "gp"
NUM_OPTUNA_SEEDS = 2**31
"""Seeds for Optuna's samplers, which take fewer than NumPy; the trials begun are added to them."""
REQUIRED_PACKAGES = {"cmaes": "cmaes", "optuna-gp": "torch"}


def resolve_sampler_name(name: str | None, method: str) -> str | None:
    """The sampler that is wanted, if it exists, is installed and goes with the method."""
    if method != "bayes":
        if name is not None:
            raise UserError(
                f"--sampler={name}: only method: bayes takes one, not method: {method}."
            )
        return None
    sampler_names = [GP, *OPTUNA_SAMPLERS]
    if name is not None and name not in sampler_names:
        suggestion = get_closest_match(name, sampler_names)
        hint = (
            f"did you mean {suggestion}?"
            if suggestion
            else "there is " + ", ".join(sampler_names) + "."
        )
        raise UserError(f"--sampler={name}: there is no such sampler; {hint}")
    if name in REQUIRED_PACKAGES and not find_spec(REQUIRED_PACKAGES[name]):
        raise UserError(
            f"--sampler={name} needs {REQUIRED_PACKAGES[name]}, which is not installed."
        )
    return name or GP


def create_sampler(name: str, space: SearchSpace, seed: int, num_trials: int) -> BaseSampler:
    """Make a sampler for a sweep in which so many trials have begun."""
    if name == GP:
        from nn.sweeps.samplers.gp.sampler import GPSampler  # which imports much of scipy

        return GPSampler(space, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return OPTUNA_SAMPLERS[name](seed % NUM_OPTUNA_SEEDS, num_trials)


# Optuna's draw their numbers one after the other: when a sweep goes on, others than it began with
OPTUNA_SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "tpe": lambda seed, begun: optuna.samplers.TPESampler(
        seed=seed + begun, multivariate=True, constant_liar=True
    ),
    "cmaes": lambda seed, begun: optuna.samplers.CmaEsSampler(
        seed=seed + begun, warn_independent_sampling=False
    ),
    "random": lambda seed, begun: optuna.samplers.RandomSampler(seed=seed + begun),
    "qmc": lambda seed, _: optuna.samplers.QMCSampler(
        seed=seed, scramble=True, warn_independent_sampling=False
    ),
    "optuna-gp": lambda seed, begun: optuna.samplers.GPSampler(
        seed=seed + begun, warn_independent_sampling=False
    ),
}
