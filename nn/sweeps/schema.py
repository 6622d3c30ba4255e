"""A sweep file as W&B takes it, read and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from nn.config.instantiate import get_closest_match
from nn.errors import UserError, format_value
from nn.sweeps.distributions import (
    DISTRIBUTIONS,
    CategoricalWithProbabilities,
    Distribution,
    QUniformGrid,
    infer_distribution_name,
)

MAX_FILE_BYTES = 2**20
"""Bytes that a sweep file may have."""
MAX_NODES = 10**5
"""Values that a sweep file may have."""


class SweepFileLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as W&B does, except that a date is text, as on a command line and in JSON."""


SweepFileLoader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


class InvalidParametersError(ValueError):
    """What is wrong with the parameters, a sentence for each."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


class Metric(BaseModel):
    """What the sweep is to make small or large."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    goal: Literal["minimize", "maximize"] = "minimize"
    target: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None

    @property
    def minimization_sign(self) -> int:
        """1 where small is good, -1 where large is."""
        return 1 if self.goal == "minimize" else -1

    def is_better(self, value: float, reference: float) -> bool:
        """Whether one value is better than another."""
        return self.minimization_sign * value < self.minimization_sign * reference

    def reaches_target(self, value: float) -> bool:
        """Whether a value is as good as the target."""
        return self.target is not None and not self.is_better(self.target, value)


class HyperbandConfig(BaseModel):
    """When a trial that lags behind is ended early."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["hyperband"]
    min_iter: Annotated[int, Field(strict=True, ge=1)] | None = None
    max_iter: Annotated[int, Field(strict=True, ge=1)] | None = None
    s: Annotated[int, Field(strict=True, ge=1)] | None = None
    eta: Annotated[float, Field(strict=True, gt=1)] = 3.0
    strict: bool = False

    @model_validator(mode="after")
    def check_min_or_max_iter(self) -> HyperbandConfig:
        """One of the two begins the count."""
        if (self.min_iter is None) == (self.max_iter is None):
            raise ValueError("hyperband needs min_iter or max_iter, one of them")
        if self.max_iter is not None and self.s is None:
            raise ValueError("hyperband with max_iter needs s, the number of brackets")
        return self


class SweepConfig(BaseModel):
    """A sweep."""

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
    def parse_parameters(cls, value: Any, info: ValidationInfo) -> dict[str, Distribution]:
        """Read each parameter as the distribution that it names or implies."""
        if not isinstance(value, Mapping) or not value:
            raise ValueError("there must be at least one parameter")
        parameters, messages = {}, []
        for name, config in flatten_parameters(value).items():
            try:
                parameters[name] = parse_distribution(
                    name, config, info.data.get("method") == "grid"
                )
            except ValueError as error:
                messages.append(str(error))
        if messages:
            raise InvalidParametersError(messages)
        return parameters

    @model_validator(mode="after")
    def check_method_requirements(self) -> SweepConfig:
        """What goes together."""
        if self.method == "bayes" and self.metric is None:
            raise ValueError("method: bayes needs a metric to go by")
        if self.early_terminate and self.metric is None:
            raise ValueError("early_terminate needs a metric to go by")
        for name, distribution in self.parameters.items():
            is_enumerable = distribution.is_discrete and not isinstance(
                distribution, CategoricalWithProbabilities
            )
            if self.method == "grid" and not is_enumerable:
                raise ValueError(
                    f"parameters.{name}: a grid cannot go through all of a continuous range, "
                    "nor heed probabilities; list its values"
                )
        return self

    @property
    def command_overrides(self) -> tuple[list[str], list[str]]:
        """The overrides in `command`, before and after the parameters."""
        before: list[str] = []
        after: list[str] = []
        overrides = before
        for argument in self.command or []:
            if argument.startswith("${args"):
                overrides = after
            elif "=" in argument and not argument.startswith("-"):
                overrides.append(argument)
            elif (
                not argument.startswith("${")
                and argument != self.program
                and "python" not in argument
            ):
                raise UserError(
                    f"command: {argument} is neither a macro of W&B's nor a setting KEY=VALUE."
                )
        return before, after


def describe_changes(before: SweepConfig, after: SweepConfig) -> Iterator[str]:
    """Describe what differs between two versions of a sweep, except for the number of runs."""
    old, new = (_dump_each_key(sweep) for sweep in (before, after))
    for name in {**old, **new}:
        if name not in new:
            yield f"{name}: {old[name]} was removed"
        elif name not in old:
            yield f"{name}: {new[name]} was added"
        elif old[name] != new[name]:
            yield f"{name}: {old[name]} was changed to {new[name]}"


def _dump_each_key(sweep: SweepConfig) -> dict[str, str]:
    """Write each parameter and each other key as one line of YAML."""
    settings = sweep.model_dump(exclude={"run_cap", "parameters"}, exclude_none=True)
    distribution_names = {model: name for name, model in DISTRIBUTIONS.items()}
    for name, distribution in sweep.parameters.items():
        distribution_name = next(
            distribution_names[model]
            for model in type(distribution).__mro__
            if model in distribution_names
        )
        settings[f"parameters.{name}"] = {
            "distribution": distribution_name,
            **distribution.model_dump(),
        }
    return {name: _to_yaml_line(value) for name, value in settings.items()}


def _to_yaml_line(value: Any) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=MAX_FILE_BYTES
    )
    return text.removesuffix("\n").removesuffix("\n...")


def read_sweep_config(path: Path) -> SweepConfig:
    """Read a sweep file; what is wrong with it is told in a sentence."""
    return parse_sweep_config(load_yaml(path), path)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read the YAML."""
    text = read_sweep_text(path)
    try:
        content = _parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        # libyaml puts the end of a file into the line after the last
        line = f", line {min(mark.line, text.count(chr(10))) + 1}" if mark else ""
        raise UserError(f"{path}{line}: this is no YAML.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a sweep file has method and parameters.")
    if _count_nodes(content) > MAX_NODES:
        raise UserError(f"{path}: there is too much in it, or it refers to itself.")
    return content


