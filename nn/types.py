"""Array types, and markers that annotate a setting with its range or its options."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, fields
from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Protocol, TypeAlias, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from nn.errors import require

Array: TypeAlias = NDArray[np.floating[Any]]
Labels: TypeAlias = NDArray[np.integer[Any]]
IntArray: TypeAlias = NDArray[np.int64]
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """Range of a numeric setting, as in `Annotated[float, Range(ge=0, lt=1)]`."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        bounds = {name: _format_bound(bound) for name, bound in self._bounds.items()}
        if bounds.keys() == {"ge", "le"}:
            return f"from {bounds['ge']} to {bounds['le']}"
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        return " and ".join(f"{words[name]} {bound}" for name, bound in bounds.items())

    @property
    def _bounds(self) -> dict[str, float]:
        return {name: bound for name, bound in vars(self).items() if bound is not None}

    def __get_pydantic_core_schema__(
        self, source: Any, handler: Callable[[Any], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Add the bounds to pydantic's schema of the number; pydantic calls this by its name."""
        return {**handler(source), **self._bounds}


class OneOf:
    """Names that a setting can have, as in `Annotated[str, OneOf(*ACTIVATIONS)]`."""

    def __init__(self, *options: str) -> None:
        self.options = options

    def __contains__(self, value: str) -> bool:
        return value in self.options

    def __str__(self) -> str:
        return "one of " + ", ".join(self.options)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: Callable[[Any], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return pydantic's schema of these strings; pydantic calls this by its name."""
        return {"type": "literal", "expected": list(self.options)}


NonNegative: TypeAlias = Annotated[float, Range(ge=0)]
Positive: TypeAlias = Annotated[float, Range(gt=0)]
Fraction: TypeAlias = Annotated[float, Range(ge=0, lt=1)]
NonNegativeInt: TypeAlias = Annotated[int, Range(ge=0)]
PositiveInt: TypeAlias = Annotated[int, Range(ge=1)]


class DataclassInstance(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def check_settings(settings: DataclassInstance) -> None:
    """Raise SettingError if a field of a dataclass violates a marker of its annotation.

    Types are not checked here, and None is left to the annotated type.
    """
    annotations = resolve_class_annotations(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        for marker in _iter_markers(annotations.get(field.name)):
            for item in value if isinstance(value, list) else [value]:
                require(item is None or item in marker, field.name, value, str(marker))


@cache
def resolve_class_annotations(cls: type) -> dict[str, Any]:
    """Return the annotations of a class and its bases, each resolved in its own module."""
    resolved: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        namespace = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        resolved |= resolve_annotations(inspect.get_annotations(base), namespace)
    return resolved


def resolve_annotations(
    annotations: Mapping[str, Any], namespace: dict[str, Any]
) -> dict[str, Any]:
    """Resolve annotations given as strings; one that cannot be resolved becomes `Any`."""
    resolved: dict[str, Any] = {}
    for name, annotation in annotations.items():
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            resolved |= get_type_hints(holder, namespace, include_extras=True)
        except Exception:  # for example, a name that is imported for type checkers only
            resolved[name] = Any
    return resolved


def _iter_markers(annotation: Any) -> Iterator[Range | OneOf]:
    """Yield the markers in an annotation, also in the members of a union or a list."""
    if isinstance(annotation, Range | OneOf):
        yield annotation
    for part in get_args(annotation):
        yield from _iter_markers(part)


def _format_bound(bound: float) -> str:
    return re.sub(r"^1e\+0?", "10^", f"{bound:g}")
