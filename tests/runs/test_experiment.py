"""An experiment prepared ahead is used by one run, since training changes it."""

from __future__ import annotations

from nn.config.compose import compose_config
from nn.runs.experiment import prepare, prepare_ahead

WORDS = ["tracking=disabled", "model.hidden=[4]"]


def test_prepared_experiment_is_used_once():
    ahead = prepare_ahead(compose_config(WORDS))
    assert prepare(compose_config(WORDS)) is ahead
    assert prepare(compose_config(WORDS)) is not ahead


def test_experiment_prepared_for_another_config_is_not_used():
    ahead = prepare_ahead(compose_config(WORDS))
    other = prepare(compose_config([*WORDS, "seed=1"]))
    assert other.network.digest() != ahead.network.digest()
    assert prepare(compose_config(WORDS)) is not ahead
