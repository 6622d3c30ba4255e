"""Axes of epochs, of classes, and of figures that differ by orders of magnitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nn.report.chart import escape_label

MAX_NAMED_CLASSES = 40
"""Classes up to which each has its name at a chart's edge."""


def class_axis(names: Sequence[str]) -> dict[str, object]:
    """Write the names of classes at an axis, as many as there is room for."""
    every = -(-len(names) // MAX_NAMED_CLASSES)
    places = list(range(0, len(names), every))
    return {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [escape_label(names[place], 14) for place in places],
        "zeroline": False,
        "showgrid": False,
    }


def epoch_axis(num_epochs: int) -> dict[str, object]:
    """Make the axis of epochs, which are whole numbers."""
    ticks = {"dtick": 1} if num_epochs <= 8 else {"nticks": 8}
    return {"title": {"text": "epoch"}, "hoverformat": ",d", "tickformat": ",~f", **ticks}


def category_axis(names: Sequence[str]) -> dict[str, Any]:
    """Make an axis of options, which have names."""
    return {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": names,
            "showgrid": False, "zeroline": False}  # fmt: skip


def log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Make a logarithmic axis with round numbers at it, not too many."""
    ticks = log_ticks(min(values), max(values))
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{tick:.3g}" for tick in ticks],
    }


def log_ticks(low: float, high: float) -> list[float]:
    """Choose round numbers between two, denser where there is less between them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [step * 10.0**power for power in powers for step in steps]
        found = [each for each in found if low * 0.97 <= each <= high * 1.03]
        if len(found) >= 3:
            return found[:: -(-len(found) // 6)]
    return [low, high]


def needs_log_scale(values: Sequence[float]) -> bool:
    """Whether values differ by orders of magnitude."""
    return min(values) > 0 and max(values) > 10 * min(values)
