"""The trials of a sweep as lines through their parameters to the metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import log_ticks, needs_log_scale
from nn.report.chart import Chart, escape_label
from nn.report.coerce import drop_none, to_finite_float
from nn.report.palette import colorscale, theme_color
from nn.report.sweep_data import SweepData, TrialData

NUM_BRUSH_STOPS = 81
INVISIBLE_DIGITS = {ord("0"): "\u200b", ord("1"): "\u200c"}
"""Two spaces of no width."""


def plot_parallel_coordinate(sweep: SweepData) -> Chart | None:
    """Lines through all parameters to the metric, each a trial."""
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
        "Every trial as a line",
        f"Parallel coordinates of {len(trials)} trials over {fmt.join(sweep.varied_params)} and "
        f"{sweep.metric.name}. The table of trials has the same figures.",
        [
            {
                "type": "parcoords",
                "line": {"color": ranks, "colorscale": colorscale("low", "middle", "high")},
                "dimensions": [_add_brush_stops(each) for each in dimensions],
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
        note="Drag along an axis to choose a range; a click on it takes all again.",
        extra_data={
            "brushes": {"rows": [trial.number for trial in trials], "table": "trials-table"}
        },
    )


def metric_dimension(sweep: SweepData, trials: Sequence[TrialData]) -> dict[str, Any]:
    """Make the axis of the metric."""
    values = [trial.value or 0.0 for trial in trials]
    return _numeric_dimension(sweep.metric.name, values, needs_log_scale(values))


def parameter_dimension(sweep: SweepData, name: str, trials: Sequence[TrialData]) -> dict[str, Any]:
    """Make an axis of a parameter, by its magnitude, its value, or its options."""
    given = [trial.params[name] for trial in trials]
    numbers = [to_finite_float(value) for value in given]
    if len(drop_none(numbers)) == len(given) and len(set(drop_none(numbers))) > 6:
        return _numeric_dimension(name, drop_none(numbers), sweep.has_log_scale(name))
    options = sorted(set(map(fmt.short_setting, given)), key=_natural_sort_key)
    places = {option: place for place, option in enumerate(options)}
    return {
        "label": escape_label(name, 24),
        "values": [places[fmt.short_setting(value)] for value in given],
        "tickvals": list(places.values()),
        "ticktext": [fmt.truncate(option, 20) for option in options],
        "range": [-0.3, len(options) - 0.7],
        "options": True,
    }


def _numeric_dimension(name: str, values: Sequence[float], is_log: bool) -> dict[str, Any]:
    """Make an axis of numbers, with ticks that are read at a glance."""
    if is_log and min(values) > 0:
        ends = math.log10(min(values)), math.log10(max(values))
        shown = [math.log10(value) for value in values]
        ticks = [math.log10(tick) for tick in log_ticks(min(values), max(values))]
    else:
        ends, shown = (min(values), max(values)), list(values)
        ticks = np.linspace(*ends, 5).tolist()
    span = ends[1] - ends[0] or abs(ends[0]) or 1.0
    written = [10**tick for tick in ticks] if is_log and min(values) > 0 else ticks
    return {
        "label": escape_label(name, 24),
        "values": [float(f"{value:.7g}") for value in shown],
        "tickvals": ticks,
        "ticktext": [f"{tick:.3g}" for tick in written],
        "range": [ends[0] - 0.03 * span, ends[1] + 0.03 * span],
    }


def _add_brush_stops(dimension: dict[str, Any]) -> dict[str, Any]:
    """Let a brush begin and end anywhere on an axis of numbers.

    Plotly lets it at ticks alone, whose texts must all differ: most of these are seen by nobody.
    """
    made = {key: value for key, value in dimension.items() if key != "options"}
    stops = dict(zip(dimension["tickvals"], dimension["ticktext"], strict=True))
    if "options" not in dimension:
        low, high = dimension["range"]
        stops = dict.fromkeys(np.linspace(low, high, NUM_BRUSH_STOPS).tolist(), "") | stops
    texts = [
        stops[stop] + format(number, "b").translate(INVISIBLE_DIGITS)
        for number, stop in enumerate(sorted(stops))
    ]
    return made | {"tickvals": sorted(stops), "ticktext": texts}


def _natural_sort_key(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
