"""Every key of W&B's sweep schema is accepted or refused with a reason, and documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nn.errors import UserError
from nn.sweeps.schema import list_errors, parse_sweep_config
from tests.conftest import ROOT

# The keys of sweeps/config/schema.json in the package sweeps 0.3.0, which W&B's server and
# wandb[sweeps] validate a sweep file with. wandb 0.31 (wandb_controller.py and sdk/sweeps/) reads
# no others.
WANDB_KEYS = {
    "": "apiVersion kind controller description program job image_uri entity project method "
    "command name run_cap metric metrics scheduler early_terminate parameters",
    "controller.": "type",
    "metric.": "name goal target impute impute_while_running",
    "scheduler.": "engine source optimizer search_space",
    "early_terminate.": "type max_iter min_iter s eta strict",
    "parameters.NAME.": "value values probabilities distribution min max mu sigma q a b parameters",
}
ALL_KEYS = [prefix + key for prefix, keys in WANDB_KEYS.items() for key in keys.split()]
METRIC, LR = {"name": "val/loss"}, {"min": 0.1, "max": 0.2}
SWEEP = {"method": "bayes", "metric": METRIC, "parameters": {"lr": LR}}
HYPERBAND = {"type": "hyperband", "min_iter": 3}


def parameter(**config):
    return {"parameters": {"lr": config}}


def normal(**config):
    return parameter(distribution="normal", **config)


def beta(**config):
    return parameter(distribution="beta", **config)


ACCEPTED = {
    "apiVersion": [{"apiVersion": "v1"}],
    "kind": [{"kind": "sweep"}],
    "controller": [{"controller": {"type": "cloud"}}],
    "controller.type": [{"controller": {"type": "local"}}],
    "description": [{"description": "A sweep"}],
    "program": [{"program": "scripts/train.py"}],
    "entity": [{"entity": "us"}],
    "project": [{"project": "digits"}],
    "method": [{"method": "grid", **parameter(values=[1])}, {"method": "random"}],
    "command": [{"command": ["${program}", "${args_no_hyphens}"]}],
    "name": [{"name": "My sweep"}],
    "run_cap": [{"run_cap": 3}],
    "metric": [{"metric": METRIC}],
    "metric.name": [{"metric": {"name": "val/accuracy"}}],
    "metric.goal": [{"metric": {**METRIC, "goal": goal}} for goal in ("minimize", "maximize")],
    "metric.target": [{"metric": {**METRIC, "target": 0.1}}],
    "metric.impute": [{"metric": {**METRIC, "impute": how}} for how in ("latest", "best", "worst")],
    "metric.impute_while_running": [
        {"metric": {**METRIC, "impute_while_running": how}}
        for how in ("latest", "best", "worst", "false")
    ],
    "scheduler": [{"scheduler": {"engine": "wandb"}}],
    "scheduler.engine": [{"scheduler": {"engine": "wandb"}, "method": "random"}],
    "early_terminate": [{"early_terminate": HYPERBAND}],
    "early_terminate.type": [{"early_terminate": HYPERBAND}],
    "early_terminate.min_iter": [{"early_terminate": HYPERBAND}],
    "early_terminate.max_iter": [{"early_terminate": {"type": "hyperband", "max_iter": 9, "s": 2}}],
    "early_terminate.s": [{"early_terminate": {"type": "hyperband", "max_iter": 9, "s": 2}}],
    "early_terminate.eta": [{"early_terminate": {**HYPERBAND, "eta": eta}} for eta in (2, 2.5)],
    "early_terminate.strict": [{"early_terminate": {**HYPERBAND, "strict": True}}],
    "parameters": [parameter(value=1)],
    "parameters.NAME.value": [
        parameter(value=value) for value in (1, 0.5, "sgd", True, None, [1, 2], {"a": [1]})
    ],
    "parameters.NAME.values": [
        parameter(values=values)
        for values in ([1, 2], [[196, 49], [128, 64]], [True, False], [None, 5], ["a", 1], [[]])
    ],
    "parameters.NAME.probabilities": [parameter(values=[1, 2], probabilities=[0.5, 0.5])],
    "parameters.NAME.distribution": [parameter(distribution="uniform", min=0, max=1)],
    "parameters.NAME.min": [parameter(min=1, max=2)],
    "parameters.NAME.max": [parameter(min=1.0, max=2)],
    "parameters.NAME.mu": [normal(mu=1)],
    "parameters.NAME.sigma": [normal(sigma=2)],
    "parameters.NAME.q": [parameter(distribution="q_uniform", min=1, max=9, q=2)],
    "parameters.NAME.a": [beta(a=2)],
    "parameters.NAME.b": [beta(b=2)],
    "parameters.NAME.parameters": [
        {"parameters": {"optimizer": {"parameters": {"momentum": LR, "deep": parameter(value=1)}}}}
    ],
}
"""Changes of a sweep that are accepted, by the key that they show."""
REFUSED = {
    "kind": ({"kind": "run"}, "kind: run must be 'sweep'."),
    "controller.type": (
        {"controller": {"type": "remote"}},
        "controller.type: remote must be 'local' or 'cloud'.",
    ),
    "job": ({"job": "us/digits/train:v0"}, "job: jobs of W&B Launch cannot run here; write"),
    "image_uri": ({"image_uri": "us/train:1"}, "image_uri: container images cannot run here; wri"),
    "method": ({"method": "custom"}, "method: custom needs a search function, and reading a swe"),
    "metric.impute": (
        {"metric": {**METRIC, "impute": "mean"}},
        "metric.impute: mean must be 'latest', 'best' or 'worst'.",
    ),
    "metrics": ({"metrics": [METRIC, METRIC]}, "metrics: a sweep optimizes one metric; choose"),
    "scheduler": (
        {"scheduler": {"engine": "wandb"}, "early_terminate": HYPERBAND},
        "scheduler and early_terminate exclude each other; leave one out.",
    ),
    "controller": (
        {"scheduler": {"engine": "wandb"}, "controller": {"type": "local"}},
        "scheduler and controller.type: local exclude each other; leave one out.",
    ),
    "scheduler.engine": (
        {"scheduler": {"engine": "optuna"}},
        "scheduler.engine: optuna requires method: custom; leave scheduler out, write method: baye",
    ),
    **{
        f"scheduler.{key}": (
            {"scheduler": {"engine": "wandb", key: "search"}},
            f"scheduler.{key}: reading a sweep file runs no code; leave it out and choose a samp",
        )
        for key in ("source", "optimizer", "search_space")
    },
    "early_terminate.type": (
        {"early_terminate": {"type": "custom"}},
        "early_terminate.type: custom must be 'hyperband'.",
    ),
}
"""Changes of a sweep that are refused, and the beginning of the message, by the key."""


@pytest.mark.parametrize("key", ALL_KEYS)
def test_each_key_is_accepted_or_refused_with_a_reason(key):
    for change in ACCEPTED.get(key, []):
        assert list_errors({**SWEEP, **change}) == []
    if key in REFUSED:
        change, message = REFUSED[key]
        with pytest.raises(UserError, match=re.escape(f"sweep.yaml: {message}")):
            parse_sweep_config({**SWEEP, **change}, Path("sweep.yaml"))
    assert key in ACCEPTED or key in REFUSED


def test_readme_describes_exactly_the_keys_of_the_schema():
    section = (ROOT / "sweeps/README.md").read_text().partition("### All keys")[2]
    table = section.partition("\n\n|")[2].partition("\n\n")[0]
    described = [
        key
        for row in table.splitlines()[2:]
        for key in re.findall(r"`([\w.]+)`", row.split("|")[1])
    ]
    assert sorted(described) == sorted(ALL_KEYS)
