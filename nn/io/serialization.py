"""Serialization: JSON for results, YAML for configs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import yaml
from pydantic import JsonValue
from pydantic_core import from_json

JsonObject: TypeAlias = dict[str, JsonValue]


def to_json(obj: Any) -> str:
    """Serialize to strict JSON, with null in place of NaN and infinities."""
    return json.dumps(_replace_nonfinite(obj), allow_nan=False)


def parse_json(content: bytes | str) -> JsonValue:
    """Parse JSON several times faster than the standard library.

    Raises:
        ValueError: It is not valid JSON, or nested too deeply.
    """
    try:
        value: JsonValue = from_json(content)
    except ValueError:  # also for lone surrogates, which the standard library accepts
        try:
            value = json.loads(content)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    return value


def to_yaml(obj: Mapping[str, Any]) -> str:
    """Serialize to YAML without anchors and aliases, keeping the order of keys."""
    return yaml.dump(dict(obj), Dumper=_NoAliasDumper, sort_keys=False, allow_unicode=True)


_NoAliasDumper = type(
    "_NoAliasDumper",
    (getattr(yaml, "CSafeDumper", yaml.SafeDumper),),  # the C one is missing without libyaml
    {"ignore_aliases": lambda _dumper, _data: True},
)


def _replace_nonfinite(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        return {key: _replace_nonfinite(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_replace_nonfinite(value) for value in obj]
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return obj
