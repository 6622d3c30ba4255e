"""Schema of a configuration: name, type, range and description of each top-level setting.

The default values are in conf/config.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from omegaconf import OmegaConf
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nn.config.validate import SettingType
from nn.errors import SettingError, UserError, format_value
from nn.io.command_line import format_command
from nn.io.paths import default_run_dir
from nn.io.serialization import JsonObject
from nn.types import (
    Fraction,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Range,
    resolve_annotations,
)

Unused: TypeAlias = Annotated[None, Field(title="")]
"""Null in a run whose components do not use the hyperparameter; messages do not suggest it."""
RunDir: TypeAlias = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(min_length=1, title="the directory of a run"),
]
"""A path; the name of a directory such as 12 is a number in YAML."""


class Config(BaseModel):
    """Configuration of a run: hyperparameters, the settings of each component, and choices."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    lr: Positive = Field(description="learning rate; each optimizer option sets its own default")
    batch_size: PositiveInt | Literal["all"] = Field(description="samples per step, or all")
    depth: Annotated[int, Range(ge=0, le=1000)] | Unused = Field(
        description="number of hidden layers"
    )
    width: PositiveInt | Unused = Field(
        description="units in the first hidden layer; each further one has half as many"
    )
    epochs: PositiveInt = Field(description="passes over the training set")
    seed: NonNegativeInt = Field(
        description="seed of all random number generators; the same seed gives the same bits"
    )
    split_seed: NonNegativeInt | None = Field(
        description="or the seed of the split alone, which seed then does not change"
    )
    shards: Annotated[int, Range(ge=1, le=512)] | Literal["auto"] = Field(
        description="parts of each batch that threads compute at the same time; auto: by size"
    )
    threads: Annotated[int, Range(ge=1, le=512)] | Literal["auto"] = Field(
        description="shards computed at the same time, on as many cores; never changes the bits"
    )
    weight_decay: NonNegative | Unused = Field(description="L2 penalty")
    dropout: Fraction | Unused = Field(
        description="probability of dropping a hidden unit during training"
    )
    restore_best: bool = Field(
        description="keep the weights of the last epoch; true: of the best by validation"
    )
    patience: PositiveInt | None = Field(
        description="or stop after this many epochs without improvement, and keep the best"
    )
    samples_per_epoch: Annotated[int, Range(ge=1, le=10**8)] | None = Field(
        description="or samples per epoch, drawn from the training set with replacement"
    )
    checkpoint_every: NonNegative | None = Field(
        description="seconds between checkpoints; null: only at the end"
    )
    init_from: RunDir | None = Field(description="or a run directory, to start from its weights")
    profile: bool = Field(description="print where the time went, layer by layer, at the end")

    dataset: dict[str, Any]
    augmentation: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    loss: dict[str, Any]
    tracking: dict[str, Any]

    choices: dict[str, str | None]
    """The chosen option of each config group."""

    @property
    def component_settings(self) -> dict[str, dict[str, Any]]:
        """The settings of each component, by its config group."""
        return {group: getattr(self, group) for group in COMPONENT_GROUPS}


COMPONENT_GROUPS = (
    "dataset",
    "augmentation",
    "model",
    "optimizer",
    "schedule",
    "loss",
    "tracking",
)
CONFIG_GROUPS = (*COMPONENT_GROUPS, "experiment", "debug")
HYPERPARAMETERS = {
    name: SettingType(annotation)
    for name, annotation in resolve_annotations(Config.__annotations__, globals()).items()
    if name in Config.model_fields and name not in (*COMPONENT_GROUPS, "choices")
}
"""The types of the hyperparameters."""
ADDED_SETTINGS: JsonObject = {"split_seed": None, "shards": 1}
"""Settings that earlier versions did not have, each with the value that changes nothing."""
PACKAGE = Path(__file__).resolve().parents[1]
CONFIG_DIR = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())
"""The configuration's files: in an installed package within it, in a clone beside it."""


def validate_config(settings: Mapping[str, Any], overrides: Iterable[str] = ()) -> Config:
    """Create a configuration from settings with the right names.

    Args:
        settings: The hyperparameters, the settings of the components, and the choices.
        overrides: The overrides that led to them; messages quote the values as they were written.

    Raises:
        SettingError: A hyperparameter is missing, of the wrong type or out of range.
        UserError: The settings of a component are not a mapping.
    """
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
    value = settings.get(name)
    if name not in HYPERPARAMETERS:
        raise UserError(f"{name}={format_value(value)}: it must be a mapping of settings.")
    for override in overrides:
        key, equals, text = override.partition("=")
        if equals and key.lstrip("+") == name:
            value = text or "''"
    raise SettingError(name, value, str(HYPERPARAMETERS[name]))


def require_usable_threads(config: Config) -> None:
    """Refuse threads without shards, which is how earlier versions set the threads of BLAS."""
    if config.shards == 1 and config.threads not in (1, "auto"):
        raise UserError(
            f"threads={config.threads} has no effect with shards=1, as BLAS uses one thread; "
            f"add shards={config.threads} to compute each batch in as many parts."
        )


@cache
def load_defaults() -> dict[str, Any]:
    """Load the default value of each hyperparameter."""
    config = OmegaConf.load(CONFIG_DIR / "config.yaml")
    return {name: OmegaConf.select(config, name) for name in HYPERPARAMETERS}


def register_resolvers() -> None:
    """Register the resolvers that conf/ uses."""
    OmegaConf.register_new_resolver("run_dir", default_run_dir, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("command", format_command, replace=True)
    OmegaConf.register_new_resolver(
        "hyperparameters_help", format_hyperparameters_help, replace=True
    )


def format_hyperparameters_help() -> str:
    """Format one line per hyperparameter with its default and description."""
    settings = {name: f"{name}={format_value(value)}" for name, value in load_defaults().items()}
    width = max(map(len, settings.values()))
    return "\n".join(
        f"  {setting:{width}}  {Config.model_fields[name].description}"
        for name, setting in settings.items()
    )
