"""Colors of pages and pictures by role, each for the light and the dark theme."""

from __future__ import annotations

COLORS = {
    "paper": ("#faf8f3", "#161513"),
    "raised": ("#fffefb", "#211f1c"),
    "ink": ("#1f1c18", "#ece7dd"),
    "muted": ("#6a6359", "#a39b8e"),
    "rule": ("#e2dccf", "#36322c"),
    "veil": ("#faf8f3cc", "#161513cc"),
    "accent": ("#0b5c8a", "#7cbdea"),
    "secondary": ("#b4531b", "#f09a62"),
    "tertiary": ("#a89f8f", "#75706a"),
    "train": ("#8a94a3", "#8d97a8"),
    "cell": ("#f1ede4", "#1f1d1a"),
    "wrong": ("#c4521a", "#f08a4b"),
    "low": ("#d3c9b6", "#57524a"),
    "middle": ("#7fa9bd", "#4b7f9f"),
    "high": ("#0b4f7a", "#a5d8fa"),
    "curve": ("#b9b0a088", "#6f6a6288"),
    "pruned": ("#8a6cc4", "#b79cf0"),
    "curve-pruned": ("#8a6cc477", "#b79cf077"),
    "paused": ("#1f7a70", "#6cc7ba"),
    "curve-paused": ("#1f7a7077", "#6cc7ba77"),
    "warn": ("#fbeedd", "#33261a"),
    "class-0": ("#0b6aa8", "#5aa9e0"),
    "class-1": ("#d98b00", "#f0b13c"),
    "class-2": ("#0a8a63", "#37bd91"),
    "class-3": ("#c0609a", "#e39ac6"),
    "class-4": ("#4aa7dd", "#9fd6f7"),
    "class-5": ("#c84d0b", "#f07c40"),
    "class-6": ("#a39a00", "#e8df5a"),
    "class-7": ("#55504a", "#bdb6ab"),
    "class-8": ("#6b4fb3", "#a994ec"),
    "class-9": ("#8a5630", "#c99469"),
}
"""Light and dark color by role; no two roles share a light color, by which the dark one is found.

The CSS variables of the pages are made from these too.
"""
NUM_CLASS_COLORS = 10
CLASS_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
"""Classes differ in color and in symbol, for readers with color vision deficiency."""
DASHES = ("solid", "dash", "dot", "dashdot")


def color(role: str) -> str:
    """Return the color of a role in the light theme, which the page's script adapts to the dark."""
    return COLORS[role][0]


def class_color(number: int) -> str:
    """Return the color of a class; colors repeat every `NUM_CLASS_COLORS` classes."""
    return color(f"class-{number % NUM_CLASS_COLORS}")


def class_dash(number: int) -> str:
    """Return the dash style of a line; it changes each time the colors repeat."""
    return DASHES[number // NUM_CLASS_COLORS % len(DASHES)]


def class_symbol(number: int) -> str:
    """Return the marker symbol of a class; it shifts by one each time the colors repeat."""
    return CLASS_SYMBOLS[(number + number // NUM_CLASS_COLORS) % len(CLASS_SYMBOLS)]


def colorscale(*roles: str) -> list[tuple[float, str]]:
    """Build a Plotly color scale with the colors at equal distances."""
    return [(index / (len(roles) - 1), color(role)) for index, role in enumerate(roles)]
