"""Theme colors, named by role; page.css defines their values for the light and dark theme."""

from __future__ import annotations

ThemeColor = dict[str, str]
NUM_CLASS_COLORS = 10
CLASS_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
"""Classes differ in color and in symbol, for readers with color vision deficiency."""


def theme_color(role: str) -> ThemeColor:
    """Refer to a color by its role; charts.js resolves it to the CSS variable's value."""
    return {"$": f"--{role}"}


def class_color(number: int) -> ThemeColor:
    """Return the color of a class; colors repeat every `NUM_CLASS_COLORS` classes."""
    return theme_color(f"class-{number % NUM_CLASS_COLORS}")


def class_symbol(number: int) -> str:
    """Return the marker symbol of a class; it shifts by one each time the colors repeat."""
    return CLASS_SYMBOLS[(number + number // NUM_CLASS_COLORS) % len(CLASS_SYMBOLS)]


def colorscale(*roles: str) -> list[list[float | ThemeColor]]:
    """Build a Plotly color scale with the colors at equal distances."""
    return [[index / (len(roles) - 1), theme_color(role)] for index, role in enumerate(roles)]
