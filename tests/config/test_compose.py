"""A config composed in parts equals the one that Hydra composes at once."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from nn.config.aliases import RENAMED_SETTINGS
from nn.config.compose import compose_config, resolve_job_config
from nn.config.schema import CONFIG_DIR, register_resolvers
from nn.errors import UserError


@pytest.mark.parametrize(
    "overrides",
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
def test_composed_config_matches_hydra(overrides):
    register_resolvers()
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        composed = compose("config", overrides, return_hydra_config=True)
    expected = repr(resolve_job_config(composed, composed.hydra))
    assert repr(compose_config(overrides)) == expected
    assert repr(compose_config(overrides)) == expected


@pytest.mark.parametrize(
    ("word", "message"),
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
def test_errors_match_those_of_the_command_line(word, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        compose_config(word.split())


RENAMED = {
    "keep=last": "restore_best=false",
    "keep=best": "restore_best=true",
    "draws=100": "samples_per_epoch=100",
    "checkpoint=5": "checkpoint_every=5",
    "dataset.limit=300": "dataset.max_samples=300",
    "dataset=mnist dataset.homes=[http://a]": "dataset.mirrors=[http://a]",
    "model=cnn model.kernel=5": "model.kernel_size=5",
    "model=cnn model.pool=average": "model.pooling=average",
    "optimizer.clip=0.5": "optimizer.max_grad_norm=0.5",
    "optimizer=adam optimizer.decoupled=true": "optimizer.decoupled_weight_decay=true",
    "schedule.warmup=2": "schedule.warmup_epochs=2",
    "schedule=step schedule.every=3": "schedule.step_size=3",
    "schedule=one_cycle schedule.rise=0.2": "schedule.pct_start=0.2",
    "schedule=one_cycle schedule.start=10": "schedule.div_factor=10",
    "schedule=one_cycle schedule.end=100": "schedule.final_div_factor=100",
    "schedule=cosine schedule.final=0.1": "schedule.final_factor=0.1",
    "schedule=inverse_time schedule.decay=0.5": "schedule.decay_rate=0.5",
    "schedule=plateau schedule.gamma=0.5": "schedule.factor=0.5",
    "schedule=plateau schedule.least=0.1": "schedule.min_factor=0.1",
    "loss=mse loss.of=softmax": "loss.apply_softmax=true",
    "loss=mse loss.of=logits": "loss.apply_softmax=false",
    "tracking.every=5": "tracking.confusion_every=5",
    "tracking.images=4": "tracking.num_examples=4",
    "tracking.artifacts=false": "tracking.log_model=false",
    "tracking.wait=60": "tracking.finish_timeout=60",
    "repeat=runs/mine": "reproduce=runs/mine",
}


@pytest.mark.parametrize("overrides", RENAMED)
def test_renamed_setting_is_refused_with_its_new_name(overrides):
    *choice, old = overrides.split()
    with pytest.raises(UserError) as told:
        compose_config(overrides.split())
    assert (
        str(told.value) == f"{old}: {old.partition('=')[0]} was renamed; use {RENAMED[overrides]}."
    )
    if not old.startswith("repeat"):
        compose_config([*choice, RENAMED[overrides]])


def test_every_renamed_setting_is_tested():
    assert {overrides.split()[-1].partition("=")[0] for overrides in RENAMED} == set(
        RENAMED_SETTINGS
    )
