"""Learning curves of a run and of several runs, and the metrics of another program's run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import plotly.graph_objects as go

from nn.io.coerce import drop_none
from nn.report import formatting as fmt
from nn.report.charts.chart import Chart, add_band, escape_label, set_epoch_axis
from nn.report.data.run import CurveRecord, RunRecord, thin_curves
from nn.report.palette import class_color, class_dash, color
from nn.runs.history import minmax_downsample
from nn.runs.seeds import average_curves
from nn.tracking.wandb_record import WandbMetric

MAX_POINTS, MAX_POINTS_OF_RUNS = 2000, 6000
"""Points after downsampling: per curve of a run, and of all curves in a comparison."""
MIN_SMOOTHED_EPOCHS = 10
"""Epochs from which on curves can be smoothed."""
MAX_UNIFIED_RUNS = 12
"""Runs up to which the values of all of them are shown under the pointer."""
SERIES = {
    "train/loss": ("training", "train"),
    "train/accuracy": ("training", "train"),
    "val/loss": ("validation", "accent"),
    "val/accuracy": ("validation", "accent"),
    "lr": ("learning rate", "accent"),
    "norm/gradient": ("gradient norm", "secondary"),
    "norm/weights": ("weight norm", "tertiary"),
    "seconds": ("training", "train"),
    "seconds/validation": ("validation", "accent"),
}
"""Name and color role by column of the history."""


def plot_curves(record: RunRecord, curves: CurveRecord) -> dict[str, Chart | None]:
    """Plot the history by epoch: loss, accuracy, norms, time; None for what is not recorded."""
    plot = partial(_plot_columns, record, curves)
    return {
        "loss": plot("train/loss", "val/loss", number_format=".4f", is_main=True),
        "accuracy": plot("train/accuracy", "val/accuracy", number_format=".2%", is_main=True),
        "lr": plot("lr"),
        "gradient": plot("norm/gradient"),
        "weights": plot("norm/weights"),
        "timing": plot("seconds", "seconds/validation", is_stacked=True),
    }


def _plot_columns(
    record: RunRecord,
    curves: CurveRecord,
    *keys: str,
    number_format: str = ".4~g",
    is_main: bool = False,
    is_stacked: bool = False,
) -> Chart | None:
    axes, columns = thin_curves(curves, keys, MAX_POINTS)
    if not columns:
        return None
    figure, num_epochs = go.Figure(layout_hovermode="x unified"), len(curves["epochs"])
    for key, values in columns.items():
        name, role = SERIES[key]
        stack = "one" if is_stacked else None
        _add_line(figure, name, axes["epoch"], values, number_format, color(role), stackgroup=stack)
    set_epoch_axis(figure, num_epochs)
    if not is_main:
        figure.update_yaxes(rangemode="tozero")
    elif "%" in number_format:
        figure.update_yaxes(tickformat="~%")
    selected = record["selected_epoch"]
    if selected is not None and num_epochs > 1 and not is_stacked:
        figure.add_vline(selected, layer="below")
        if is_main:
            label = f"selected: {selected:,.0f}"
            figure.add_annotation(x=selected, y=1, yref="paper", yanchor="bottom", text=label)
            figure.update_layout(margin_t=22)
    return Chart(
        figure=figure,
        alt_text=_describe({SERIES[key][0]: values for key, values in columns.items()}),
        height=300 if is_main else 200,
        legend=[SERIES[key][::-1] for key in columns] if is_main or is_stacked else (),
        x_axes=axes if is_main else {},
        has_log_scale=number_format == ".4f" and _is_positive(*columns.values()),
        has_smoothing=is_main and num_epochs >= MIN_SMOOTHED_EPOCHS,
    )


def plot_metric_of_runs(
    key: str, names: Sequence[str], curves: Sequence[CurveRecord]
) -> Chart | None:
    """Plot a metric of each run by epoch, time or samples; None if no run has it."""
    number_format = ".2%" if "accuracy" in key else ".4~g"
    max_points = max(50, MAX_POINTS_OF_RUNS // len(names))
    figure, axes, columns = go.Figure(), [], {}
    for index, (name, curve) in enumerate(zip(names, curves, strict=True)):
        if drop_none(curve["columns"].get(key, [])):
            x, y = thin_curves(curve, [key], max_points)
            line_color, dash = class_color(index), class_dash(index)
            _add_line(figure, name, x["epoch"], y[key], number_format, line_color, dash=dash)
            axes.append(x)
            columns[name] = y[key]
    if not axes:
        return None
    set_epoch_axis(figure, max(len(curve["epochs"]) for curve in curves))
    figure.update_layout(hovermode="x unified" if len(axes) <= MAX_UNIFIED_RUNS else "closest")
    if "accuracy" in key:
        figure.update_yaxes(tickformat="~%")
    shared = [axis for axis in axes[0] if all(axis in each for each in axes)]
    return Chart(
        figure=figure,
        alt_text=_describe(columns),
        x_axes={axis: [each[axis] for each in axes] for axis in shared},
        has_log_scale="loss" in key,
        has_smoothing=True,
    )


def plot_mean_metric(
    key: str, names: Sequence[str], groups: Sequence[Sequence[CurveRecord]]
) -> Chart | None:
    """Plot the mean of a metric over each group of runs by epoch, with a band of their spread."""
    figure, means = go.Figure(layout_hovermode="x unified"), {}
    for index, (name, group) in enumerate(zip(names, groups, strict=True)):
        known = [(each["epochs"], each["columns"][key]) for each in group if key in each["columns"]]
        curve = average_curves(known)
        kept = minmax_downsample([curve.mean.tolist()], max(50, MAX_POINTS_OF_RUNS // len(names)))
        x, y, std = (column[kept].tolist() for column in curve)
        if x:
            line_color, number_format = class_color(index), ".2%" if "accuracy" in key else ".4~g"
            add_band(figure, x, y, std, line_color)
            _add_line(figure, name, x, y, number_format, line_color, dash=class_dash(index))
            means[name] = y
    if not means:
        return None
    set_epoch_axis(figure, max(len(curve["epochs"]) for group in groups for curve in group))
    if "accuracy" in key:
        figure.update_yaxes(tickformat="~%")
    return Chart(
        figure=figure,
        alt_text=_describe(means),
        has_log_scale="loss" in key,
        has_smoothing=True,
    )


def plot_metric(metric: WandbMetric) -> Chart:
    """Plot a metric over the x axis that the program has chosen."""
    x_name = metric["x_metric"].removeprefix("_")
    figure = go.Figure(layout={"hovermode": "x unified", "xaxis_title_text": escape_label(x_name)})
    _add_line(figure, metric["name"], metric["x"], metric["y"], ".4~g", color("accent"))
    return Chart(
        figure=figure,
        alt_text=_describe({f"by {x_name}": metric["y"]}),
        height=220,
        has_log_scale=_is_positive(metric["y"]),
        has_smoothing=True,
    )


def _add_line(
    figure: go.Figure,
    name: str,
    x: Sequence[float],
    y: Sequence[float | None],
    number_format: str,
    line_color: str,
    *,
    dash: str = "solid",
    stackgroup: str | None = None,
) -> None:
    """Add a line, or a marker for a single point."""
    figure.add_scatter(
        x=np.array(x),
        y=np.array(y, np.float64),
        mode="lines" if len(x) > 1 else "markers",
        name=escape_label(name, 30),
        connectgaps=True,
        line={"color": line_color, "dash": dash},
        stackgroup=stackgroup,
        hovertemplate=f"%{{y:{number_format}}}",
    )


def _describe(columns: Mapping[str, Sequence[float | None]]) -> str:
    """Return the first and the last value of each curve by its name."""
    known = {name: drop_none(y) for name, y in [*columns.items()][:MAX_UNIFIED_RUNS]}
    ends = [f"{name} from {fmt.number(y[0])} to {fmt.number(y[-1])}" for name, y in known.items()]
    return f"Line chart: {', '.join(ends)}."


def _is_positive(*columns: Sequence[float | None]) -> bool:
    return all(min(drop_none(values)) > 0 for values in columns)
