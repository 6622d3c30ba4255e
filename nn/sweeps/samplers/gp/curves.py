"""Values of trials that paused, or were stopped, at a rung below the last."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from optuna.trial import TrialState

from nn.sweeps.asha import Rungs
from nn.sweeps.samplers.base import ObservedTrial
from nn.types import Array

MAX_VALUE = 1e100
"""Higher values are replaced by this, since ratios of their differences might overflow."""


def rung_values(trials: Sequence[ObservedTrial], rungs: Rungs) -> Array:
    """Return the best value of trials at each rung (trials, rungs).

    NaN stands for what was not reached or not reported.
    """
    table = np.full((len(trials), len(rungs.epochs)), math.nan)
    for row, trial in zip(table, trials, strict=True):
        is_complete = trial.state == TrialState.COMPLETE
        epochs = trial.intermediate_values.items()
        finite = {epoch: value for epoch, value in epochs if math.isfinite(value)}
        row[:] = rungs.values(finite, is_complete=is_complete)
        if is_complete and trial.value is not None:
            row[-1] = trial.value
    return np.where(np.isfinite(table), np.clip(table, -MAX_VALUE, MAX_VALUE), math.nan)


def extrapolate(values: Array) -> Array:
    """Return the value of trials at the highest rung that any has reached, from those at all rungs.

    Trials that stopped below are assumed to lie above the best by as much as at the rung below,
    times the ratio by which the others came closer to it: so one that was promoted counts by what
    it has shown since, and stays ahead of those that were not unless it got worse. NaN stands for a
    trial that has shown nothing.
    """
    above, best = np.full(len(values), math.nan), math.nan
    for column in values.T:
        is_here, is_below = np.isfinite(column), np.isfinite(above)
        if not is_here.any():
            continue
        below, best = above, column[is_here].min()
        above = column - best
        if is_below.any():
            both = is_here & is_below
            one_more = np.median(below[is_below])  # of ratio 1, so that few do not decide alone
            total = below[both].sum() + one_more
            ratio = (above[both].sum() + one_more) / total if total else 1.0
            above = np.where(is_here, above, below * ratio)
    return np.asarray(best + above)
