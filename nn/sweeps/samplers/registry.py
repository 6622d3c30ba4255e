"""Who proposes the points where the method is bayes: this library's Gaussian process, or Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import optuna
from optuna.samplers import BaseSampler

from nn.config.instantiate import nearest
from nn.errors import Mistake
from nn.sweeps.space import Space

GP = "gp"
SEEDS = 2**31
"""Seeds for Optuna's samplers, which take fewer than NumPy; the trials begun are added to them."""
NEEDS = {"cmaes": "cmaes", "optuna-gp": "torch"}


def checked(name: str | None, method: str) -> str | None:
    """The sampler that is wanted, if it exists, is installed and goes with the method."""
    if method != "bayes":
        if name is not None:
            raise Mistake(f"--sampler={name}: only method: bayes takes one, not method: {method}.")
        return None
    known = [GP, *OPTUNA]
    if name is not None and name not in known:
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else "there is " + ", ".join(known) + "."
        raise Mistake(f"--sampler={name}: there is no such sampler; {hint}")
    if name in NEEDS and not find_spec(NEEDS[name]):
        raise Mistake(f"--sampler={name} needs {NEEDS[name]}, which is not installed.")
    return name or GP


def made(name: str, space: Space, seed: int, begun: int) -> BaseSampler:
    """Make a sampler for a sweep in which so many trials have begun."""
    if name == GP:
        from nn.sweeps.samplers.gp.sampler import Bayes  # which imports much of scipy

        return Bayes(space, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return OPTUNA[name](seed % SEEDS, begun)


# Optuna's draw their numbers one after the other: when a sweep goes on, others than it began with
OPTUNA: dict[str, Callable[[int, int], BaseSampler]] = {
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
