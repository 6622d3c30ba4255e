"""Asynchronous successive halving: trials pause at rungs, and the best of each rung continue.

Li et al., A System for Massively Parallel Hyperparameter Tuning (2020). A rung is a number of
epochs; the last one is that of a whole run. The value of a trial at a rung is its best so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nn.sweeps.hyperband import bracket_iterations
from nn.sweeps.schema import HyperbandConfig
from nn.types import Array

DEFAULT_CONFIG = HyperbandConfig(type="hyperband", min_iter=1, eta=3.0)
"""Rungs of a sweep file without `early_terminate`."""
MIN_FULL_TRIALS = 3
"""Trials, if there are as many, that reach the last rung before a sweep ends."""


@dataclass(frozen=True)
class Rungs:
    """The epochs at which trials pause, ascending; the last is the end of a run."""

    epochs: tuple[int, ...]
    eta: float

    @classmethod
    def of(cls, config: HyperbandConfig, max_epochs: int) -> Rungs:
        """Return the brackets of `early_terminate`, without those just before the last epoch."""
        limit = max_epochs / math.sqrt(config.eta)
        pauses = [epoch for epoch in bracket_iterations(config) if epoch <= limit]
        return cls((*pauses, max_epochs), config.eta)

    def next_after(self, epoch: int) -> int:
        """Return the first rung after an epoch; the last if there is none."""
        return next((rung for rung in self.epochs if rung > epoch), self.epochs[-1])

    def values(self, values_by_epoch: Mapping[int, float], *, is_complete: bool = False) -> Array:
        """Return the best value at each rung that a trial has reached, NaN for the others.

        Args:
            values_by_epoch: Values to minimize.
            is_complete: Whether the run has ended before its last epoch, by `patience`, so that
                its best value counts at all higher rungs.
        """
        last_epoch = max(values_by_epoch, default=0)
        result = np.full(len(self.epochs), math.nan)
        for index, rung in enumerate(self.epochs):
            if rung <= last_epoch or is_complete:
                until = (value for epoch, value in values_by_epoch.items() if epoch <= rung)
                result[index] = min(until, default=math.inf)
        return result


def choose_promotion(
    values: Array, is_promotable: NDArray[np.bool_], num_open: int, eta: float, more_trials: bool
) -> int | None:
    """Return the index of the trial that should continue to its next rung, None if there is none.

    The trials of the highest rung come first, and among them the best. A trial is promoted if it is
    among the best 1/eta of all that have reached its rung, ties being decided by the index. When
    there will be no more trials, others follow until `MIN_FULL_TRIALS` have reached the last rung,
    or are on their way.

    Args:
        values: Best value to minimize at each rung (trials, rungs); NaN where it was not reached,
            infinite for a trial that failed on its way there.
        is_promotable: Whether each trial is paused and may continue.
        num_open: Number of trials that are queued or running.
        eta: Reduction factor: one in `eta` trials of a rung continues.
        more_trials: Whether new trials can be started.
    """
    reached, is_last = ~np.isnan(values), np.isfinite(values[:, -1])
    levels = reached.sum(1) - 1  # index of the highest rung
    must_fill = not more_trials and int(is_last.sum()) + num_open < MIN_FULL_TRIALS
    for is_filling in (False, True) if must_fill else (False,):
        for rung in reversed(range(values.shape[1] - 1)):
            members = np.flatnonzero(reached[:, rung])
            ranked = members[np.argsort(values[members, rung], kind="stable")]
            if not is_filling:
                ranked = ranked[: int(len(members) / eta)]
            eligible = ranked[is_promotable[ranked] & (levels[ranked] == rung)]
            if len(eligible):
                return int(eligible[0])
    return None


def find_surplus(values: Array, is_promotable: NDArray[np.bool_], eta: float) -> list[int]:
    """Return the indices of the paused trials that are unlikely to be promoted.

    At each rung, one in `eta` of all trials or `MIN_FULL_TRIALS`, if they are more, are likely.
    """
    surplus: list[int] = []
    reached = ~np.isnan(values)
    for rung in range(values.shape[1] - 1):
        members = np.flatnonzero(reached[:, rung])
        ranked = members[np.argsort(values[members, rung], kind="stable")]
        num_kept = max(math.ceil(len(members) / eta), MIN_FULL_TRIALS)
        rest = ranked[num_kept:]
        surplus += rest[is_promotable[rest] & ~reached[rest, rung + 1]].tolist()
    return surplus
