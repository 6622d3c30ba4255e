"""An invalid sweep file is refused with a message that names the key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn.errors import UserError
from nn.sweeps import lint
from nn.sweeps.schema import parse_sweep_config
from nn.sweeps.sweep_file import collect_nodes, find_duplicate_keys, load_yaml
from tests.conftest import ROOT

FILE = Path("sweep.yaml")
VALID_SWEEP = {"method": "random", "parameters": {"lr": {"min": 0.1, "max": 0.2}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: foo\nparameters: {lr: {value: 1}}", "method: foo must be 'grid', 'random'"),
        ("methd: grid\nparameters: {lr: {value: 1}}", "methd: there is no such key; did you mean"),
        ("parameters: {lr: {value: 1}}", "method is missing"),
        ("method: random", "parameters is missing"),
        ("method: random\nparameters: {}", "there must be at least one parameter"),
        ("method: random\nparameters: [1]", "there must be at least one parameter"),
        ("method: random\nparameters: {lr: 0.1}", "parameters.lr: write lr: {value: 0.1}"),
        ("method: random\nparameters: {lr: {}}", "parameters.lr: specify value, values, or min"),
        (
            "method: random\nparameters: {lr: {value: 1, 2: 3}}",
            "parameters.lr.2: there is no such key; available: value",
        ),
        ("method: random\nparameters: {'l r': {value: 1}}", "parameters.l r: this is not a valid"),
        (
            "method: random\nparameters: {lr: {min: 1e-4, max: 0.2}}",
            "parameters.lr.min: 1e-4 is read as a string; write 1.0e-04",
        ),
        (
            "method: random\nparameters: {lr: {distribution: unifrom, min: 1, max: 2}}",
            "parameters.lr.distribution: unifrom: there is no such distribution; did you mean uni",
        ),
        (
            "method: random\nparameters: {lr: {distribution: [uniform], min: 1, max: 2}}",
            "parameters.lr.distribution: ['uniform']: there is no such distribution",
        ),
        (
            "method: random\nparameters: {lr: {value: !!binary aGVsbG8=}}",
            "parameters.lr.value: b'hello' is not a value of a setting.",
        ),
        (
            "method: random\nparameters: {lr: {distribution: uniform, min: 2.0, mx: 1.0}}",
            "parameters.lr.mx: there is no such key; did you mean max",
        ),
        (
            "method: random\nparameters: {lr: {min: 2.0, max: 1.0}}",
            "parameters.lr: min is 2 and max 1; min must be below max",
        ),
        ("method: random\nparameters: {lr: {values: []}}", "parameters.lr.values: there must be"),
        (
            "method: random\nparameters: {lr: {values: [1, 2], probabilities: [1]}}",
            "parameters.lr: there must be as many probabilities as values",
        ),
        (
            "method: random\nparameters: {lr: {values: [1, 2], probabilities: [0.5, 0.4]}}",
            "parameters.lr: the probabilities must add up to 1",
        ),
        (
            "method: random\nparameters: {n: {distribution: q_uniform, q: 0, min: 0, max: 1}}",
            "parameters.n.q: q must be above 0",
        ),
        (
            "method: random\nparameters: {n: {distribution: normal, sigma: -1}}",
            "parameters.n.sigma: -1 must be",
        ),
        (
            "method: random\nparameters: {n: {distribution: log_uniform_values, min: 0, max: 1}}",
            "parameters.n.min: 0 must be",
        ),
        (
            "method: random\nparameters: {n: {distribution: uniform, min: .nan, max: 1}}",
            "parameters.n.min: nan must be",
        ),
        (
            "method: grid\nparameters: {lr: {min: 0.1, max: 0.2}}",
            "parameters.lr: a grid cannot enumerate a continuous range",
        ),
        ("method: bayes\nparameters: {lr: {value: 1}}", "method: bayes needs a metric to optimize"),
        (
            "method: random\nmetric: {goal: min, name: a}\nparameters: {lr: {value: 1}}",
            "metric.goal: min must be 'minimize' or 'maximize'",
        ),
        (
            "method: random\nmetric: {goal: minimize}\nparameters: {lr: {value: 1}}",
            "metric.name is missing",
        ),
        (
            "method: random\nmetric: {name: a}\nearly_terminate: {type: hyperband}\n"
            "parameters: {lr: {value: 1}}",
            "hyperband needs either min_iter or max_iter",
        ),
        (
            "method: random\nmetric: {name: a}\nearly_terminate: {type: other, min_iter: 3}\n"
            "parameters: {lr: {value: 1}}",
            "early_terminate.type: other must be 'hyperband'",
        ),
        (
            "method: random\nearly_terminate: {type: hyperband, min_iter: 3}\n"
            "parameters: {lr: {value: 1}}",
            "early_terminate needs a metric to compare",
        ),
        (
            "method: random\nparameters: {n: {distribution: log_uniform, min: 16, max: 1024}}",
            "parameters.n.max: 1024 is an exponent, and exp(1024) is out of range; if the bounds",
        ),
        (
            "method: random\nparameters: {n: {distribution: inv_log_uniform, min: -800, max: 1}}",
            "parameters.n.min: -800 is an exponent, and exp(-800) is out of range; if the bounds",
        ),
        (
            "method: random\nparameters: {n: {distribution: q_uniform, max: 1, min: 0, q: 1.e-99}}",
            "parameters.n: q=1e-99 is too small for values as large as these",
        ),
        ("method: random\nrun_cap: 0\nparameters: {lr: {value: 1}}", "run_cap: 0 must be"),
        ("method: random\nrun_cap: 2.0\nparameters: {lr: {value: 1}}", "run_cap: 2 must be"),
    ],
)
def test_errors_name_the_key(text, message):
    with pytest.raises(UserError, match="^" + re.escape(f"{FILE}: {message}")):
        parse_sweep_config(yaml.safe_load(text), FILE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "line 1: this is not valid YAML"),
        (b"\xff\xfe\x00", "this is not valid YAML"),
        (b"[1, 2]", "a sweep file must be a mapping with method and parameters"),
        (b"", "a sweep file must be a mapping with method and parameters"),
        (b"!!python/object/apply:os.system ['true']", "this is not valid YAML"),
        (b"[" * 100_000, "this is not valid YAML"),
        (b"x" * 2_000_000, "is not a sweep file"),
        (None, "there is no such file"),
    ],
)
def test_unreadable_files_are_reported(tmp_path, content, message):
    path = tmp_path / "sweep.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)):
        load_yaml(path)


def test_nested_parameters_are_read_as_dotted_names():
    sweep = parse_sweep_config(
        {
            **VALID_SWEEP,
            "parameters": {
                "optimizer": {"parameters": {"momentum": {"values": [0.5, 0.9]}}},
                "model": {"parameters": {"deep": {"parameters": {"er": {"value": 1}}}}},
            },
        },
        FILE,
    )
    assert list(sweep.parameters) == ["optimizer.momentum", "model.deep.er"]


def test_command_arguments_that_are_not_macros_are_overrides():
    command = ["${env}", "python", "${program}", "epochs=3", "${args_no_hyphens}", "seed=2"]
    sweep = parse_sweep_config(
        {**VALID_SWEEP, "program": "scripts/train.py", "command": command}, FILE
    )
    assert sweep.command_overrides == (["epochs=3"], ["seed=2"])
    command.append("--fast")
    with pytest.raises(UserError, match="command: --fast is neither a W&B macro"):
        _ = parse_sweep_config({**VALID_SWEEP, "command": command}, FILE).command_overrides


@pytest.mark.parametrize("flag", [["--config-dir", "my/conf"], ["--config-dir=my/conf"]])
def test_command_may_be_the_console_command_with_a_config_dir(flag):
    command = ["${env}", "/opt/env/bin/nn-train", *flag, "epochs=3", "${args_no_hyphens}"]
    sweep = parse_sweep_config({**VALID_SWEEP, "command": command}, FILE)
    assert sweep.command_overrides == (["epochs=3"], [])
    assert sweep.config_dir == Path("my/conf")


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_project_sweep_files_are_valid(path):
    sweep = parse_sweep_config(load_yaml(path), path)
    assert sweep.run_cap
    assert sweep.program == "scripts/train.py"
    assert sweep.command == ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]


KEYS = (
    *("method", "parameters", "metric", "name", "goal", "target", "early_terminate", "type"),
    *("min_iter", "run_cap", "command", "distribution", "min", "max", "q", "mu", "sigma"),
    *("value", "values", "probabilities", "lr"),
)
yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=500)
@given(content=st.dictionaries(st.text(max_size=9), yaml_values) | yaml_values)
def test_arbitrary_content_is_parsed_or_refused(content):
    if not isinstance(content, dict):
        content = {"method": "random", "parameters": content}
    try:
        parse_sweep_config(content, FILE)
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parameters=st.dictionaries(st.sampled_from(KEYS), yaml_values, max_size=3) | yaml_values,
    others=st.dictionaries(st.sampled_from(("metric", "command", "program")), yaml_values),
)
def test_arbitrary_content_gives_well_formed_warnings(tmp_path, parameters, others):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"method": "random", "parameters": parameters, **others}))
    text = path.read_text()
    for message in (*lint.find_warnings(path), *find_duplicate_keys(collect_nodes(text))):
        assert message.endswith(".")