@lru_cache(maxsize=2)
def _parse_yaml(text: str) -> Any:
    """Load a file once for all that look at it; nobody changes what is loaded."""
    return yaml.load(text, SweepFileLoader)


def read_sweep_text(path: Path) -> str:
    """Read the text of a sweep file."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES or not path.is_file():
            raise UserError(f"{path} is no sweep file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: this is no YAML.") from None


def _count_nodes(content: Any) -> int:
    """Count what a file comes to once all references in it are followed, as far as it matters."""
    count, stack = 0, [content]
    while stack and count <= MAX_NODES:
        count, node = count + 1, stack.pop()
        stack += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return count


def parse_sweep_config(content: Mapping[str, Any], path: Path) -> SweepConfig:
    """Make a sweep of what a file says."""
    for message in list_errors(content):
        raise UserError(f"{path}: {message}")
    return SweepConfig(**{str(key): value for key, value in content.items()})


def list_errors(content: Mapping[str, Any]) -> list[str]:
    """Tell everything that is wrong with what a file says."""
    try:
        SweepConfig(**{str(key): value for key, value in content.items()})
    except ValidationError as error:
        messages = [
            message
            for details in _sort_unknown_keys_first(error)
            for message in _error_messages(details)
        ]
        return [f"{' '.join(message.split())}." for message in messages]
    return []


def find_nested_blocks(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, list[str]]:
    """Name the parameters that stand in nested blocks, by block, in dotted form."""
    blocks: dict[str, list[str]] = {}
    for name, config in parameters.items():
        if isinstance(config, Mapping) and isinstance(config.get("parameters"), Mapping):
            inner = config["parameters"]
            blocks[f"{prefix}{name}"] = list(flatten_parameters(inner, f"{prefix}{name}."))
    return blocks


def flatten_parameters(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Read nested blocks of parameters as dotted names."""
    flat: dict[str, Any] = {}
    for name, config in parameters.items():
        if isinstance(config, Mapping) and isinstance(config.get("parameters"), Mapping):
            flat |= flatten_parameters(config["parameters"], f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = config
    return flat


def parse_distribution(name: str, config: Any, is_grid: bool = False) -> Distribution:
    """Read a parameter as the distribution that it names or implies."""
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise ValueError(f"parameters.{name}: this is no name of a setting")
    if not isinstance(config, Mapping):
        raise ValueError(
            f"parameters.{name}: write {name}: {{value: {format_value(config)}}}, or values: [...]"
        )
    distribution_name = config.get("distribution") or infer_distribution_name(dict(config))
    if distribution_name is None:
        raise ValueError(f"parameters.{name}: give it value, values, or min and max")
    if distribution_name not in DISTRIBUTIONS:
        suggestion = get_closest_match(str(distribution_name), DISTRIBUTIONS)
        hint = (
            f"did you mean {suggestion}" if suggestion else "there is " + ", ".join(DISTRIBUTIONS)
        )
        raise ValueError(
            f"parameters.{name}.distribution: {distribution_name}: "
            f"there is no such distribution; {hint}"
        )
    settings = {str(key): value for key, value in config.items() if key != "distribution"}
    model = (
        QUniformGrid
        if is_grid and distribution_name == "q_uniform"
        else DISTRIBUTIONS[distribution_name]
    )
    try:
        return model(**settings)
    except ValidationError as error:
        raise ValueError(
            f"parameters.{name}{_error_message(_sort_unknown_keys_first(error)[0], model)}"
        ) from None


def _error_messages(details: Mapping[str, Any]) -> list[str]:
    """Spell out an error that pydantic reports for a sweep."""
    cause = details.get("ctx", {}).get("error")
    return (
        cause.messages if isinstance(cause, InvalidParametersError) else [_error_message(details)]
    )


def _error_message(details: Mapping[str, Any], model: type[BaseModel] = SweepConfig) -> str:
    """Tell one thing that is wrong."""
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
    if details["type"] == "extra_forbidden":
        suggestion = get_closest_match(keys[-1], model.model_fields)
        hint = (
            f"did you mean {suggestion}"
            if suggestion
            else "there is " + ", ".join(model.model_fields)
        )
        return f"{location}: there is no such key; {hint}"
    if isinstance(value, str) and _is_number(value):
        number = f"{float(value):.1e}" if "e" in value.lower() else value
        return f"{location}: {value} is read as a text; write {number}"
    return f"{location}: {format_value(value)} must be {expected}"


def _sort_unknown_keys_first(error: ValidationError) -> list[Any]:
    """Put keys that do not exist before those that are missing."""
    return sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
