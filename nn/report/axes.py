"""Plotly axes for epochs, classes, categories and logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nn.report.chart import Layout, escape_label

MAX_NAMED_CLASSES = 40
"""Number of classes up to which every class is named on an axis."""


def class_axis(names: Sequence[str]) -> Layout:
    """Build an axis of class names, thinned out to at most `MAX_NAMED_CLASSES`."""
    step = -(-len(names) // MAX_NAMED_CLASSES)
    positions = list(range(0, len(names), step))
    return {
        "tickmode": "array",
        "tickvals": positions,
        "ticktext": [escape_label(names[position], 14) for position in positions],
        "zeroline": False,
        "showgrid": False,
    }


def epoch_axis(num_epochs: int) -> Layout:
    """Build an epoch axis with integer ticks."""
    ticks = {"dtick": 1} if num_epochs <= 8 else {"nticks": 8}
    return {"title": {"text": "epoch"}, "hoverformat": ",d", "tickformat": ",~f", **ticks}


def category_axis(names: Sequence[str]) -> Layout:
    """Build an axis of named categories at positions 0, 1, 2, ..."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "showgrid": False,
        "zeroline": False,
    }


def log_axis(values: Sequence[float]) -> Layout:
    """Build a logarithmic axis with up to six round ticks."""
    ticks = log_ticks(min(values), max(values))
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{tick:.3g}" for tick in ticks],
    }


def log_ticks(low: float, high: float) -> list[float]:
    """Choose two to six round ticks between two positive numbers, denser for narrow ranges."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low * 0.97 <= tick <= high * 1.03]
        if len(ticks) >= 3:
            return ticks[:: -(-len(ticks) // 6)]
    return [low, high]


def needs_log_scale(values: Sequence[float]) -> bool:
    """Whether values are positive and span more than a factor of ten."""
    return min(values) > 0 and max(values) > 10 * min(values)
