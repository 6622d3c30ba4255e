"""Parallel coordinates of a sweep, and its parameters and metric as axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from nn.io.coerce import drop_none, to_finite_float
from nn.report import formatting as fmt
from nn.report.charts.chart import (
    Chart,
    compact_floats,
    compact_integers,
    escape_label,
    log_ticks,
    needs_log_scale,
)
from nn.report.data.points import PointRecord, TrialRecord
from nn.report.data.sweep import SweepRecord
from nn.report.palette import colorscale
from nn.types import Array

MAX_CATEGORIES = 6
"""Number of different values up to which a numeric parameter is an axis of categories."""
NUM_BRUSH_STOPS = 81
"""Invisible ticks on a logarithmic axis, at which a brushed range can start and end."""
INVISIBLE_DIGITS = {ord("0"): "\u200b", ord("1"): "\u200c"}
"""Two zero-width characters."""


def point_noun(points: Sequence[PointRecord]) -> str:
    """Return the word for points, which have the number of their first trial."""
    return "point" if any(len(point["trials"]) > 1 for point in points) else "trial"


@dataclass(frozen=True)
class Dimension:
    """A parameter or the metric, with the position of each trial on a linear scale."""

    name: str
    values: Array
    ticks: Mapping[float, str]
    range: tuple[float, float]
    is_log: bool = False
    """Whether positions are decimal logarithms."""
    is_categorical: bool = False


def plot_parallel_coordinate(
    sweep: SweepRecord, trials: Sequence[PointRecord], names: Sequence[str]
) -> Chart | None:
    """Plot all points with a value as lines, colored by rank; None for fewer than two."""
    trials = [trial for trial in trials if trial["value"] is not None and trial["params"]]
    if len(trials) < 2 or not names:
        return None
    dimensions = [parameter_dimension(sweep, trials, name) for name in names]
    dimensions.append(metric_dimension(sweep, trials))
    max_label = max(8, 150 // len(dimensions))
    figure = go.Figure(layout_margin={"r": 56, "t": 48, "b": 16})
    figure.add_parcoords(
        line_color=compact_integers([sweep["num_trials"] - (t["rank"] or 0) for t in trials]),
        line_colorscale=colorscale("low", "middle", "high"),
        dimensions=[_to_plotly_dimension(dimension, max_label) for dimension in dimensions],
        uirevision=" ".join(names),  # brushes belong to positions, so they end with the order
    )
    figure.update_layout(margin_l=24 + 7 * max(map(len, dimensions[0].ticks.values())))
    return Chart(
        figure=figure,
        alt_text=f"Parallel coordinates of {len(trials)} {point_noun(trials)}s over "
        f"{fmt.join(names)} and {sweep['metric']}. The table of trials lists the same values.",
        height=420,
        min_width=len(dimensions) * (14 + 13 * max_label // 2),
        extra={"rows": [trial["trials"] for trial in trials]},
    )


def metric_dimension(sweep: SweepRecord, trials: Sequence[TrialRecord]) -> Dimension:
    """Return the metric as a dimension; every trial has a value."""
    values = [trial["value"] or 0.0 for trial in trials]
    return _numeric_dimension(sweep["metric"], values, needs_log_scale(values))


def parameter_dimension(sweep: SweepRecord, trials: Sequence[TrialRecord], name: str) -> Dimension:
    """Return a parameter as a logarithmic, linear or categorical dimension."""
    values = [trial["params"].get(name) for trial in trials]
    numbers = drop_none([to_finite_float(value) for value in values])
    if len(numbers) == len(values) and len(set(numbers)) > MAX_CATEGORIES:
        is_log = any(each["is_log"] for each in sweep["parameters"] if each["name"] == name)
        return _numeric_dimension(name, numbers, is_log and min(numbers) > 0)
    texts = [fmt.short_setting(value) for value in values]
    options = sorted(set(texts), key=_natural_sort_key)
    positions = {option: position for position, option in enumerate(options)}
    return Dimension(
        name,
        np.array([positions[text] for text in texts], np.float64),
        {position: fmt.truncate(option, 20) for option, position in positions.items()},
        (-0.3, len(options) - 0.7),
        is_categorical=True,
    )


def _numeric_dimension(name: str, values: Sequence[float], is_log: bool) -> Dimension:
    positions = np.log10(values) if is_log else np.array(values)
    low, high = float(positions.min()), float(positions.max())
    if is_log:
        ticks = {math.log10(tick): f"{tick:.3g}" for tick in log_ticks(min(values), max(values))}
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            ticks = {tick: f"{tick:.3g}" for tick in np.linspace(low, high, 5).tolist()}
    margin = 0.03 * (high - low or abs(low) or 1.0)
    return Dimension(name, positions, ticks, (low - margin, high + margin), is_log)


def _to_plotly_dimension(dimension: Dimension, max_label: int) -> go.parcoords.Dimension:
    """Convert a dimension; a linear one gets Plotly's own ticks, which zooming refines.

    With given ticks, Plotly snaps brushes to them, and their texts must all differ. A logarithmic
    axis therefore has many more ticks than one sees, with numbers in zero-width characters.
    """
    is_long = len(dimension.name) > max_label
    result = go.parcoords.Dimension(
        label=escape_label(dimension.name.split(".")[-1] if is_long else dimension.name, max_label),
        values=compact_floats(dimension.values),
        range=dimension.range,
        tickformat=".3~g",
    )
    if not (dimension.is_log or dimension.is_categorical):
        return result
    ticks = dict(dimension.ticks)
    if dimension.is_log:
        ticks = dict.fromkeys(np.linspace(*dimension.range, NUM_BRUSH_STOPS).tolist(), "") | ticks
    texts = [
        text + format(index, "b").translate(INVISIBLE_DIGITS)
        for index, (_, text) in enumerate(sorted(ticks.items()))
    ]
    return result.update(tickvals=sorted(ticks), ticktext=texts)


def _natural_sort_key(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
