"""Formatting of numbers, durations and names for display."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from nn.errors import format_value
from nn.errors import truncate as truncate
from nn.runs import seeds

MISSING = "—"
PERCENT = "\u00a0%"
"""With a space that keeps it on the line of its number."""


def percent(fraction: float | None, digits: int = 2) -> str:
    """Format a fraction as a percentage: 0.9712 as `97.12 %`."""
    return MISSING if fraction is None else f"{fraction:.{digits}%}".replace("%", PERCENT)


def confidence(probability: float) -> str:
    """Format a probability with one digit, without rounding it up to 100 %."""
    return f">99.9{PERCENT}" if 0.9995 <= probability < 1 else percent(probability, 1)


def number(value: float | None) -> str:
    """Format a number with four significant digits, integers in full."""
    if value is None:
        return MISSING
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e4:
        return f"{value:#.4g}".rstrip(".")
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.3e}"


def mean_and_std(values: Sequence[float], is_percentage: bool) -> str:
    """Format the mean over seeds and, of several, the standard deviation: `97.12 ± 0.34`."""
    if not values:
        return MISSING
    numbers = [number for number in seeds.mean_and_std(values) if number is not None]
    return " ± ".join(f"{100 * n:.2f}" if is_percentage else f"{n:.4g}" for n in numbers)


def count(value: float | None, singular: str = "", plural: str | None = None) -> str:
    """Format a count with its noun: `1 epoch`, `12 epochs`."""
    if value is None:
        return MISSING
    noun = singular if value == 1 else (plural or f"{singular}s")
    return f"{value:,.0f} {noun}".strip() if singular else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Format a duration: `250 ms`, `3.5 s`, `2 min 10 s`, `1 h 5 min`."""
    if seconds is None or math.isinf(seconds):
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {remainder} s"


def timestamp(seconds: float | None) -> str:
    """Format a POSIX timestamp in local time."""
    try:
        return MISSING if seconds is None else f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # a year that datetime does not have
        return MISSING


def short_setting(value: object) -> str:
    """Format a setting, floats with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)


def time_unit(seconds: float) -> tuple[str, float]:
    """Choose a unit for an axis of this length: its name and its length in seconds."""
    if seconds < 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)


def join(names: Sequence[str]) -> str:
    """Join names as `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
