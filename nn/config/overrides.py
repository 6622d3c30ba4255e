"""Format values as overrides KEY=VALUE in Hydra's grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from nn.errors import format_value
from nn.io.serialization import JsonObject


def to_overrides(settings: Mapping[str, JsonValue]) -> list[str]:
    """Format settings as overrides; a mapping becomes one override for each value in it."""
    return [f"{name}={_format_value(value)}" for name, value in _flatten(settings)]


def get_override_key(override: str) -> str:
    """Return the name of the setting that an override sets."""
    return override.partition("=")[0].lstrip("+")


def quote(text: str) -> str:
    """Quote a string so that Hydra reads an override's value as this string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def rewrite_agent_overrides(overrides: Sequence[str], parameters: JsonObject) -> list[str]:
    """Rewrite the overrides of a W&B agent, which formats values with Python's `str`.

    It writes null as None, a nested block as a dictionary, and strings without quotes.

    Args:
        overrides: The arguments of the command line, which may contain other overrides, too.
        parameters: The values that the agent has formatted, by their names.
    """
    agent_overrides = {
        f"{prefix}{name}={value}": [f"{prefix}{text}" for text in to_overrides({name: value})]
        for name, value in parameters.items()
        for prefix in ("", "++")
    }
    return [text for override in overrides for text in agent_overrides.get(override, [override])]


def _flatten(
    settings: Mapping[str, JsonValue], prefix: str = ""
) -> Iterator[tuple[str, JsonValue]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _format_value(value: JsonValue) -> str:
    if isinstance(value, str) and not re.fullmatch(r"[\w./-]+", value):
        return quote(value)
    if isinstance(value, list):
        return f"[{','.join(map(_format_value, value))}]"
    return repr(value) if isinstance(value, float) else format_value(value)
