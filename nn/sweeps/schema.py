"""Schema of W&B sweep files, validated with pydantic."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from nn.config.overrides import to_overrides
from nn.config.search_path import split_config_dir
from nn.errors import UserError, format_value
from nn.sweeps.distributions import (
    DISTRIBUTIONS,
    CategoricalWithProbabilities,
    Constant,
    Distribution,
    ParameterValue,
    QUniformGrid,
    infer_distribution_name,
)
from nn.sweeps.space import FixedOverrides
from nn.sweeps.sweep_file import load_yaml

UNSUPPORTED_KEYS = {
    "job": "jobs of W&B Launch cannot run here; write program: scripts/train.py",
    "image_uri": "container images cannot run here; write program: scripts/train.py",
    "metrics": "a sweep optimizes one metric; choose one of them as metric",
} | dict.fromkeys(
    ("scheduler.source", "scheduler.optimizer", "scheduler.search_space"),
    "reading a sweep file runs no code; leave it out and choose a sampler with --sampler",
)
"""Unsupported keys of W&B's schema, with the reason and the alternative."""
EPOCH_METRICS = (
    "train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "samples_per_second",
)  # fmt: skip
"""Metrics that a run logs every epoch."""
FINAL_METRICS = ("test/loss", "test/accuracy", "test/top3", "test/calibration_error", "seconds")
"""Metrics that a run logs once, at its end."""


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
    impute: Literal["latest", "best", "worst"] | None = None
    impute_while_running: Literal["latest", "best", "worst", "false"] | None = None

    @property
    def has_imputation(self) -> bool:
        """Whether `impute` or `impute_while_running` changes the values of trials."""
        return self.impute is not None or self.impute_while_running not in (None, "false")

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
    strict: bool = True  # the default in the schema of W&B's engine

    @model_validator(mode="after")
    def check_min_or_max_iter(self) -> HyperbandConfig:
        """Require exactly one of `min_iter` and `max_iter`, and `s` with `max_iter`."""
        if (self.min_iter is None) == (self.max_iter is None):
            raise ValueError("hyperband needs either min_iter or max_iter")
        if self.max_iter is not None and self.s is None:
            raise ValueError("hyperband with max_iter needs s, the number of brackets")
        return self


class Controller(BaseModel):
    """Which process proposes the points of a sweep on W&B's server."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["local", "cloud"]


class Scheduler(BaseModel):
    """The search engine of a sweep on W&B's server that `wandb sweep-scheduler` controls."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    engine: Literal["wandb"]

    @field_validator("engine", mode="before")
    @classmethod
    def refuse_other_engines(cls, value: JsonValue) -> JsonValue:
        """Refuse the engines that require method: custom."""
        if value in ("optuna", "ax"):
            raise ValueError(
                f"scheduler.engine: {value} requires method: custom; leave scheduler out, write "
                "method: bayes and choose a sampler with --sampler"
            )
        return value


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
    apiVersion: str | None = None  # noqa: N815  (W&B's name)
    kind: Literal["sweep"] | None = None
    controller: Controller | None = None
    scheduler: Scheduler | None = None

    @field_validator("method", mode="before")
    @classmethod
    def refuse_custom_method(cls, value: JsonValue) -> JsonValue:
        """Refuse a search function of the user's own."""
        if value == "custom":
            raise ValueError(
                "method: custom needs a search function, and reading a sweep file runs no code; "
                "write method: bayes and choose a sampler with --sampler"
            )
        return value

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
        if self.scheduler and self.early_terminate:
            raise ValueError("scheduler and early_terminate exclude each other; leave one out")
        if self.scheduler and self.controller and self.controller.type == "local":
            raise ValueError(
                "scheduler and controller.type: local exclude each other; leave one out"
            )
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
    def needs_intermediate_values(self) -> bool:
        """Whether the study needs the metric of each epoch, not only the objective."""
        has_imputation = self.metric is not None and self.metric.has_imputation
        return self.early_terminate is not None or (self.method == "bayes" and has_imputation)

    @property
    def tracking_overrides(self) -> list[str]:
        """Overrides that file the trials under the sweep's project and entity in W&B."""
        destination = {"tracking.project": self.project, "tracking.entity": self.entity}
        return to_overrides({name: value for name, value in destination.items() if value})

    def with_constants(self, constants: Mapping[str, ParameterValue]) -> SweepConfig:
        """Return this sweep with other values of parameters that have a single one."""
        replaced = {
            name: Constant(value=value)
            for name, value in constants.items()
            if isinstance(self.parameters.get(name), Constant)
        }
        return self.model_copy(update={"parameters": {**self.parameters, **replaced}})

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


def describe_changes(before: SweepConfig, after: SweepConfig) -> dict[str, str]:
    """Describe each difference between two versions of a sweep, by its key."""
    old, new = (
        {
            key: _to_yaml_line(value)
            for key, value in sweep.model_dump(exclude={"parameters"}, exclude_none=True).items()
        }
        for sweep in (before, after)
    )
    changes = {
        key: f"{key}: {old.get(key, 'none')} → {new.get(key, 'none')}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    }
    for name in {**before.parameters, **after.parameters}:
        old_dist, new_dist = before.parameters.get(name), after.parameters.get(name)
        if old_dist is None or new_dist is None:
            changes[f"parameters.{name}"] = f"{name}: {'new' if new_dist else 'removed'}"
        elif old_dist != new_dist or type(old_dist) is not type(new_dist):
            has_kind = type(old_dist) is not type(new_dist)
            old_text, new_text = (_describe(dist, has_kind) for dist in (old_dist, new_dist))
            changes[f"parameters.{name}"] = f"{name}: {old_text} → {new_text}"
    return changes


def _describe(distribution: Distribution, has_kind: bool) -> str:
    """Describe a distribution in a few words, such as 0.01 ... 0.1."""
    settings, parts = distribution.model_dump(), []
    if "value" in settings:
        return format_value(settings["value"])
    if "values" in settings:
        parts.append(", ".join(map(format_value, settings.pop("values"))))
    elif has_kind:
        names = {model: name for name, model in DISTRIBUTIONS.items()} | {QUniformGrid: "q_uniform"}
        parts.append(names[type(distribution)])
    if "min" in settings:
        parts.append(f"{format_value(settings.pop('min'))} ... {format_value(settings.pop('max'))}")
    parts += [f"{key} {_to_yaml_line(value)}" for key, value in settings.items()]
    return ", ".join(parts)


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
    if details["type"] == "extra_forbidden" and key_path in UNSUPPORTED_KEYS:
        return f"{key_path}: {UNSUPPORTED_KEYS[key_path]}"
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
