"""Hyperband as in W&B: stop a trial whose metric is worse than others' at the same iteration.

An iteration is an epoch that reports the metric, and a bracket is an iteration at which trials are
compared. Its threshold is the value at index int(n / eta) of the n values that trials reported at
that iteration, sorted from best to worst. A trial is compared at the last bracket it has reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from nn.sweeps.schema import HyperbandConfig, Metric

MAX_ITERATION = 10**6
"""Upper limit of the brackets that `min_iter` and `eta` generate."""


@cache
def bracket_iterations(config: HyperbandConfig) -> Sequence[int]:
    """Return the iterations at which trials are compared, in ascending order."""
    iterations: set[int] = set()
    if config.min_iter is not None:
        iteration: float = config.min_iter
        while iteration < MAX_ITERATION:
            iterations.add(int(iteration))
            iteration *= config.eta
    elif config.max_iter is not None and config.s is not None:
        iteration = config.max_iter
        for _ in range(config.s):
            iteration /= config.eta
            if iteration < 1:
                break
            iterations.add(int(iteration))
    return sorted(iterations)


def should_prune(
    config: HyperbandConfig,
    metric: Metric,
    own_values: Sequence[float],
    other_values: Iterable[Sequence[float]],
) -> bool:
    """Decide whether to stop a trial.

    Args:
        config: The `early_terminate` block of the sweep.
        metric: The metric of the sweep.
        own_values: The trial's values, one for each iteration so far.
        other_values: Those of each other trial.

    The value compared with the threshold is the trial's best so far or, with `strict`, its value at
    the bracket.
    """
    passed = [bracket for bracket in bracket_iterations(config) if bracket <= len(own_values)]
    if not passed:
        return False
    last_bracket = passed[-1]

    def loss(value: float) -> float:
        return metric.minimization_sign * value

    histories = (own_values, *other_values)
    ranked = sorted(
        (values[last_bracket - 1] for values in histories if len(values) >= last_bracket), key=loss
    )
    threshold = ranked[min(int(len(ranked) / config.eta), len(ranked) - 1)]
    own_value = own_values[last_bracket - 1] if config.strict else min(own_values, key=loss)
    return metric.is_better(threshold, own_value)
