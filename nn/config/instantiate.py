"""Objects from settings: a class by its `_target_`, its arguments checked by their annotations."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nn.errors import Mistake, SettingError, as_typed

Kind = TypeVar("Kind")

_NAMES = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    type(None): "null",
}


def locate(path: str, target: object) -> Any:
    """Import the class that a component's `_target_` names."""
    module, _, name = str(target).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            reason = f"{module} needs {error.name}, which is not installed"
            raise Mistake(f"{path}._target_={target}: {reason}.") from None
        found = None
    except (ImportError, AttributeError, ValueError, TypeError):
        found = None
    if not inspect.isclass(found) and not inspect.isfunction(found):
        raise Mistake(f"{path}._target_={target}: there is no such class.")
    return found


def build(path: str, config: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """Make the component that stands under this name in a configuration."""
    node = config.get(path)
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise Mistake(f"{path}={as_typed(node)}: choose an option with {path}=NAME.")
    maker = locate(path, node["_target_"])
    target = f"{path}._target_={node['_target_']}"
    if inspect.isabstract(maker):
        raise Mistake(f"{target}: this is only what others are made from.")
    parameters, open_ended = _parameters(maker, target)
    hints = _hints(maker)
    settings = {name: value for name, value in node.items() if name != "_target_"}
    for name, value in settings.items():
        if name not in parameters and not open_ended:
            near = nearest(name, parameters)
            hint = f"did you mean {path}.{near}?" if near else "leave it out."
            given = f"{path}.{name}={as_typed(value)}"
            raise Mistake(f"{given}: there is no setting {path}.{name}; {hint}")
        if value == "???":
            wanted = describe(hints.get(name, Any))
            raise Mistake(f"{path}.{name} is missing: it must be {wanted}.")
        if name in hints and not fits(value, hints[name]):
            raise SettingError(f"{path}.{name}", value, describe(hints[name]))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in settings:
            raise Mistake(f"{path}.{name} is missing: it must be {describe(hints.get(name, Any))}.")
    try:
        made = maker(**settings)
    except SettingError as error:
        raise SettingError(f"{path}.{error.name}", error.value, error.expected) from None
    if not isinstance(made, kind):
        raise Mistake(f"{target}: this makes no {kind.__name__}.")
    return made


def _parameters(maker: Any, target: str) -> tuple[dict[str, inspect.Parameter], bool]:
    """Name what a class can be given, and say whether it takes anything else as well."""
    try:
        parameters = inspect.signature(maker).parameters
    except ValueError:
        raise Mistake(f"{target}: what it takes cannot be known.") from None
    kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    named = {name: each for name, each in parameters.items() if each.kind not in kinds}
    return named, len(named) < len(parameters)


def _hints(maker: Any) -> dict[str, Any]:
    """Read the annotations; one that only a type checker can read is not checked here."""
    try:
        return get_type_hints(maker.__init__ if inspect.isclass(maker) else maker)
    except NameError:
        return {}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the name that was probably meant."""
    known = list(known)
    same_leaf = [other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return next(iter(same_leaf + close), None)


def fits(value: object, annotation: Any) -> bool:
    """Say whether a value from a YAML file or a command line is of the annotated type."""
    if annotation is Any:
        return True
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is Union:
        return any(fits(value, option) for option in get_args(annotation))
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        return isinstance(value, list) and all(fits(each, item) for each in value)
    if annotation is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return math.isfinite(value)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(annotation, type) or isinstance(value, annotation)


def describe(annotation: Any) -> str:
    """Name a type as a person would."""
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is Union:
        return " or ".join(describe(option) for option in get_args(annotation))
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        return f"a list like [{'a,b' if item is str else '1,2'}]"
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    return _NAMES.get(annotation, str(annotation))
