"""Serialization: JSON for results, YAML for configs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import yaml
from pydantic import JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]


def to_json(obj: Any) -> str:
    """Serialize to strict JSON, with null in place of NaN and infinities."""
    return json.dumps(_replace_nonfinite(obj), allow_nan=False)


def to_yaml(obj: Mapping[str, Any]) -> str:
    """Serialize to YAML without anchors and aliases, keeping the order of keys."""
    return yaml.dump(dict(obj), Dumper=_NoAliasDumper, sort_keys=False, allow_unicode=True)


class _NoAliasDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _replace_nonfinite(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        return {key: _replace_nonfinite(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_replace_nonfinite(value) for value in obj]
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return obj
