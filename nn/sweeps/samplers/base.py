"""Base class of this library's Optuna samplers."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.space import SearchSpace


class Sampler(BaseSampler):
    """Sampler that proposes all parameters of a trial jointly, in `sample_relative`."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters, so that none is sampled independently."""
        return self.space.optuna_distributions

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one parameter at random, as Optuna requires; all are proposed jointly already."""
        return RandomSampler(self.seed).sample_independent(
            study, trial, param_name, param_distribution
        )
