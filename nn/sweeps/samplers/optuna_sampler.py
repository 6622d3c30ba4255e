"""Optuna's samplers, for which listed numbers are ordered instead of categories."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from nn.errors import format_value
from nn.sweeps.distributions import is_number
from nn.sweeps.samplers.base import ObservedTrial, Sampler
from nn.sweeps.space import OptunaParams, Point, SearchSpace, point_key

MAX_REPEATED_PROPOSALS = 20
"""Number of proposals that were tried already after which one is drawn at random."""
NUM_OPTUNA_SEEDS = 2**31
"""Optuna's samplers accept seeds below 2**32 only."""

OPTUNA_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "optuna-gp": lambda seed: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
}
"""Samplers that depend on the trials of a study only, by their names."""
SEQUENTIAL_SAMPLERS: dict[str, Callable[[int, BaseSampler], BaseSampler]] = {
    "cmaes": lambda seed, independent_sampler: optuna.samplers.CmaEsSampler(
        seed=seed, independent_sampler=independent_sampler, warn_independent_sampling=False
    ),
    "qmc": lambda seed, independent_sampler: optuna.samplers.QMCSampler(
        seed=seed,
        scramble=True,
        independent_sampler=independent_sampler,
        warn_independent_sampling=False,
    ),
}
"""Samplers that keep a state in the study, which is computed anew for each proposal."""


class OptunaSampler(Sampler):
    """Sampler that asks one of Optuna's for the next point of a study in memory.

    The study is rebuilt from the trials that lie in the space, so that the space may have been
    another one when they were proposed. In it, listed numbers are given by their rank.
    """

    def __init__(self, name: str, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self.name = name
        self.ranked_values: dict[str, list[str]] = {}
        for param_name, values in space.category_values.items():
            numbers = [value for value in values.values() if is_number(value)]
            if len(numbers) == len(values):
                ranked_values = [format_value(number) for number in sorted(numbers)]
                self.ranked_values[param_name] = ranked_values
        self.distributions: dict[str, BaseDistribution] = space.optuna_distributions | {
            param_name: IntDistribution(0, len(values) - 1)
            for param_name, values in self.ranked_values.items()
        }
        self._ended_trials: dict[int, FrozenTrial] = {}

    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Propose a point that no other trial has, as long as one is found."""
        trials = [trial for trial in trials if self.space.contains(trial.point)]
        rng = np.random.default_rng([self.seed, number])
        study = self._rebuild_study(trials, int(rng.integers(NUM_OPTUNA_SEEDS)))
        trial_by_key = {point_key(trial.point): trial for trial in trials}
        for _ in range(MAX_REPEATED_PROPOSALS):
            proposed_trial = study.ask(self.distributions)
            point = self.space.from_optuna(self._from_ranks(proposed_trial.params))
            earlier = trial_by_key.get(point_key(point))
            if earlier is None:
                return point
            if earlier.state == TrialState.COMPLETE:  # repeating it would give the same value
                study.tell(proposed_trial, earlier.value)
        return self.space.sample_untried(rng, (trial.point for trial in trials))

    def _rebuild_study(self, trials: Sequence[ObservedTrial], seed: int) -> Study:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.name in OPTUNA_SAMPLERS:
                study = optuna.create_study(sampler=OPTUNA_SAMPLERS[self.name](seed))
                study.add_trials([self._to_frozen_trial(trial) for trial in trials])
                return study
            independent_sampler = optuna.samplers.RandomSampler(seed=seed)
            sampler = SEQUENTIAL_SAMPLERS[self.name](
                self.seed % NUM_OPTUNA_SEEDS, independent_sampler
            )
        study = optuna.create_study(sampler=sampler)
        for trial in map(self._to_frozen_trial, trials):
            study.enqueue_trial(trial.params)
            repeated_trial = study.ask(self.distributions)
            repeated_trial.relative_params  # noqa: B018  (has the sampler advance its state)
            if trial.state.is_finished():
                study.tell(repeated_trial, trial.value, trial.state)
        return study

    def _to_frozen_trial(self, trial: ObservedTrial) -> FrozenTrial:
        """Convert a trial to Optuna's class, with ranks in place of listed numbers."""
        if trial.number in self._ended_trials:
            return self._ended_trials[trial.number]
        params = self.space.to_optuna(trial.point)
        ranks = {
            name: values.index(str(params[name])) for name, values in self.ranked_values.items()
        }
        frozen_trial = create_trial(
            state=trial.state,
            value=trial.value if trial.state == TrialState.COMPLETE else None,
            params=params | ranks,
            distributions=self.distributions,
            intermediate_values=dict(trial.intermediate_values),
        )
        if trial.state.is_finished():
            self._ended_trials[trial.number] = frozen_trial
        return frozen_trial

    def _from_ranks(self, params: OptunaParams) -> OptunaParams:
        return params | {
            name: values[int(params[name])] for name, values in self.ranked_values.items()
        }
