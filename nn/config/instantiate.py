"""Instantiate the class that `_target_` names, checking its arguments by their annotations."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from nn.config.validate import get_signature
from nn.errors import SettingError, UserError, format_value

T = TypeVar("T")


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


def instantiate(key: str, node: Mapping[str, Any], expected_class: type[T]) -> T:
    """Instantiate a component from its settings.

    Args:
        key: The config group of the component, for messages.
        node: The settings, with the name of the class as `_target_`.
        expected_class: The class of which the component must be an instance.

    Raises:
        SettingError: A value does not have the annotated type, or the constructor refuses it.
        UserError: A setting is unknown or missing, or `_target_` is not of the expected class.
    """
    if "_target_" not in node:
        raise UserError(f"{key}={format_value(node)}: choose an option with {key}=NAME.")
    cls = get_class(key, node["_target_"])
    target_setting = f"{key}._target_={node['_target_']}"
    if inspect.isabstract(cls):
        raise UserError(f"{target_setting}: this class is abstract; choose a subclass.")
    settings = {name: value for name, value in node.items() if name != "_target_"}
    _validate_settings(key, settings, cls, target_setting)
    try:
        instance = cls(**settings)
    except SettingError as error:
        raise SettingError(f"{key}.{error.name}", error.value, error.expected) from None
    if not isinstance(instance, expected_class):
        raise UserError(f"{target_setting}: this is not of type {expected_class.__name__}.")
    return instance


def _validate_settings(
    key: str, settings: Mapping[str, Any], cls: Any, target_setting: str
) -> None:
    """Raise UserError if a setting is unknown, missing or not of the type of its parameter."""
    signature = get_signature(cls, target_setting)
    for name, value in settings.items():
        setting_type = signature.setting_types.get(name)
        if setting_type is None and signature.accepts_any_name:
            continue
        if setting_type is None:
            suggestion = get_closest_match(name, signature.setting_types)
            hint = f"did you mean {key}.{suggestion}?" if suggestion else "leave it out."
            assignment = f"{key}.{name}={format_value(value)}"
            raise UserError(f"{assignment}: there is no setting {key}.{name}; {hint}")
        if value != "???" and not setting_type.accepts(value):
            raise SettingError(f"{key}.{name}", value, str(setting_type))
    for name, setting_type in signature.setting_types.items():
        is_missing = name in signature.required_names and name not in settings
        if is_missing or settings.get(name) == "???":
            raise UserError(f"{key}.{name} is missing: it must be {setting_type}.")


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
