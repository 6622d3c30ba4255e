"""Colours by what they stand for; the page's style sheet says what they are by day and by night."""

from __future__ import annotations

from typing import Any

ThemeColor = dict[str, str]
NUM_CLASS_COLORS = 10
CLASS_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
"""Classes differ by colour and by symbol, for those who tell colours less well."""


def theme_color(role: str) -> ThemeColor:
    """Name a colour by its role; the page puts in what the style sheet has for it."""
    return {"$": f"--{role}"}


def class_color(number: int) -> ThemeColor:
    """Give a class its colour."""
    return theme_color(f"class-{number % NUM_CLASS_COLORS}")


def class_symbol(number: int) -> str:
    """Give a class its symbol."""
    return CLASS_SYMBOLS[(number + number // NUM_CLASS_COLORS) % len(CLASS_SYMBOLS)]


def colorscale(*roles: str) -> list[list[Any]]:
    """Go from one colour to others in even steps."""
    return [[place / (len(roles) - 1), theme_color(role)] for place, role in enumerate(roles)]
