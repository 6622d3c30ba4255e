"""Figures and names as a reader meets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nn.errors import format_value

MISSING = "—"
NO_BREAK_SPACE = "\u00a0"
"""A space at which no line is broken."""


def percent(fraction: float | None, digits: int = 2) -> str:
    """Write a share."""
    return (
        MISSING if fraction is None else f"{fraction:.{digits}%}".replace("%", NO_BREAK_SPACE + "%")
    )


def confidence(probability: float) -> str:
    """Write how sure a prediction is, which is never quite all."""
    return f">99.9{NO_BREAK_SPACE}%" if 0.9995 <= probability < 1 else percent(probability, 1)


def number(value: float | None) -> str:
    """Write a number with four digits that count."""
    if value is None:
        return MISSING
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e4:
        return f"{value:#.4g}".rstrip(".")
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.3e}"


def count(value: float | None, singular: str = "", plural: str | None = None) -> str:
    """Write how many there are of something."""
    if value is None:
        return MISSING
    noun = singular if value == 1 else (plural or f"{singular}s")
    return f"{value:,.0f} {noun}".strip() if singular else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Write a time as it is spoken of."""
    if seconds is None:
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def setting(value: Any) -> str:
    """Write a value as it stands on a command line."""
    return format_value(value)


def short_setting(value: Any) -> str:
    """Write a value, a number with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)


def time_unit(seconds: float) -> tuple[str, float]:
    """Choose a unit for a stretch of time, and how many seconds it has."""
    if seconds < 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)


def truncate(text: str, max_length: int) -> str:
    """Cut a text that is too long for its place."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def join(names: Sequence[str]) -> str:
    """Put names into a sentence."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
