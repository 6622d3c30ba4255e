"""Schema of W&B sweep files, validated with pydantic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from nn.config.instantiate import suggest
from nn.config.search_path import split_config_dir
from nn.errors import UserError, format_value
from nn.sweeps.distributions import (
    DISTRIBUTIONS,
    CategoricalWithProbabilities,
    Distribution,
    QUniformGrid,
    infer_distribution_name,
)
from nn.sweeps.space import FixedOverrides
from nn.sweeps.sweep_file import load_yaml


class InvalidParametersError(ValueError):
    """Invalid parameters of a sweep, with one message per parameter."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


class Metric(BaseModel):
    """Metric that a sweep optimizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    goal: Literal["minimize", "maximize"] = "minimize"
    target: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None

    @property
    def minimization_sign(self) -> int:
        """1 to minimize, -1 to maximize: the factor that makes lower values better."""
        return 1 if self.goal == "minimize" else -1

    def is_better(self, value: float, reference: float) -> bool:
        """Check whether a value is strictly better than a reference."""
        return self.minimization_sign * value < self.minimization_sign * reference

    def reaches_target(self, value: float) -> bool:
        """Check whether a value is at least as good as the target, if the metric has one."""
        return self.target is not None and not self.is_better(self.target, value)


class HyperbandConfig(BaseModel):
    """Early termination by Hyperband (`early_terminate` in a sweep file)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["hyperband"]
    min_iter: Annotated[int, Field(strict=True, ge=1)] | None = None
    max_iter: Annotated[int, Field(strict=True, ge=1)] | None = None
    s: Annotated[int, Field(strict=True, ge=1)] | None = None
    eta: Annotated[float, Field(strict=True, gt=1)] = 3.0
    strict: bool = False

    @model_validator(mode="after")
    def check_min_or_max_iter(self) -> HyperbandConfig:
        """Require exactly one of `min_iter` and `max_iter`, and `s` with `max_iter`."""
        if (self.min_iter is None) == (self.max_iter is None):
            raise ValueError("hyperband needs either min_iter or max_iter")
        if self.max_iter is not None and self.s is None:
            raise ValueError("hyperband with max_iter needs s, the number of brackets")
        return self


class SweepConfig(BaseModel):
    """Contents of a sweep file, each parameter parsed into its distribution."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    method: Literal["grid", "random", "bayes"]
    parameters: dict[str, SerializeAsAny[Distribution]]
    metric: Metric | None = None
    early_terminate: HyperbandConfig | None = None
    run_cap: Annotated[int, Field(strict=True, ge=1)] | None = None
    program: str | None = None
    command: list[str] | None = None
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None

    @field_validator("parameters", mode="before")
    @classmethod
    def parse_parameters(cls, value: JsonValue, info: ValidationInfo) -> dict[str, Distribution]:
        """Parse all parameters, and report every invalid one rather than the first."""
        if not isinstance(value, dict) or not value:
            raise ValueError("there must be at least one parameter")
        parameters, messages, is_grid = {}, [], info.data.get("method") == "grid"
        for name, config in flatten_parameters(value).items():
            try:
                parameters[name] = parse_distribution(name, config, is_grid)
            except ValueError as error:
                messages.append(str(error))
        if messages:
            raise InvalidParametersError(messages)
        return parameters

    @model_validator(mode="after")
    def check_method_requirements(self) -> SweepConfig:
        """Check the requirements of `method` and `early_terminate` on the other keys."""
        if self.method == "bayes" and self.metric is None:
            raise ValueError("method: bayes needs a metric to optimize")
        if self.early_terminate and self.metric is None:
            raise ValueError("early_terminate needs a metric to compare trials by")
        for name, distribution in self.parameters.items():
            is_enumerable = distribution.is_discrete and not isinstance(
                distribution, CategoricalWithProbabilities
            )
            if self.method == "grid" and not is_enumerable:
                raise ValueError(
                    f"parameters.{name}: a grid cannot enumerate a continuous range "
                    "or use probabilities; list its values"
                )
        return self

    @property
    def command_overrides(self) -> FixedOverrides:
        """Overrides written in `command`, before and after the `${args...}` macro."""
        fixed_overrides = FixedOverrides([], [])
        overrides = fixed_overrides.before
        for argument in split_config_dir(self.command or [])[1]:
            if argument.startswith("${args"):
                overrides = fixed_overrides.after
            elif "=" in argument and not argument.startswith("-"):
                overrides.append(argument)
            elif not (
                argument.startswith("${")
                or argument == self.program
                or "python" in argument
                or Path(argument).name == "nn-train"
            ):
                raise UserError(
                    f"command: {argument} is neither a W&B macro nor a setting KEY=VALUE."
                )
        return fixed_overrides

    @property
    def config_dir(self) -> Path | None:
        """Directory of `--config-dir` in `command`."""
        return split_config_dir(self.command or [])[0]


def describe_changes(before: SweepConfig, after: SweepConfig) -> Iterator[str]:
    """Describe each difference between two versions of a sweep; `run_cap` is not compared."""
    old, new = (_dump_each_key(sweep) for sweep in (before, after))
    for name in {**old, **new}:
        if name not in new:
            yield f"{name}: {old[name]} was removed"
        elif name not in old:
            yield f"{name}: {new[name]} was added"
        elif old[name] != new[name]:
            yield f"{name}: {old[name]} was changed to {new[name]}"


def _dump_each_key(sweep: SweepConfig) -> dict[str, str]:
    """Dump each parameter and each other key as one line of YAML."""
    settings = sweep.model_dump(exclude={"run_cap", "parameters"}, exclude_none=True)
    names = {model: name for name, model in DISTRIBUTIONS.items()} | {QUniformGrid: "q_uniform"}
    for name, distribution in sweep.parameters.items():
        kind = {"distribution": names[type(distribution)]}
        settings[f"parameters.{name}"] = kind | distribution.model_dump()
    return {name: _to_yaml_line(value) for name, value in settings.items()}


def _to_yaml_line(value: JsonValue) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


def read_sweep_config(path: Path) -> SweepConfig:
    """Read and validate a sweep file, and raise `UserError` for the first error in it."""
    return parse_sweep_config(load_yaml(path), path)


def parse_sweep_config(content: Mapping[str, JsonValue], path: Path) -> SweepConfig:
    """Validate the content of a sweep file, and raise `UserError` for the first error in it."""
    try:
        return _validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_error_messages(error)[0]}") from None


def list_errors(content: Mapping[str, JsonValue]) -> list[str]:
    """Return one sentence for each error in the content of a sweep file."""
    try:
        _validate(content)
    except ValidationError as error:
        return _error_messages(error)
    return []


def _validate(content: Mapping[str, JsonValue]) -> SweepConfig:
    return SweepConfig.model_validate({str(key): value for key, value in content.items()})


def find_nested_blocks(parameters: Mapping[str, JsonValue]) -> dict[str, list[str]]:
    """Return the dotted names of the parameters in each nested block, by the block's name."""
    blocks = {name: _get_inner_parameters(config) for name, config in parameters.items()}
    return {
        name: list(flatten_parameters(inner, f"{name}."))
        for name, inner in blocks.items()
        if inner is not None
    }


