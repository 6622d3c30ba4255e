"""W&B's hyperband: a trial that lags behind the others at the same iteration ends early.

An iteration is an epoch that has the metric. At each bracket the threshold is the value at index
int(n / eta) of the sorted values, best first, that all n trials had at that iteration. A trial
is judged by the last bracket that it has passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from nn.sweeps.schema import HyperbandConfig, Metric

MAX_ITERATION = 10**6


def bracket_iterations(config: HyperbandConfig) -> list[int]:
    """List the iterations at which trials are judged."""
    iterations: list[int] = []
    if config.min_iter is not None:
        iteration: float = config.min_iter
        while iteration < MAX_ITERATION:
            iterations.append(int(iteration))
            iteration *= config.eta
    else:
        assert config.max_iter is not None
        assert config.s is not None
        iteration = config.max_iter
        for _ in range(config.s):
            iteration /= config.eta
            if iteration < 1:
                break
            iterations.append(int(iteration))
    return sorted(iterations)


def should_prune(
    config: HyperbandConfig,
    metric: Metric,
    own_values: Sequence[float],
    other_values: Iterable[Sequence[float]],
) -> bool:
    """Say whether a trial ends here, given its values and those of all other trials."""
    passed = [bracket for bracket in bracket_iterations(config) if bracket <= len(own_values)]
    if not passed:
        return False
    last_bracket = passed[-1]
    values_at_bracket = [
        values[last_bracket - 1]
        for values in (own_values, *other_values)
        if len(values) >= last_bracket
    ]
    ranked = sorted(values_at_bracket, key=lambda value: metric.minimization_sign * value)
    threshold = ranked[min(int(len(ranked) / config.eta), len(ranked) - 1)]
    own_value = (
        own_values[last_bracket - 1]
        if config.strict
        else min(own_values, key=lambda value: metric.minimization_sign * value)
    )
    return metric.is_better(threshold, own_value)


class HyperbandPruner(BasePruner):
    """The rule, over the values that Optuna has of each trial."""

    def __init__(self, config: HyperbandConfig, metric: Metric) -> None:
        self.config, self.metric = config, metric

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Say whether a trial ends after its last value."""
        trials = study.get_trials(deepcopy=False)
        other_values = [
            _intermediate_values(other) for other in trials if other.number != trial.number
        ]
        return should_prune(self.config, self.metric, _intermediate_values(trial), other_values)


def _intermediate_values(trial: FrozenTrial) -> list[float]:
    return [value for _, value in sorted(trial.intermediate_values.items())]
