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

from nn.config.instantiate import nearest
from nn.errors import Mistake, as_typed
from nn.sweeps.distributions import (
    KINDS,
    CategoricalWithProbabilities,
    Distribution,
    QUniformGrid,
    implied,
)

LARGEST = 2**20
"""Bytes that a sweep file may have."""
MOST_PARTS = 10**5
"""Values that a sweep file may have."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as W&B does, except that a date is text, as on a command line and in JSON."""


Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


class InvalidParametersError(ValueError):
    """What is wrong with the parameters, a sentence for each."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class Metric(BaseModel):
    """What the sweep is to make small or large."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    goal: Literal["minimize", "maximize"] = "minimize"
    target: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None

    @property
    def sign(self) -> int:
        """1 where small is good, -1 where large is."""
        return 1 if self.goal == "minimize" else -1

    def better(self, value: float, than: float) -> bool:
        """Whether one value is better than another."""
        return self.sign * value < self.sign * than

    def reached(self, value: float) -> bool:
        """Whether a value is as good as the target."""
        return self.target is not None and not self.better(self.target, value)


class Hyperband(BaseModel):
    """When a trial that lags behind is ended early."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["hyperband"]
    min_iter: Annotated[int, Field(strict=True, ge=1)] | None = None
    max_iter: Annotated[int, Field(strict=True, ge=1)] | None = None
    s: Annotated[int, Field(strict=True, ge=1)] | None = None
    eta: Annotated[float, Field(strict=True, gt=1)] = 3.0
    strict: bool = False

    @model_validator(mode="after")
    def check(self) -> Hyperband:
        """One of the two begins the count."""
        if (self.min_iter is None) == (self.max_iter is None):
            raise ValueError("hyperband needs min_iter or max_iter, one of them")
        if self.max_iter is not None and self.s is None:
            raise ValueError("hyperband with max_iter needs s, the number of brackets")
        return self


class Sweep(BaseModel):
    """A sweep."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    method: Literal["grid", "random", "bayes"]
    parameters: dict[str, SerializeAsAny[Distribution]]
    metric: Metric | None = None
    early_terminate: Hyperband | None = None
    run_cap: Annotated[int, Field(strict=True, ge=1)] | None = None
    program: str | None = None
    command: list[str] | None = None
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None

    @field_validator("parameters", mode="before")
    @classmethod
    def read(cls, given: Any, info: ValidationInfo) -> dict[str, Distribution]:
        """Read each parameter as the distribution that it names or implies."""
        if not isinstance(given, Mapping) or not given:
            raise ValueError("there must be at least one parameter")
        parameters, sentences = {}, []
        for name, each in dotted(given).items():
            try:
                parameters[name] = distribution(name, each, info.data.get("method") == "grid")
            except ValueError as error:
                sentences.append(str(error))
        if sentences:
            raise InvalidParametersError(sentences)
        return parameters

    @model_validator(mode="after")
    def check(self) -> Sweep:
        """What goes together."""
        if self.method == "bayes" and self.metric is None:
            raise ValueError("method: bayes needs a metric to go by")
        if self.early_terminate and self.metric is None:
            raise ValueError("early_terminate needs a metric to go by")
        for name, each in self.parameters.items():
            listed = each.discrete and not isinstance(each, CategoricalWithProbabilities)
            if self.method == "grid" and not listed:
                raise ValueError(
                    f"parameters.{name}: a grid cannot go through all of a continuous range, "
                    "nor heed probabilities; list its values"
                )
        return self

    @property
    def fixed_words(self) -> tuple[list[str], list[str]]:
        """The overrides in `command`, before and after the parameters."""
        before: list[str] = []
        after: list[str] = []
        side = before
        for word in self.command or []:
            if word.startswith("${args"):
                side = after
            elif "=" in word and not word.startswith("-"):
                side.append(word)
            elif not word.startswith("${") and word != self.program and "python" not in word:
                raise Mistake(
                    f"command: {word} is neither a macro of W&B's nor a setting KEY=VALUE."
                )
        return before, after


def changes(before: Sweep, after: Sweep) -> Iterator[str]:
    """Describe what differs between two versions of a sweep, except for the number of runs."""
    old, new = (_flat(sweep) for sweep in (before, after))
    for name in {**old, **new}:
        if name not in new:
            yield f"{name}: {old[name]} was removed"
        elif name not in old:
            yield f"{name}: {new[name]} was added"
        elif old[name] != new[name]:
            yield f"{name}: {old[name]} was changed to {new[name]}"


def _flat(sweep: Sweep) -> dict[str, str]:
    """Write each parameter and each other key as one line of YAML."""
    content = sweep.model_dump(exclude={"run_cap", "parameters"}, exclude_none=True)
    kinds = {model: kind for kind, model in KINDS.items()}
    for name, each in sweep.parameters.items():
        kind = next(kinds[model] for model in type(each).__mro__ if model in kinds)
        content[f"parameters.{name}"] = {"distribution": kind, **each.model_dump()}
    return {name: _in_one_line(value) for name, value in content.items()}


def _in_one_line(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=LARGEST)
    return text.removesuffix("\n").removesuffix("\n...")


def read(path: Path) -> Sweep:
    """Read a sweep file; what is wrong with it is told in a sentence."""
    return parse(raw(path), path)