def flatten_parameters(
    parameters: Mapping[str, JsonValue], prefix: str = ""
) -> dict[str, JsonValue]:
    """Flatten nested `parameters` blocks into dotted names."""
    flat: dict[str, JsonValue] = {}
    for name, config in parameters.items():
        inner = _get_inner_parameters(config)
        if inner is None:
            flat[f"{prefix}{name}"] = config
        else:
            flat |= flatten_parameters(inner, f"{prefix}{name}.")
    return flat


def _get_inner_parameters(config: JsonValue) -> dict[str, JsonValue] | None:
    """Return the parameters of a nested block, or None for a parameter."""
    inner = config.get("parameters") if isinstance(config, dict) else None
    return inner if isinstance(inner, dict) else None


def parse_distribution(
    name: str, config: JsonValue | Mapping[str, JsonValue], is_grid: bool = False
) -> Distribution:
    """Parse a parameter into the distribution that it names or implies.

    Raises:
        ValueError: The parameter is invalid; the message names its key.
    """
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise ValueError(f"parameters.{name}: this is not a valid setting name")
    if not isinstance(config, Mapping):
        raise ValueError(
            f"parameters.{name}: write {name}: {{value: {format_value(config)}}}, or values: [...]"
        )
    kind = config.get("distribution") or infer_distribution_name(config)
    if kind is None:
        raise ValueError(f"parameters.{name}: specify value, values, or min and max")
    if not isinstance(kind, str) or kind not in DISTRIBUTIONS:
        raise ValueError(
            f"parameters.{name}.distribution: {kind}: there is no such distribution; "
            f"{suggest(str(kind), DISTRIBUTIONS)}"
        )
    model = QUniformGrid if is_grid and kind == "q_uniform" else DISTRIBUTIONS[kind]
    settings = {str(key): value for key, value in config.items() if key != "distribution"}
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        message = _error_message(_sort_unknown_keys_first(error)[0], model)
        raise ValueError(f"parameters.{name}{message}") from None


def _error_messages(error: ValidationError) -> list[str]:
    """Return one sentence for each error that pydantic found in a sweep."""
    messages: list[str] = []
    for details in _sort_unknown_keys_first(error):
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, InvalidParametersError):
            messages += cause.messages
        else:
            messages.append(_error_message(details))
    lines = (" ".join(message.split()) for message in messages)
    return [line if line.endswith((".", "?")) else f"{line}." for line in lines]


def _error_message(details: ErrorDetails, model: type[BaseModel] = SweepConfig) -> str:
    """Describe an error by its key, the value found there and the value expected."""
    keys = [str(part) for part in details["loc"]]
    key_path, value = ".".join(keys), details.get("input")
    location = f".{key_path}" if model is not SweepConfig else key_path
    expected = details["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if details["type"] == "value_error":
        return expected if model is SweepConfig else f"{location.rstrip('.')}: {expected}"
    if details["type"] == "too_short":
        return f"{location}: there must be at least one"
    if details["type"] == "missing":
        return f"{location} is missing"
    if details["type"] == "invalid-json-value":
        return f"{location}: {value} is not a value of a setting"
    if details["type"] == "extra_forbidden":
        return f"{location}: there is no such key; {suggest(keys[-1], model.model_fields)}"
    if isinstance(value, str) and _is_number(value):
        number = f"{float(value):.1e}" if "e" in value.lower() else value
        return f"{location}: {value} is read as a string; write {number}"
    return f"{location}: {format_value(value)} must be {expected}"


def _sort_unknown_keys_first(error: ValidationError) -> list[ErrorDetails]:
    """Return the errors with unknown keys first: a misspelled key explains a missing one."""
    return sorted(error.errors(), key=lambda details: details["type"] != "extra_forbidden")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
