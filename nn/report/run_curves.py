"""Per-epoch charts of a run: loss, accuracy, learning rate, norms and time."""

from __future__ import annotations

from collections.abc import Sequence

from nn.report import formatting as fmt
from nn.report.axes import epoch_axis
from nn.report.chart import Chart, Layout, Trace, View, line_trace, vline_layout
from nn.report.coerce import drop_none
from nn.report.palette import theme_color
from nn.report.run_data import SPLITS, RunData
from nn.report.thinning import minmax_downsample

MAX_POINTS = 2000
"""Points per curve after downsampling."""


def plot_learning_curves(run: RunData) -> list[Chart]:
    """Plot training and validation loss and accuracy, with the selected epoch marked."""
    charts = []
    for metric, number_format, axis in (
        ("loss", ".4f", {}),
        ("accuracy", ".2%", {"tickformat": "~%"}),
    ):
        keys = [(f"{split}/{metric}", split) for split in ("train", "val")]
        available = [(key, split) for key, split in keys if drop_none(run.curve(key))]
        if not available:
            continue
        traces, title = _line_traces(run, available, number_format), metric.capitalize()
        positive = all(value > 0 for key, _ in available for value in drop_none(run.curve(key)))
        logarithmic = View("Log", layout={"yaxis": {"type": "log"}})
        linear = View("Linear", layout={"yaxis": {"type": "linear"}})
        charts.append(
            Chart(
                metric,
                title,
                f"{title} by epoch. {_describe_curves(run, available)}",
                traces,
                {"yaxis": axis, **_epoch_layout(run)},
                legend=[(split, SPLITS[split]) for _, split in available],
                views=[linear, logarithmic] if metric == "loss" and positive else [],
            )
        )
    return charts


def plot_lr_and_norms(run: RunData) -> list[Chart]:
    """Plot the learning rate and the norms of gradient and weights by epoch."""
    charts = []
    for name, title, key, color in (
        ("lr", "Learning rate", "lr", "series-1"),
        ("gradient", "Gradient norm", "norm/gradient", "series-2"),
        ("weights", "Weight norm", "norm/weights", "series-3"),
    ):
        if not drop_none(run.curve(key)):
            continue
        x, (y,) = downsample_curves(run, [key])
        trace = line_trace(title.lower(), x, y, theme_color(color), "%{y:.4~g}")
        charts.append(
            Chart(
                name,
                title,
                f"{title} by epoch, from {fmt.number(drop_none(y)[0])} "
                f"to {fmt.number(drop_none(y)[-1])}.",
                [trace],
                {**_epoch_layout(run, label_selected=False), "yaxis": {"rangemode": "tozero"}},
                height=200,
            )
        )
    return charts


def plot_epoch_times(run: RunData) -> Chart | None:
    """Plot training and validation time per epoch, stacked; None if neither is recorded."""
    keys = [("seconds", "training", "train"), ("seconds/validation", "validation", "val")]
    available = [entry for entry in keys if drop_none(run.curve(entry[0]))]
    if not available:
        return None
    x, columns = downsample_curves(run, [key for key, _, _ in available])
    traces = [
        line_trace(name, x, y, theme_color(color), "%{y:.3~g} s") | {"stackgroup": "one"}
        for (_, name, color), y in zip(available, columns, strict=True)
    ]
    return Chart(
        "timing",
        "Seconds per epoch",
        f"Time per epoch; total {fmt.duration(run.training_seconds)}.",
        traces,
        {**_epoch_layout(run, mark_selected=False), "yaxis": {"rangemode": "tozero"}},
        height=200,
        legend=[(color, name) for _, name, color in available],
    )


def downsample_curves(
    run: RunData, keys: Sequence[str], max_points: int = MAX_POINTS
) -> tuple[list[float], list[list[float | None]]]:
    """Return epochs and history columns, downsampled to about `max_points` points."""
    columns = [run.curve(key) for key in keys]
    kept = minmax_downsample(columns, max_points)
    return [run.epochs[index] for index in kept], [
        [values[index] for index in kept] for values in columns
    ]


def _line_traces(
    run: RunData, available: Sequence[tuple[str, str]], number_format: str
) -> list[Trace]:
    x, columns = downsample_curves(run, [key for key, _ in available])
    return [
        line_trace(SPLITS[split], x, y, theme_color(split), f"%{{y:{number_format}}}")
        for (_, split), y in zip(available, columns, strict=True)
    ]


def _epoch_layout(run: RunData, mark_selected: bool = True, label_selected: bool = True) -> Layout:
    marked = mark_selected and run.selected_epoch is not None and len(run.epochs) > 1
    return {
        "xaxis": epoch_axis(len(run.epochs)),
        "hovermode": "x unified",
        **(
            vline_layout(
                run.selected_epoch or 0, _selected_epoch_label(run) if label_selected else ""
            )
            if marked
            else {}
        ),
    }


def _selected_epoch_label(run: RunData) -> str:
    return f"selected: {run.selected_epoch:,.0f}"


def _describe_curves(run: RunData, available: Sequence[tuple[str, str]]) -> str:
    return " ".join(
        f"The {SPLITS[split]} curve goes from {fmt.number(values[0])} to {fmt.number(values[-1])}."
        for key, split in available
        for values in [drop_none(run.curve(key))]
    )
