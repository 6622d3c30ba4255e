from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.sweeps.hyperband import HyperbandPruner, bracket_iterations, should_prune
from nn.sweeps.schema import HyperbandConfig, Metric

LOSS = Metric(name="val/loss")


def rule(**settings):
    return HyperbandConfig(type="hyperband", **settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"min_iter": 3, "eta": 2.0}, [3, 6, 12, 24, 48]),
        ({"min_iter": 1}, [1, 3, 9, 27, 81]),
        ({"max_iter": 27, "s": 2}, [3, 9]),
        ({"max_iter": 10, "s": 5, "eta": 2.0}, [1, 2, 5]),
    ],
)
def test_brackets_are_those_of_w_and_b(settings, expected):
    assert bracket_iterations(rule(**settings))[:5] == expected


def test_a_trial_that_lags_at_a_bracket_ends_there():
    others = [[0.5, 0.4, 0.3], [0.6, 0.5, 0.4], [0.9, 0.8, 0.7]]
    three = rule(min_iter=3, eta=3.0)
    assert not should_prune(three, LOSS, [9.0, 9.0], others)
    assert should_prune(three, LOSS, [0.9, 0.8, 0.65], others)
    assert not should_prune(three, LOSS, [0.9, 0.8, 0.35], others)
    assert not should_prune(three, LOSS, [0.1, 0.8, 0.65], others)
    strict = rule(min_iter=3, eta=3.0, strict=True)
    assert should_prune(strict, LOSS, [0.1, 0.8, 0.65], others)


def test_the_first_trial_of_all_goes_on():
    assert not should_prune(rule(min_iter=1), LOSS, [5.0] * 30, [])


numbers = st.floats(-100, 100)
histories = st.lists(st.lists(numbers, min_size=1, max_size=30), max_size=12)


@given(own=st.lists(numbers, min_size=1, max_size=30), others=histories, strict=st.booleans())
def test_large_and_small_are_mirror_images(own, others, strict):
    three = rule(min_iter=2, eta=2.0, strict=strict)
    mirrored = [[-value for value in values] for values in others]
    accuracy = Metric(name="val/accuracy", goal="maximize")
    expected = should_prune(three, LOSS, own, others)
    assert should_prune(three, accuracy, [-value for value in own], mirrored) == expected


@given(others=histories)
def test_the_best_of_all_never_ends_early(others):
    best = min((value for values in others for value in values), default=0) - 1
    assert not should_prune(rule(min_iter=1, eta=2.0), LOSS, [best] * 30, others)


def wandbs_answer(points, eta, strict, own, others):
    """Reference implementation of the rule in W&B's documentation, for a loss."""
    at = max((point for point in points if point <= len(own)), default=None)
    if at is None:
        return False
    there = [values[at - 1] for values in [own, *others] if len(values) >= at]
    threshold = sorted(there)[min(int(len(there) / eta), len(there) - 1)]
    return (own[at - 1] if strict else min(own)) > threshold


@settings(max_examples=2000, deadline=None)
@given(
    histories=st.lists(st.lists(numbers, min_size=1, max_size=30), min_size=1, max_size=12),
    least=st.integers(1, 10),
    eta=st.sampled_from([1.5, 2.0, 3.0, 4.0]),
    strict=st.booleans(),
    ended=st.sets(st.integers(1, 11)),
)
def test_the_pruner_stops_exactly_the_trials_that_the_rule_stops(
    histories, least, eta, strict, ended
):
    chosen = rule(min_iter=least, eta=eta, strict=strict)
    points = [int(least * eta**power) for power in range(20)]
    study = optuna.create_study(pruner=HyperbandPruner(chosen, LOSS))
    for number, values in enumerate(histories):
        trial = study.ask()
        for epoch, value in enumerate(values, 1):
            trial.report(value, epoch)
        if number in ended:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    for number, own in enumerate(histories):
        others = histories[:number] + histories[number + 1 :]
        trial = optuna.Trial(study, study.trials[number]._trial_id)
        assert trial.should_prune() == wandbs_answer(points, eta, strict, own, others)
