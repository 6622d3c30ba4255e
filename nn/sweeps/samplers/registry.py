"""Samplers for `method: bayes`: this library's Gaussian process, and those of Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import optuna
from optuna.samplers import BaseSampler

from nn.config.instantiate import suggest
from nn.errors import UserError
from nn.sweeps.space import SearchSpace

GP = "gp"
NUM_OPTUNA_SEEDS = 2**31
"""Optuna's samplers accept seeds below 2**32 only; the number of trials is added to the seed."""
REQUIRED_PACKAGES = {"cmaes": "cmaes", "optuna-gp": "torch"}
"""Optional packages by the name of the sampler that needs them."""


def resolve_sampler_name(name: str | None, method: str) -> str | None:
    """Return the sampler to use, None if the method has only one.

    Raises:
        UserError: The sampler is unknown or not installed, or the method is not bayes.
    """
    if method != "bayes":
        if name is not None:
            raise UserError(
                f"--sampler={name}: this option requires method: bayes, not method: {method}."
            )
        return None
    sampler_names = [GP, *OPTUNA_SAMPLERS]
    if name is not None and name not in sampler_names:
        raise UserError(
            f"--sampler={name}: there is no such sampler; {suggest(name, sampler_names)}"
        )
    if name in REQUIRED_PACKAGES and not find_spec(REQUIRED_PACKAGES[name]):
        raise UserError(
            f"--sampler={name} needs {REQUIRED_PACKAGES[name]}, which is not installed."
        )
    return name or GP


def create_sampler(name: str, space: SearchSpace, seed: int, num_trials: int) -> BaseSampler:
    """Create the sampler for a sweep that has started `num_trials` trials so far."""
    if name == GP:
        from nn.sweeps.samplers.gp.sampler import GPSampler  # imports much of SciPy

        return GPSampler(space, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return OPTUNA_SAMPLERS[name](seed % NUM_OPTUNA_SEEDS, num_trials)


# Optuna's samplers draw from one sequential generator: the number of trials is added to the seed so
# that a resumed sweep does not draw the same numbers again. QMC takes the next point of one
# scrambled sequence instead, so its seed must not change.
OPTUNA_SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "tpe": lambda seed, num_trials: optuna.samplers.TPESampler(
        seed=seed + num_trials, multivariate=True, constant_liar=True
    ),
    "cmaes": lambda seed, num_trials: optuna.samplers.CmaEsSampler(
        seed=seed + num_trials, warn_independent_sampling=False
    ),
    "random": lambda seed, num_trials: optuna.samplers.RandomSampler(seed=seed + num_trials),
    "qmc": lambda seed, _: optuna.samplers.QMCSampler(
        seed=seed, scramble=True, warn_independent_sampling=False
    ),
    "optuna-gp": lambda seed, num_trials: optuna.samplers.GPSampler(
        seed=seed + num_trials, warn_independent_sampling=False
    ),
}
