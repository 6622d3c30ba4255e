"""Parallel coordinate plot of a sweep: each trial is a line from its parameters to the metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import log_ticks, needs_log_scale
from nn.report.chart import Chart, Trace, escape_label
from nn.report.coerce import drop_none, to_finite_float
from nn.report.palette import colorscale, theme_color
from nn.report.sweep_data import SweepData, TrialData

NUM_BRUSH_STOPS = 81
"""Invisible ticks on a numeric axis, at which a brushed range can start and end."""
INVISIBLE_DIGITS = {ord("0"): "\u200b", ord("1"): "\u200c"}
"""Two zero-width characters."""


class Dimension(TypedDict):
    """An axis of the plot; one of named options is categorical."""

    label: str
    values: list[float]
    tickvals: list[float]
    ticktext: list[str]
    range: list[float]
    options: NotRequired[bool]


def plot_parallel_coordinate(sweep: SweepData) -> Chart | None:
    """Plot all trials with a value as lines, colored by rank; None for fewer than two."""
    trials = [trial for trial in sweep.scored_trials if trial.params]
    if len(trials) < 2 or not sweep.varied_params:
        return None
    dimensions = [parameter_dimension(sweep, name, trials) for name in sweep.varied_params]
    dimensions.append(metric_dimension(sweep, trials))
    values = [trial.value or 0.0 for trial in trials]
    ranks = np.argsort(
        np.argsort([-sweep.metric.minimization_sign * value for value in values])
    ).tolist()
    return Chart(
        "parallel",
        "Trials as lines",
        f"Parallel coordinates of {len(trials)} trials over {fmt.join(sweep.varied_params)} and "
        f"{sweep.metric.name}. The table of trials lists the same values.",
        [
            {
                "type": "parcoords",
                "line": {"color": ranks, "colorscale": colorscale("low", "middle", "high")},
                "dimensions": [_add_invisible_ticks(dimension) for dimension in dimensions],
                "labelfont": {"color": theme_color("ink"), "size": 13},
                "tickfont": {"color": theme_color("muted"), "size": 11},
                "rangefont": {"color": "rgba(0,0,0,0)", "size": 1},
                "unselected": {"line": {"color": theme_color("rule"), "opacity": 0.35}},
            }
        ],
        {
            "margin": {
                "l": 24 + 7 * max(map(len, dimensions[0]["ticktext"])),
                "r": 56,
                "t": 48,
                "b": 16,
            }
        },
        height=420,
        legend=[("high", "best"), ("low", "worst")],
        note="Drag along an axis to select a range of values; click the axis to reset it.",
        extra_data={
            "brushes": {"rows": [trial.number for trial in trials], "table": "trials-table"}
        },
    )


def metric_dimension(sweep: SweepData, trials: Sequence[TrialData]) -> Dimension:
    """Build the axis of the metric."""
    values = [trial.value or 0.0 for trial in trials]
    return _numeric_dimension(sweep.metric.name, values, needs_log_scale(values))


def parameter_dimension(sweep: SweepData, name: str, trials: Sequence[TrialData]) -> Dimension:
    """Build the axis of a parameter: logarithmic, linear, or categorical up to six values."""
    values = [trial.params[name] for trial in trials]
    numbers = [to_finite_float(value) for value in values]
    if len(drop_none(numbers)) == len(values) and len(set(drop_none(numbers))) > 6:
        return _numeric_dimension(name, drop_none(numbers), sweep.has_log_scale(name))
    options = sorted(set(map(fmt.short_setting, values)), key=_natural_sort_key)
    positions = {option: position for position, option in enumerate(options)}
    return {
        "label": escape_label(name, 24),
        "values": [positions[fmt.short_setting(value)] for value in values],
        "tickvals": list(positions.values()),
        "ticktext": [fmt.truncate(option, 20) for option in options],
        "range": [-0.3, len(options) - 0.7],
        "options": True,
    }


def _numeric_dimension(name: str, values: Sequence[float], is_log: bool) -> Dimension:
    """Build a numeric axis with at most six labeled ticks, round ones if logarithmic."""
    if is_log and min(values) > 0:
        low, high = math.log10(min(values)), math.log10(max(values))
        positions = [math.log10(value) for value in values]
        ticks = [math.log10(tick) for tick in log_ticks(min(values), max(values))]
        tick_values = [10**tick for tick in ticks]
    else:
        low, high, positions = min(values), max(values), list(values)
        ticks = tick_values = np.linspace(low, high, 5).tolist()
    span = high - low or abs(low) or 1.0
    return {
        "label": escape_label(name, 24),
        "values": [float(f"{position:.7g}") for position in positions],
        "tickvals": ticks,
        "ticktext": [f"{value:.3g}" for value in tick_values],
        "range": [low - 0.03 * span, high + 0.03 * span],
    }


def _add_invisible_ticks(dimension: Dimension) -> Trace:
    """Add invisible ticks to a numeric axis, so that a brush can start and end anywhere.

    Plotly snaps a brush to the given ticks, whose texts must all differ: each text is made unique
    by its index in zero-width characters.
    """
    label, values, limits = dimension["label"], dimension["values"], dimension["range"]
    stops = dict(zip(dimension["tickvals"], dimension["ticktext"], strict=True))
    if "options" not in dimension:
        low, high = limits
        stops = dict.fromkeys(np.linspace(low, high, NUM_BRUSH_STOPS).tolist(), "") | stops
    texts = [
        stops[stop] + format(index, "b").translate(INVISIBLE_DIGITS)
        for index, stop in enumerate(sorted(stops))
    ]
    ticks = sorted(stops)
    return {"label": label, "values": values, "tickvals": ticks, "ticktext": texts, "range": limits}


def _natural_sort_key(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
