"""Random search without repetition."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.samplers.base import Sampler


class RandomSampler(Sampler):
    """Sampler whose proposals depend only on the seed, the trial number and earlier trials."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw a point that no earlier trial has."""
        tried = [
            self.space.from_optuna(other.params)
            for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and self.space.is_complete(other.params)
        ]
        rng = np.random.default_rng([self.seed, trial.number])
        return self.space.to_optuna(self.space.sample_untried(rng, tried))
