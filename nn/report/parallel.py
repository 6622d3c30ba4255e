"""The trials of a sweep as lines through their parameters to the metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import differ_widely, magnitudes
from nn.report.chart import Chart, label
from nn.report.coerce import known, number
from nn.report.palette import colour, scale
from nn.report.sweep_data import SweepStory, Trial

STOPS = 81
UNSEEN = {ord("0"): "\u200b", ord("1"): "\u200c"}
"""Two spaces of no width."""


def chart(story: SweepStory) -> Chart | None:
    """Lines through all parameters to the metric, each a trial."""
    trials = [trial for trial in story.scored if trial.point]
    if len(trials) < 2 or not story.varied:
        return None
    dimensions = [parallel_axis(story, name, trials) for name in story.varied]
    dimensions.append(axis_of_metric(story, trials))
    values = [trial.value or 0.0 for trial in trials]
    ranks = np.argsort(np.argsort([-story.metric.sign * value for value in values])).tolist()
    return Chart(
        "parallel",
        "Every trial as a line",
        f"Parallel coordinates of {len(trials)} trials over {fmt.listed(story.varied)} and "
        f"{story.metric.name}. The table of trials has the same figures.",
        [
            {
                "type": "parcoords",
                "line": {"color": ranks, "colorscale": scale("low", "middle", "high")},
                "dimensions": [_brushable(each) for each in dimensions],
                "labelfont": {"color": colour("ink"), "size": 13},
                "tickfont": {"color": colour("muted"), "size": 11},
                "rangefont": {"color": "rgba(0,0,0,0)", "size": 1},
                "unselected": {"line": {"color": colour("rule"), "opacity": 0.35}},
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
        keys=[("high", "best"), ("low", "worst")],
        note="Drag along an axis to choose a range; a click on it takes all again.",
        more={"brushes": {"rows": [trial.number for trial in trials], "table": "trials-table"}},
    )


def axis_of_metric(story: SweepStory, trials: Sequence[Trial]) -> dict[str, Any]:
    """Make the axis of the metric."""
    values = [trial.value or 0.0 for trial in trials]
    return _numeric(story.metric.name, values, differ_widely(values))


def parallel_axis(story: SweepStory, name: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Make an axis of a parameter, by its magnitude, its value, or its options."""
    given = [trial.point[name] for trial in trials]
    numbers = [number(value) for value in given]
    if len(known(numbers)) == len(given) and len(set(known(numbers))) > 6:
        return _numeric(name, known(numbers), story.logarithmic(name))
    options = sorted(set(map(fmt.brief, given)), key=_natural)
    places = {option: place for place, option in enumerate(options)}
    return {
        "label": label(name, 24),
        "values": [places[fmt.brief(value)] for value in given],
        "tickvals": list(places.values()),
        "ticktext": [fmt.clipped(option, 20) for option in options],
        "range": [-0.3, len(options) - 0.7],
        "options": True,
    }


def _numeric(name: str, values: Sequence[float], logarithmic: bool) -> dict[str, Any]:
    """Make an axis of numbers, with ticks that are read at a glance."""
    if logarithmic and min(values) > 0:
        ends = math.log10(min(values)), math.log10(max(values))
        shown = [math.log10(value) for value in values]
        ticks = [math.log10(tick) for tick in magnitudes(min(values), max(values))]
    else:
        ends, shown = (min(values), max(values)), list(values)
        ticks = np.linspace(*ends, 5).tolist()
    span = ends[1] - ends[0] or abs(ends[0]) or 1.0
    written = [10**tick for tick in ticks] if logarithmic and min(values) > 0 else ticks
    return {
        "label": label(name, 24),
        "values": [float(f"{value:.7g}") for value in shown],
        "tickvals": ticks,
        "ticktext": [f"{tick:.3g}" for tick in written],
        "range": [ends[0] - 0.03 * span, ends[1] + 0.03 * span],
    }


def _brushable(axis: dict[str, Any]) -> dict[str, Any]:
    """Let a brush begin and end anywhere on an axis of numbers.

    Plotly lets it at ticks alone, whose texts must all differ: most of these are seen by nobody.
    """
    made = {key: value for key, value in axis.items() if key != "options"}
    stops = dict(zip(axis["tickvals"], axis["ticktext"], strict=True))
    if "options" not in axis:
        low, high = axis["range"]
        stops = dict.fromkeys(np.linspace(low, high, STOPS).tolist(), "") | stops
    texts = [
        stops[stop] + format(number, "b").translate(UNSEEN)
        for number, stop in enumerate(sorted(stops))
    ]
    return made | {"tickvals": sorted(stops), "ticktext": texts}


def _natural(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
