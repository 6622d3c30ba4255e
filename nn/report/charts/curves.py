"""Charts of single metrics: of the runs in a comparison, and of a run of another program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from nn.io.coerce import drop_none
from nn.report import formatting as fmt
from nn.report.charts.chart import Chart, escape_label, set_epoch_axis
from nn.report.data.run import CurveRecord, progress_axes
from nn.report.palette import NUM_CLASS_COLORS, class_color, color
from nn.runs.history import minmax_downsample
from nn.tracking.wandb_record import WandbMetric

LINE_DASHES = ("solid", "dash", "dot", "dashdot")
MAX_POINTS = 6000
"""Points of all curves in a chart after downsampling."""
MAX_UNIFIED_RUNS = 12
"""Runs up to which the values of all of them are shown under the pointer."""


def plot_metric_of_runs(
    key: str, title: str, names: Sequence[str], curves: Sequence[CurveRecord]
) -> Chart | None:
    """Plot a metric of each run by epoch, time or samples; None if no run has it."""
    figure, alt_text = go.Figure(), [f"{title} by epoch."]
    x_axes: list[dict[str, list[float]]] = []
    number_format = ".2%" if "accuracy" in key else ".4~g"
    max_points = max(50, MAX_POINTS // len(names))
    for index, (name, curve) in enumerate(zip(names, curves, strict=True)):
        values = curve["columns"].get(key, [])
        if not (finite := drop_none(values)):
            continue
        kept = minmax_downsample([values], max_points)
        axes = {"epoch": curve["epochs"], **progress_axes(curve)}
        x_axes.append({axis: [every[i] for i in kept] for axis, every in axes.items()})
        figure.add_scatter(
            x=x_axes[-1]["epoch"],
            y=[values[i] for i in kept],
            mode="lines" if len(kept) > 1 else "markers",
            name=escape_label(name, 30),
            connectgaps=True,
            line_color=class_color(index),
            line_dash=LINE_DASHES[index // NUM_CLASS_COLORS % len(LINE_DASHES)],
            hovertemplate=f"%{{y:{number_format}}}",
        )
        alt_text.append(f"{name}: from {fmt.number(finite[0])} to {fmt.number(finite[-1])}.")
    if not x_axes:
        return None
    set_epoch_axis(figure, max(len(curve["epochs"]) for curve in curves))
    figure.update_layout(hovermode="x unified" if len(x_axes) <= MAX_UNIFIED_RUNS else "closest")
    if "accuracy" in key:
        figure.update_yaxes(tickformat="~%")
    shared = [axis for axis in x_axes[0] if all(axis in axes for axes in x_axes)]
    return Chart(
        title=title,
        figure=figure,
        alt_text=" ".join(alt_text[: MAX_UNIFIED_RUNS + 1]),
        x_axes={axis: [axes[axis] for axes in x_axes] for axis in shared},
        has_log_scale="loss" in key,
        has_smoothing=True,
    )


def plot_metric(metric: WandbMetric) -> Chart:
    """Plot a metric over the x axis that the program has chosen."""
    x_name, finite = metric["x_metric"].removeprefix("_"), drop_none(metric["y"])
    figure = go.Figure()
    figure.add_scatter(
        x=np.array(metric["x"]),
        y=np.array(metric["y"], np.float64),
        mode="lines" if len(metric["x"]) > 1 else "markers",
        name=escape_label(metric["name"]),
        connectgaps=True,
        line_color=color("accent"),
        hovertemplate="%{y:.4~g}<extra></extra>",
    )
    figure.update_layout(hovermode="x unified", xaxis_title_text=escape_label(x_name))
    return Chart(
        title=fmt.truncate(metric["name"], 60),
        figure=figure,
        alt_text=f"{metric['name']} by {x_name}, "
        f"from {fmt.number(finite[0])} to {fmt.number(finite[-1])}.",
        height=220,
        has_log_scale=min(finite) > 0,
        has_smoothing=True,
    )
