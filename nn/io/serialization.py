"""Plain values as text: JSON for what is measured, YAML for what is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import yaml


def to_json(content: Any) -> str:
    """Write JSON, with null in the place of what is not a finite number."""
    return json.dumps(_finite(content), allow_nan=False)


def to_yaml(content: Mapping[str, Any]) -> str:
    """Write YAML without references from one place to another."""
    return yaml.dump(dict(content), Dumper=_Plain, sort_keys=False, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
