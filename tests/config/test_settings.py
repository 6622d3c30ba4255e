"""Each setting is defined once, and refused by name wherever it is out of range."""

from __future__ import annotations

import math
import re
from typing import get_args

import pytest
import yaml

from nn.config.compose import compose_config
from nn.config.instantiate import get_class, instantiate
from nn.config.schema import COMPONENT_GROUPS, CONFIG_DIR, HYPERPARAMETERS, Config, validate_config
from nn.config.validate import SettingType, get_signature
from nn.errors import SettingError, UserError, format_value
from nn.types import Range
from tests.conftest import ROOT
from tests.directory_snapshot import assert_unchanged

TARGETS = sorted(
    {
        target
        for group in COMPONENT_GROUPS
        for path in (CONFIG_DIR / group).glob("*.yaml")
        for target in re.findall(r"_target_: (\S+)", path.read_text())
    }
)


def find_range(annotation):
    """Return the range in an annotation, also in that of an optional setting or of an item."""
    if isinstance(annotation, Range):
        return annotation
    return next(filter(None, map(find_range, get_args(annotation))), None)


def setting_types(target):
    return get_signature(get_class("key", target), "key").setting_types


RANGES = [
    (target, name)
    for target in TARGETS
    for name, setting_type in setting_types(target).items()
    if find_range(setting_type.annotation)
]


def values_around(setting_type):
    """Return the values at both ends of a range, those next to them, and those of other types."""
    step = 1e-9 if setting_type.is_fractional else 1
    bounds = find_range(setting_type.annotation)
    inside, outside = [], [math.nan, math.inf, -math.inf]
    for closed, is_open, sign in ((bounds.ge, bounds.gt, 1), (bounds.le, bounds.lt, -1)):
        if closed is not None:
            inside.append(closed)
            outside.append(closed - sign * step)
        if is_open is not None:
            inside.append(is_open + sign * step)
            outside.append(is_open)
    assert inside
    return inside, outside, [True, "0.1"]


def test_every_configurable_class_is_covered():
    assert {target.rpartition(".")[2] for target in TARGETS} == {
        "Adagrad", "Adam", "Augmentation", "CNN", "CSV", "Constant", "Cosine", "Digits",
        "Exponential", "FashionMNIST", "IDX", "InverseTime", "Linear", "MLP", "MNIST",
        "MeanSquaredError", "Nesterov", "OneCycle", "RMSProp", "ReduceOnPlateau", "SGD",
        "SoftmaxCrossEntropy", "Step", "Tracking",
    }  # fmt: skip
    assert {target for target, _ in RANGES} == {*TARGETS} - {
        "nn.losses.MeanSquaredError",
        "nn.models.Linear",
    }


@pytest.mark.parametrize(("target", "name"), RANGES)
def test_both_bounds_of_a_range_are_checked_in_configs_and_in_python(target, name):
    cls, setting_type = get_class("key", target), setting_types(target)[name]
    inside, outside, of_other_types = values_around(setting_type)
    if "list" in str(setting_type):
        inside, outside, of_other_types = (
            [[value] for value in values] for values in (inside, outside, of_other_types)
        )
    required = dict.fromkeys(get_signature(cls, "key").required_names, "x")
    assert all(map(setting_type.accepts, inside))
    for value in outside:
        with pytest.raises(SettingError) as error:
            cls(**required | {name: value})
        assert error.value.name == name
        assert error.value.expected == str(find_range(setting_type.annotation))
    for value in (*outside, *of_other_types):
        with pytest.raises(SettingError) as error:
            instantiate("key", {"_target_": target, **required, name: value}, object)
        sentence = f"key.{name}={format_value(value)}: key.{name} must be {setting_type}."
        assert str(error.value) == sentence


@pytest.mark.parametrize(
    "name", [name for name, kind in HYPERPARAMETERS.items() if find_range(kind.annotation)]
)
def test_both_bounds_of_each_hyperparameter_are_checked(name):
    settings = compose_config([]).model_dump()
    inside, outside, of_other_types = values_around(HYPERPARAMETERS[name])
    for value in inside:
        assert getattr(validate_config({**settings, name: value}), name) == value
    for value in (*outside, *of_other_types):
        with pytest.raises(SettingError) as error:
            validate_config({**settings, name: value})
        sentence = f"{name}={format_value(value)}: {name} must be {HYPERPARAMETERS[name]}."
        assert str(error.value) == sentence


def test_config_yaml_matches_the_schema():
    text = (CONFIG_DIR / "config.yaml").read_text()
    defaults = {key: value for key, value in yaml.safe_load(text).items() if key != "defaults"}
    del defaults["hydra"]
    assert list(defaults) == list(HYPERPARAMETERS)
    for name, value in defaults.items():
        assert HYPERPARAMETERS[name].accepts(value)
        description = re.escape(Config.model_fields[name].description)
        assert re.search(rf"^{name}: \S+ +# {description}$", text, re.MULTILINE), name