def raw(path: Path) -> dict[str, Any]:
    """Read the YAML."""
    text = text_of(path)
    try:
        content = _loaded(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        # libyaml puts the end of a file into the line after the last
        line = f", line {min(where.line, text.count(chr(10))) + 1}" if where else ""
        raise Mistake(f"{path}{line}: this is no YAML.") from None
    if not isinstance(content, dict):
        raise Mistake(f"{path}: a sweep file has method and parameters.")
    if _parts(content) > MOST_PARTS:
        raise Mistake(f"{path}: there is too much in it, or it refers to itself.")
    return content


@lru_cache(maxsize=2)
def _loaded(text: str) -> Any:
    """Load a file once for all that look at it; nobody changes what is loaded."""
    return yaml.load(text, Loader)


def text_of(path: Path) -> str:
    """Read the text of a sweep file."""
    try:
        if path.stat().st_size > LARGEST or not path.is_file():
            raise Mistake(f"{path} is no sweep file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Mistake(f"{path}: there is no such file.") from None
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Mistake(f"{path}: this is no YAML.") from None


def _parts(content: Any) -> int:
    """Count what a file comes to once all references in it are followed, as far as it matters."""
    count, left = 0, [content]
    while left and count <= MOST_PARTS:
        count, part = count + 1, left.pop()
        left += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
    return count


def parse(content: Mapping[str, Any], path: Path) -> Sweep:
    """Make a sweep of what a file says."""
    for sentence in problems(content):
        raise Mistake(f"{path}: {sentence}")
    return Sweep(**{str(key): value for key, value in content.items()})


def problems(content: Mapping[str, Any]) -> list[str]:
    """Tell everything that is wrong with what a file says."""
    try:
        Sweep(**{str(key): value for key, value in content.items()})
    except ValidationError as error:
        found = [sentence for each in _unknown_first(error) for sentence in _sentences(each)]
        return [f"{' '.join(sentence.split())}." for sentence in found]
    return []


def nested(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, list[str]]:
    """Name the parameters that stand in nested blocks, by block, in dotted form."""
    blocks: dict[str, list[str]] = {}
    for name, each in parameters.items():
        if isinstance(each, Mapping) and isinstance(each.get("parameters"), Mapping):
            inner = each["parameters"]
            blocks[f"{prefix}{name}"] = list(dotted(inner, f"{prefix}{name}."))
    return blocks


def dotted(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Read nested blocks of parameters as dotted names."""
    flat: dict[str, Any] = {}
    for name, each in parameters.items():
        if isinstance(each, Mapping) and isinstance(each.get("parameters"), Mapping):
            flat |= dotted(each["parameters"], f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = each
    return flat


def distribution(name: str, given: Any, grid: bool = False) -> Distribution:
    """Read a parameter as the distribution that it names or implies."""
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise ValueError(f"parameters.{name}: this is no name of a setting")
    if not isinstance(given, Mapping):
        raise ValueError(
            f"parameters.{name}: write {name}: {{value: {as_typed(given)}}}, or values: [...]"
        )
    kind = given.get("distribution") or implied(dict(given))
    if kind is None:
        raise ValueError(f"parameters.{name}: give it value, values, or min and max")
    if kind not in KINDS:
        near = nearest(str(kind), KINDS)
        hint = f"did you mean {near}" if near else "there is " + ", ".join(KINDS)
        raise ValueError(
            f"parameters.{name}.distribution: {kind}: there is no such distribution; {hint}"
        )
    settings = {str(key): value for key, value in given.items() if key != "distribution"}
    model = QUniformGrid if grid and kind == "q_uniform" else KINDS[kind]
    try:
        return model(**settings)
    except ValidationError as error:
        raise ValueError(f"parameters.{name}{_sentence(_unknown_first(error)[0], model)}") from None


def _sentences(each: Mapping[str, Any]) -> list[str]:
    """Spell out an error that pydantic reports for a sweep."""
    cause = each.get("ctx", {}).get("error")
    return cause.sentences if isinstance(cause, InvalidParametersError) else [_sentence(each)]


def _sentence(first: Mapping[str, Any], model: type[BaseModel] = Sweep) -> str:
    """Tell one thing that is wrong."""
    keys = [str(part) for part in first["loc"]]
    where, given = ".".join(keys), first.get("input")
    inside = f".{where}" if model is not Sweep else where
    expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] == "value_error":
        return expected if model is Sweep else f"{inside.rstrip('.')}: {expected}"
    if first["type"] == "too_short":
        return f"{inside}: there must be at least one"
    if first["type"] == "missing":
        return f"{inside} is missing"
    if first["type"] == "extra_forbidden":
        near = nearest(keys[-1], model.model_fields)
        hint = f"did you mean {near}" if near else "there is " + ", ".join(model.model_fields)
        return f"{inside}: there is no such key; {hint}"
    if isinstance(given, str) and _is_number(given):
        number = f"{float(given):.1e}" if "e" in given.lower() else given
        return f"{inside}: {given} is read as a text; write {number}"
    return f"{inside}: {as_typed(given)} must be {expected}"


def _unknown_first(error: ValidationError) -> list[Any]:
    """Put keys that do not exist before those that are missing."""
    return sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
