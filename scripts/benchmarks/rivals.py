"""Search methods of other libraries, for sweeps that are played on tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from nn.sweeps.distributions import is_number
from nn.sweeps.samplers.base import ObservedTrial, Sampler
from nn.sweeps.space import Point, SearchSpace

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from smac.runhistory.dataclasses import TrialInfo


class OptunaPruner:
    """One of Optuna's pruners, with a study of its own that has no parameters."""

    def __init__(self, pruner: optuna.pruners.BasePruner, seed: int) -> None:
        self.study = optuna.create_study(study_name=f"sweep {seed}", pruner=pruner)
        self.trials: dict[int, optuna.Trial] = {}

    def should_prune(self, trial: ObservedTrial) -> bool:
        """Report the last epoch of a trial, and return whether to stop it."""
        while trial.number not in self.trials:
            self.trials[len(self.trials)] = self.study.ask()
        epoch, value = max(trial.intermediate_values.items())
        self.trials[trial.number].report(value, epoch)
        return self.trials[trial.number].should_prune()

    def finish(self, trial: ObservedTrial) -> None:
        """Record the end of a trial."""
        while trial.number not in self.trials:
            self.trials[len(self.trials)] = self.study.ask()
        is_complete = trial.state == TrialState.COMPLETE
        self.study.tell(
            self.trials[trial.number], trial.value if is_complete else None, trial.state
        )


def create_optuna_pruner(scheduler: str, num_epochs: int, seed: int) -> OptunaPruner | None:
    """Create the pruner of a scheduler, None if it is not one of Optuna's."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if scheduler == "optuna-hyperband":
        return OptunaPruner(optuna.pruners.HyperbandPruner(1, num_epochs), seed)
    if scheduler == "optuna-halving":
        return OptunaPruner(optuna.pruners.SuccessiveHalvingPruner(1, reduction_factor=3), seed)
    return None


class SmacSampler(Sampler):
    """SMAC3 with its own defaults for the optimization of hyperparameters.

    It keeps a state, so that it must see the trials in the order of play.
    """

    def __init__(self, space: SearchSpace, seed: int, num_trials: int) -> None:
        from smac import HyperparameterOptimizationFacade, Scenario

        super().__init__(space, seed)
        self._directory = TemporaryDirectory()
        scenario = Scenario(
            _create_configuration_space(space),
            output_directory=Path(self._directory.name),
            deterministic=True,
            n_trials=num_trials,
            seed=seed,
        )
        self._smac = HyperparameterOptimizationFacade(
            scenario, lambda config, seed: math.nan, logging_level=False
        )
        self._open_trials: dict[int, TrialInfo] = {}

    def propose(self, number: int, trials: Sequence[ObservedTrial]) -> Point:
        """Return SMAC's next configuration, which is never one that it has proposed before."""
        from smac.runhistory.dataclasses import TrialValue
        from smac.runhistory.enumerations import StatusType

        for trial in trials:
            if trial.state.is_finished() and trial.number in self._open_trials:
                is_failed = trial.value is None
                cost = math.inf if trial.value is None else trial.value
                status = StatusType.CRASHED if is_failed else StatusType.SUCCESS
                info = self._open_trials.pop(trial.number)
                self._smac.tell(info, TrialValue(cost=cost, status=status))
        info = self._open_trials[number] = self._smac.ask()
        return {
            name: distribution.list_values()[int(info.config[name])]
            if distribution.is_discrete
            else float(info.config[name])
            for name, distribution in self.space.parameters.items()
        }


def _create_configuration_space(space: SearchSpace) -> ConfigurationSpace:
    """Return the space of SMAC, with the indices of listed values; those of numbers are ordered."""
    from ConfigSpace import Categorical, ConfigurationSpace, Float

    configuration_space = ConfigurationSpace()
    for name, distribution in space.parameters.items():
        if distribution.is_discrete:
            values = distribution.list_values()
            is_ordered = all(is_number(value) for value in values)
            parameter = Categorical(name, range(len(values)), ordered=is_ordered)
        else:
            bounds = distribution.unrounded_ppf(0.0), distribution.unrounded_ppf(1.0)
            parameter = Float(name, bounds, log=distribution.is_log)
        configuration_space.add(parameter)
    return configuration_space
