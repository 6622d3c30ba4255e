from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.sweeps.hyperband import bracket_iterations, should_prune
from nn.sweeps.schema import HyperbandConfig, Metric

LOSS_METRIC = Metric(name="val/loss")


def make_hyperband(**settings):
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
def test_brackets_match_wandb(settings, expected):
    assert bracket_iterations(make_hyperband(**settings))[:5] == expected


def test_lagging_trial_is_stopped_at_the_bracket():
    others = [[0.5, 0.4, 0.3], [0.6, 0.5, 0.4], [0.9, 0.8, 0.7]]
    three = make_hyperband(min_iter=3, eta=3.0)
    assert not should_prune(three, LOSS_METRIC, [9.0, 9.0], others)
    assert should_prune(three, LOSS_METRIC, [0.9, 0.8, 0.65], others)
    assert not should_prune(three, LOSS_METRIC, [0.9, 0.8, 0.35], others)
    assert should_prune(three, LOSS_METRIC, [0.1, 0.8, 0.65], others)
    by_best_value = make_hyperband(min_iter=3, eta=3.0, strict=False)
    assert not should_prune(by_best_value, LOSS_METRIC, [0.1, 0.8, 0.65], others)


def test_first_trial_is_never_stopped():
    assert not should_prune(make_hyperband(min_iter=1), LOSS_METRIC, [5.0] * 30, [])


metric_values = st.floats(-100, 100)
histories = st.lists(st.lists(metric_values, min_size=1, max_size=30), max_size=12)


@given(own=st.lists(metric_values, min_size=1, max_size=30), others=histories, strict=st.booleans())
def test_maximize_mirrors_minimize(own, others, strict):
    three = make_hyperband(min_iter=2, eta=2.0, strict=strict)
    mirrored = [[-value for value in values] for values in others]
    accuracy = Metric(name="val/accuracy", goal="maximize")
    expected = should_prune(three, LOSS_METRIC, own, others)
    assert should_prune(three, accuracy, [-value for value in own], mirrored) == expected


@given(others=histories)
def test_best_trial_is_never_stopped(others):
    best = min((value for values in others for value in values), default=0) - 1
    assert not should_prune(make_hyperband(min_iter=1, eta=2.0), LOSS_METRIC, [best] * 30, others)


def reference_rule(brackets, eta, strict, own, others):
    """Reference implementation of the rule in W&B's documentation, for a loss."""
    bracket = max((point for point in brackets if point <= len(own)), default=None)
    if bracket is None:
        return False
    values_at_bracket = [values[bracket - 1] for values in [own, *others] if len(values) >= bracket]
    threshold = sorted(values_at_bracket)[
        min(int(len(values_at_bracket) / eta), len(values_at_bracket) - 1)
    ]
    return (own[bracket - 1] if strict else min(own)) > threshold


@settings(max_examples=500)
@given(
    histories=st.lists(st.lists(metric_values, min_size=1, max_size=30), min_size=1, max_size=12),
    min_iter=st.integers(1, 10),
    eta=st.sampled_from([1.5, 2.0, 3.0, 4.0]),
    strict=st.booleans(),
)
def test_rule_matches_the_reference(histories, min_iter, eta, strict):
    hyperband = make_hyperband(min_iter=min_iter, eta=eta, strict=strict)
    points = [int(min_iter * eta**power) for power in range(20)]
    for number, own in enumerate(histories):
        others = histories[:number] + histories[number + 1 :]
        assert should_prune(hyperband, LOSS_METRIC, own, others) == reference_rule(
            points, eta, strict, own, others
        )
