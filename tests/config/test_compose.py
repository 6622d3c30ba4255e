"""A configuration composed in parts is the one that Hydra composes at once."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from nn.config.compose import compose_config
from nn.config.resolve import resolve_job_config
from nn.config.schema import CONFIG_DIR, register_with_hydra
from nn.errors import UserError


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["lr=0.1", "depth=3"],
        ["lr=1", "weight_decay=0", "optimizer.momentum=0"],
        ["optimizer=adam", "optimizer.beta1=0.8", "lr=0.002"],
        ["model.hidden=[196,49]", "depth=null"],
        ["lr=0.3", "optimizer=adamw", "batch_size=64"],
        ["experiment=digits_best", "lr=0.01"],
        ["experiment=fashion_cnn", "dropout=0.1"],
        ["model=cnn", "model.channels=[8,8]", "tracking=disabled", "debug=fast"],
        ["tracking.tags=['a b',c]", "tracking.notes='x=1, y'", "seed=7"],
        ["batch_size=all", "schedule=plateau", "schedule.patience=2"],
    ],
)
def test_the_parts_make_the_whole(words):
    register_with_hydra()
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        composed = compose("config", words, return_hydra_config=True)
    expected = repr(resolve_job_config(composed, composed.hydra))
    assert repr(compose_config(words)) == expected
    assert repr(compose_config(words)) == expected


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("lr=fast", "lr=fast: lr must be a number above 0"),
        ("learning_rate=1", "there is no setting learning_rate; did you mean lr?"),
        ("optimizer=adm", "optimizer=adm: there is no such optimizer"),
        ("optimizer.momentu=1", "there is no setting optimizer.momentu"),
        ("lr", "a setting is written KEY=VALUE"),
        ("lr=1,2", "several values"),
        ("model=linear depth=3", "depth=3 has no effect"),
    ],
)
def test_a_mistake_is_told_as_on_the_command_line(word, sentence):
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        compose_config(word.split())
