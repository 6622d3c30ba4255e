"""Points by chance or in a grid, for Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.sampler import Sampler
from nn.sweeps.space import Point, Space


class Drawn(Sampler):
    """What is proposed depends on the seed and on the trial's number alone."""

    def __init__(self, space: Space, seed: int, grid: Sequence[Point] | None) -> None:
        super().__init__(space, seed)
        self.grid = grid

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Go on in the grid, or draw what was not tried."""
        if self.grid is not None:
            return self.space.known_to_optuna(self.grid[trial.number])
        tried = [
            self.space.from_optuna(other.params)
            for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and other.params.keys() == search_space.keys()
        ]
        rng = np.random.default_rng([self.seed, trial.number])
        return self.space.known_to_optuna(self.space.draw(rng, tried))