def test_readme_settings_table_matches_the_schema():
    path = ROOT / "conf/README.md"
    defaults = yaml.safe_load((CONFIG_DIR / "config.yaml").read_text())
    rows = [
        f"| `{name}` | {format_value(defaults[name])} | {Config.model_fields[name].description} |"
        for name in HYPERPARAMETERS
    ]
    assert re.findall(rf"^\| `(?:{'|'.join(HYPERPARAMETERS)})` .*", path.read_text(), re.M) == rows


OWN_OPTIMIZER = """
from dataclasses import dataclass
from typing import Annotated

from nn.optimizers import Optimizer
from nn.types import Range


@dataclass(kw_only=True)
class SignDescent(Optimizer):
    strength: Annotated[float, Range(gt=0, le=2)] = 1.0

    def update(self, parameters, gradients, lr):
        parameters -= lr * self.strength * (2 * (gradients > 0) - 1)
"""


def test_optimizer_is_added_by_one_class_and_one_yaml_file(workdir):
    (workdir.path / "own.py").write_text(OWN_OPTIMIZER)
    (workdir.path / "conf/optimizer").mkdir(parents=True)
    settings = "_target_: own.SignDescent\nstrength: 1\nweight_decay: ${weight_decay}\n"
    (workdir.path / "conf/optimizer/sign.yaml").write_text(settings)
    words = ["--config-dir", "conf", "optimizer=sign", "lr=0.001", "epochs=1"]
    with assert_unchanged(workdir.path):
        done = workdir.train(*words, "optimizer.strength=2.5", PYTHONPATH=".")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "optimizer.strength=2.5: optimizer.strength must be a number above 0 and at most 2.\n"
    )
    done = workdir.train(*words, "optimizer.strength=2", "weight_decay=0.01", PYTHONPATH=".")
    assert done.returncode == 0, done.stderr
    saved = yaml.safe_load((workdir.only_run.path / "config.yaml").read_text())["optimizer"]
    assert saved == {"_target_": "own.SignDescent", "strength": 2, "weight_decay": 0.01}


class OfTheUser:
    def __init__(
        self,
        sizes: tuple[int, ...] = (),
        factors: dict[str, float] | None = None,
        where: NotImportedHere = None,  # noqa: F821  (cannot be resolved, on purpose)
        count: int = 1,
        copy: bool = False,
    ):
        self.settings = (sizes, factors, where, count, copy)


def function_with_any_names(*values, **settings):
    return settings


def function_of_positions(first, /, second=2):
    return first


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sizes": [1, 2], "factors": {"a": 1}, "where": "anything", "count": 2}, None),
        ({"sizes": [1, "2"]}, "key.sizes="),
        ({"factors": {"a": True}}, "key.factors="),
        ({"count": 1.5}, "key.count=1.5: key.count must be a whole number."),
        ({"copy": 1}, "key.copy=1: key.copy must be true or false."),
    ],
)
def test_each_annotation_of_a_custom_class_is_checked_separately(settings, sentence):
    node = {"_target_": f"{__name__}.OfTheUser", **settings}
    if sentence is None:
        assert instantiate("key", node, OfTheUser).settings[:2] == ([1, 2], {"a": 1})
    else:
        with pytest.raises(SettingError, match=re.escape(sentence)):
            instantiate("key", node, OfTheUser)


def test_parameters_without_a_name_are_not_settings():
    node = {"_target_": f"{__name__}.function_with_any_names", "values": 1}
    assert instantiate("key", node, dict) == {"values": 1}
    with pytest.raises(UserError, match="first is a positional-only parameter"):
        instantiate("key", {"_target_": f"{__name__}.function_of_positions", "first": 1}, int)


@pytest.mark.parametrize(
    ("annotation", "description"),
    [
        (float | None, "a number or null"),
        (list[str], "a list like [a,b]"),
        (list[float] | None, "a list like [1,2] or null"),
    ],
)
def test_types_are_described_in_words(annotation, description):
    assert str(SettingType(annotation)) == description


@pytest.mark.parametrize("override", ["optimizer=null", "model=3", "loss=true"])
def test_group_without_an_option_is_named_in_the_error(monkeypatch, override):
    monkeypatch.setattr("sys.argv", ["program", "dataset=7"])
    group = override.partition("=")[0]
    with pytest.raises(UserError, match=rf"^{override}: there is no such {group}"):
        compose_config([override])


@pytest.mark.parametrize("override", ["hydra.run.dir=x", "hydra/launcher=joblib"])
def test_hydra_settings_belong_on_the_command_line(override):
    with pytest.raises(UserError, match=f"^{override}: Hydra's own settings"):
        compose_config([override])
