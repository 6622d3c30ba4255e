"""Samplers for `method: bayes`: this library's Gaussian process, and those of Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from nn.config.instantiate import suggest
from nn.errors import UserError
from nn.sweeps.asha import Rungs
from nn.sweeps.samplers.base import Sampler
from nn.sweeps.samplers.gp.objective import PriorTask
from nn.sweeps.samplers.optuna_sampler import OptunaSampler
from nn.sweeps.schema import Metric
from nn.sweeps.space import SearchSpace

GP = "gp"
SAMPLER_NAMES = (GP, "tpe", "cmaes", "random", "qmc", "optuna-gp")
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
    if name is not None and name not in SAMPLER_NAMES:
        raise UserError(
            f"--sampler={name}: there is no such sampler; {suggest(name, SAMPLER_NAMES)}"
        )
    if name in REQUIRED_PACKAGES and not find_spec(REQUIRED_PACKAGES[name]):
        raise UserError(
            f"--sampler={name} needs {REQUIRED_PACKAGES[name]}, which is not installed."
        )
    return name or GP


def require_warm_start(name: str | None, method: str) -> None:
    """Raise `UserError` unless the sampler can learn from earlier sweeps."""
    if method != "bayes":
        raise UserError(
            f"--warm-start: this option requires method: bayes, not method: {method}; leave it "
            "out, or start a new sweep with --name=NAME."
        )
    if name != GP:
        raise UserError(
            f"--sampler={name} cannot learn from earlier sweeps; leave it out for --warm-start."
        )


def create_sampler(
    name: str,
    space: SearchSpace,
    seed: int,
    metric: Metric | None = None,
    prior_tasks: Sequence[PriorTask] = (),
    rungs: Rungs | None = None,
) -> Sampler:
    """Create a sampler of `method: bayes` by its name; `gp` learns from trials at rungs."""
    if name == GP:
        from nn.sweeps.samplers.gp.sampler import GPSampler  # imports much of SciPy

        return GPSampler(space, seed, metric, prior_tasks, rungs)
    return OptunaSampler(name, space, seed)
