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

from nn.sweeps.schema import Hyperband, Metric

HIGHEST = 10**6


def brackets(rule: Hyperband) -> list[int]:
    """List the iterations at which trials are judged."""
    found: list[int] = []
    if rule.min_iter is not None:
        at: float = rule.min_iter
        while at < HIGHEST:
            found.append(int(at))
            at *= rule.eta
    else:
        assert rule.max_iter is not None
        assert rule.s is not None
        at = rule.max_iter
        for _ in range(rule.s):
            at /= rule.eta
            if at < 1:
                break
            found.append(int(at))
    return sorted(found)


def stops(
    rule: Hyperband, metric: Metric, own: Sequence[float], others: Iterable[Sequence[float]]
) -> bool:
    """Say whether a trial ends here, given its values and those of all other trials."""
    passed = [bracket for bracket in brackets(rule) if bracket <= len(own)]
    if not passed:
        return False
    last = passed[-1]
    there = [values[last - 1] for values in (own, *others) if len(values) >= last]
    ranked = sorted(there, key=lambda value: metric.sign * value)
    threshold = ranked[min(int(len(ranked) / rule.eta), len(ranked) - 1)]
    judged = own[last - 1] if rule.strict else min(own, key=lambda value: metric.sign * value)
    return metric.better(threshold, judged)


class Pruner(BasePruner):
    """The rule, over the values that Optuna has of each trial."""

    def __init__(self, rule: Hyperband, metric: Metric) -> None:
        self.rule, self.metric = rule, metric

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Say whether a trial ends after its last value."""
        trials = study.get_trials(deepcopy=False)
        others = [_values(other) for other in trials if other.number != trial.number]
        return stops(self.rule, self.metric, _values(trial), others)


def _values(trial: FrozenTrial) -> list[float]:
    return [value for _, value in sorted(trial.intermediate_values.items())]
