"""Instantiate the class that `_target_` names, checking its arguments by their annotations."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nn.errors import SettingError, UserError, format_value

T = TypeVar("T")

_TYPE_DESCRIPTIONS = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a string",
    type(None): "null",
}


def get_class(key: str, target: object) -> Any:
    """Import the class or function that a component's `_target_` names."""
    module, _, name = str(target).rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            reason = f"{module} needs {error.name}, which is not installed"
            raise UserError(f"{key}._target_={target}: {reason}.") from None
        cls = None
    except (ImportError, AttributeError, ValueError, TypeError):
        cls = None
    if not inspect.isclass(cls) and not inspect.isfunction(cls):
        raise UserError(f"{key}._target_={target}: there is no such class.")
    return cls


def instantiate(key: str, config: Mapping[str, Any], expected_class: type[T]) -> T:
    """Instantiate the component that a configuration holds under `key`.

    Raises:
        SettingError: A value does not have the annotated type, or the constructor refuses it.
        UserError: A setting is unknown or missing, or `_target_` is not of the expected class.
    """
    node = config.get(key)
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(f"{key}={format_value(node)}: choose an option with {key}=NAME.")
    cls = get_class(key, node["_target_"])
    target_setting = f"{key}._target_={node['_target_']}"
    if inspect.isabstract(cls):
        raise UserError(f"{target_setting}: this class is abstract; choose a subclass.")
    parameters, accepts_any_name = _get_parameters(cls, target_setting)
    type_hints = _get_type_hints(cls)
    settings = {name: value for name, value in node.items() if name != "_target_"}
    for name, value in settings.items():
        if name not in parameters and not accepts_any_name:
            suggestion = get_closest_match(name, parameters)
            hint = f"did you mean {key}.{suggestion}?" if suggestion else "leave it out."
            assignment = f"{key}.{name}={format_value(value)}"
            raise UserError(f"{assignment}: there is no setting {key}.{name}; {hint}")
        if value == "???":
            expected = describe_type(type_hints.get(name, Any))
            raise UserError(f"{key}.{name} is missing: it must be {expected}.")
        if name in type_hints and not matches_type(value, type_hints[name]):
            raise SettingError(f"{key}.{name}", value, describe_type(type_hints[name]))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in settings:
            raise UserError(
                f"{key}.{name} is missing: it must be {describe_type(type_hints.get(name, Any))}."
            )
    try:
        instance = cls(**settings)
    except SettingError as error:
        raise SettingError(f"{key}.{error.name}", error.value, error.expected) from None
    if not isinstance(instance, expected_class):
        raise UserError(f"{target_setting}: this is not of type {expected_class.__name__}.")
    return instance


def accepts_setting(cls: Any, name: str, target_setting: str) -> bool:
    """Return whether a class has a parameter for a setting of this name."""
    parameters, accepts_any_name = _get_parameters(cls, target_setting)
    return accepts_any_name or name in parameters


def _get_parameters(cls: Any, target_setting: str) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the named parameters of a class, and whether it also accepts any other name."""
    try:
        parameters = inspect.signature(cls).parameters
    except ValueError:
        raise UserError(f"{target_setting}: its signature cannot be inspected.") from None
    variadic_kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    named_parameters = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind not in variadic_kinds
    }
    return named_parameters, len(named_parameters) < len(parameters)


def _get_type_hints(cls: Any) -> dict[str, Any]:
    """Return the resolved annotations, or none if one exists only for type checkers."""
    try:
        return get_type_hints(cls.__init__ if inspect.isclass(cls) else cls)
    except NameError:
        return {}


def get_closest_match(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most similar to a name; one with the same last part is preferred."""
    candidates = list(candidates)
    same_leaf = [
        candidate
        for candidate in candidates
        if candidate.rpartition(".")[2] == name.rpartition(".")[2]
    ]
    similar = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return next(iter(same_leaf + similar), None)


def suggest(name: str, candidates: Iterable[str]) -> str:
    """Return "did you mean X?", or the list of candidates if none is similar to the name."""
    candidates = list(candidates)
    closest = get_closest_match(name, candidates)
    return f"did you mean {closest}?" if closest else f"available: {', '.join(candidates)}."


def matches_type(value: object, annotation: Any) -> bool:
    """Check whether a value has the annotated type; a float must be finite, an int is a float."""
    if annotation is Any:
        return True
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is Union:
        return any(matches_type(value, member) for member in get_args(annotation))
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if get_origin(annotation) is list:
        (item_type,) = get_args(annotation)
        return isinstance(value, list) and all(matches_type(item, item_type) for item in value)
    if annotation is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return math.isfinite(value)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(annotation, type) or isinstance(value, annotation)


def describe_type(annotation: Any) -> str:
    """Describe a type in words, as in "a whole number or null"."""
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is Union:
        return " or ".join(describe_type(member) for member in get_args(annotation))
    if get_origin(annotation) is list:
        (item_type,) = get_args(annotation)
        return f"a list like [{'a,b' if item_type is str else '1,2'}]"
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    return _TYPE_DESCRIPTIONS.get(annotation, str(annotation))
