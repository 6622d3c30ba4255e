"""What a sampler of this library is to Optuna: one that proposes whole points."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.space import SearchSpace


class Sampler(BaseSampler):
    """Proposes all parameters of a trial at once, in `sample_relative`."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters at once."""
        return self.space.optuna_distributions

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Nothing is left to be drawn by itself."""
        return RandomSampler(self.seed).sample_independent(
            study, trial, param_name, param_distribution
        )
