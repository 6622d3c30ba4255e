"""Colours by what they stand for; the page's style sheet says what they are by day and by night."""

from __future__ import annotations

from typing import Any

Colour = dict[str, str]
CLASS_COLOURS = 10
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
"""Classes differ by colour and by symbol, for those who tell colours less well."""


def colour(role: str) -> Colour:
    """Name a colour by its role; the page puts in what the style sheet has for it."""
    return {"$": f"--{role}"}


def class_colour(number: int) -> Colour:
    """Give a class its colour."""
    return colour(f"class-{number % CLASS_COLOURS}")


def class_symbol(number: int) -> str:
    """Give a class its symbol."""
    return SYMBOLS[(number + number // CLASS_COLOURS) % len(SYMBOLS)]


def scale(*roles: str) -> list[list[Any]]:
    """Go from one colour to others in even steps."""
    return [[place / (len(roles) - 1), colour(role)] for place, role in enumerate(roles)]
