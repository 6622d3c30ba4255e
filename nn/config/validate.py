"""Validation of settings by their annotated types, with pydantic."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
from pydantic.fields import FieldInfo

from nn.errors import UserError
from nn.types import OneOf, Range, resolve_annotations, resolve_class_annotations

_TYPE_DESCRIPTIONS = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a string",
    type(None): "null",
}


class SettingType:
    """Annotated type of a setting; a whole number is also a number, NaN and infinity are not."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self._adapter = _create_adapter(annotation)

    def __str__(self) -> str:
        return describe_type(self.annotation)

    def accepts(self, value: Any) -> bool:
        """Return whether a value has this type and is in its range."""
        try:
            # as JSON, since a YAML list is also the value of a tuple, which has no YAML form
            self._adapter.validate_json(json.dumps(value))
        except (TypeError, ValueError):  # pydantic's is a ValueError; a date has no JSON form
            return False
        return True

    @property
    def is_fractional(self) -> bool:
        """Whether a value may be a number that is not whole."""
        return float in _list_types(self.annotation)


@dataclass(frozen=True)
class Signature:
    """The settings of a component: the parameters of its class that have a name."""

    setting_types: dict[str, SettingType]
    required_names: tuple[str, ...]
    accepts_any_name: bool


@cache
def get_signature(cls: Callable[..., Any], target_setting: str) -> Signature:
    """Return the settings of a class or function.

    Raises:
        UserError: It cannot be called with named arguments; the message is about `target_setting`.
    """
    try:
        parameters = inspect.signature(cls).parameters.values()
    except ValueError:
        raise UserError(f"{target_setting}: its signature cannot be inspected.") from None
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise UserError(
                f"{target_setting}: {parameter.name} is a positional-only parameter, but settings "
                "are passed by name."
            )
    annotations = _get_annotations(cls)
    return Signature(
        {p.name: SettingType(annotations.get(p.name, Any)) for p in named},
        tuple(p.name for p in named if p.default is p.empty),
        any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def _get_annotations(cls: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the parameters.

    Those of a dataclass are taken from the class, since each base class has its own module.
    """
    if inspect.isclass(cls):
        owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
        if "__dataclass_fields__" in vars(owner):
            return resolve_class_annotations(owner)
        cls = vars(owner)["__init__"]
    function = inspect.unwrap(cls)
    return resolve_annotations(
        getattr(function, "__annotations__", {}), getattr(function, "__globals__", {})
    )


def _create_adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))
    except PydanticSchemaGenerationError:  # a type of which pydantic knows nothing is not checked
        return TypeAdapter(Any)
    except PydanticUserError:  # a model or a dataclass of the user's, which has its own config
        return TypeAdapter(annotation)


def describe_type(annotation: Any) -> str:
    """Describe a type in words, as in "a whole number, at least 1, or null".

    The `title` of a pydantic field in the annotation takes the place of its type's description.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe_annotated(*arguments)
    if origin in (Union, types.UnionType):
        separator = ", or " if any(map(_has_markers, arguments)) else " or "
        return separator.join(filter(None, map(describe_type, arguments)))
    if origin is list:
        (item_type,) = arguments
        ranges = [f", each {part}" for part in get_args(item_type) if isinstance(part, Range)]
        return f"a list like [{'a,b' if item_type is str else '1,2'}]{''.join(ranges)}"
    if origin is Literal:
        options = ", ".join(map(str, arguments))
        return f"one of {options}" if len(arguments) > 1 else options
    return _TYPE_DESCRIPTIONS.get(annotation, str(annotation))


def _describe_annotated(base: Any, *markers: Any) -> str:
    for marker in markers:
        if isinstance(marker, FieldInfo) and marker.title is not None:
            return marker.title
        if isinstance(marker, OneOf):
            return str(marker)
        if isinstance(marker, Range):
            separator = ", " if str(marker).startswith("at ") else " "
            return f"{describe_type(base)}{separator}{marker}"
    return describe_type(base)


def _has_markers(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated or any(map(_has_markers, get_args(annotation)))


def _list_types(annotation: Any) -> list[Any]:
    """List the type that is annotated, or the members of a union."""
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return [inner for part in get_args(annotation) for inner in _list_types(part)]
    return [annotation]
