"""The curves of a run by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from nn.report import formatting as fmt
from nn.report.axes import epoch_axis
from nn.report.chart import Chart, Trace, View, line_trace, vline_layout
from nn.report.coerce import drop_none
from nn.report.palette import theme_color
from nn.report.run_data import SPLITS, RunData
from nn.report.thinning import minmax_downsample

MAX_POINTS = 2000
"""Points that a curve of a run keeps."""


def plot_learning_curves(run: RunData) -> list[Chart]:
    """Loss and accuracy by epoch, the kept epoch marked."""
    charts = []
    for what, form, axis in (("loss", ".4f", {}), ("accuracy", ".2%", {"tickformat": "~%"})):
        keys = [(f"{part}/{what}", part) for part in ("train", "val")]
        drawn = [(key, part) for key, part in keys if drop_none(run.curve(key))]
        if not drawn:
            continue
        traces, title = _line_traces(run, drawn, form), what.capitalize()
        positive = all(value > 0 for key, _ in drawn for value in drop_none(run.curve(key)))
        logarithmic = View("Log", layout={"yaxis": {"type": "log"}})
        linear = View("Linear", layout={"yaxis": {"type": "linear"}})
        charts.append(
            Chart(
                what,
                title,
                f"{title} by epoch. {_describe_curves(run, drawn)}",
                traces,
                {"yaxis": axis, **_epoch_layout(run)},
                legend=[(part, SPLITS[part]) for _, part in drawn],
                views=[linear, logarithmic] if what == "loss" and positive else [],
            )
        )
    return charts


def plot_lr_and_norms(run: RunData) -> list[Chart]:
    """Learning rate and norms by epoch."""
    charts = []
    for name, title, keys in (
        ("lr", "Learning rate", [("lr", "learning rate", "series-1")]),
        ("gradient", "Norm of the gradient", [("norm/gradient", "gradient", "series-2")]),
        ("weights", "Norm of the weights", [("norm/weights", "weights", "series-3")]),
    ):
        (key, called, ink) = keys[0]
        if not drop_none(run.curve(key)):
            continue
        x, (y,) = downsample_curves(run, [key])
        trace = line_trace(called, x, y, theme_color(ink), "%{y:.4~g}")
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
    """The seconds that each epoch took."""
    keys = [("seconds", "training", "train"), ("seconds/validation", "validation", "val")]
    drawn = [each for each in keys if drop_none(run.curve(each[0]))]
    if not drawn:
        return None
    x, columns = downsample_curves(run, [key for key, _, _ in drawn])
    traces = [
        line_trace(called, x, y, theme_color(ink), "%{y:.3~g} s") | {"stackgroup": "one"}
        for (_, called, ink), y in zip(drawn, columns, strict=True)
    ]
    return Chart(
        "timing",
        "Seconds of each epoch",
        f"Training and validation took {fmt.duration(run.training_seconds)} in all.",
        traces,
        {**_epoch_layout(run, mark_selected=False), "yaxis": {"rangemode": "tozero"}},
        height=200,
        legend=[(ink, called) for _, called, ink in drawn],
    )


def downsample_curves(
    run: RunData, keys: Sequence[str], max_points: int = MAX_POINTS
) -> tuple[list[float], list[list[float | None]]]:
    """Give curves of a run, with fewer points if there are very many."""
    columns = [run.curve(key) for key in keys]
    kept = minmax_downsample(columns, max_points)
    return [run.epochs[place] for place in kept], [
        [values[place] for place in kept] for values in columns
    ]


def _line_traces(
    run: RunData, available: Sequence[tuple[str, str]], number_format: str
) -> list[Trace]:
    x, columns = downsample_curves(run, [key for key, _ in available])
    return [
        line_trace(SPLITS[part], x, y, theme_color(part), f"%{{y:{number_format}}}")
        for (_, part), y in zip(available, columns, strict=True)
    ]


def _epoch_layout(
    run: RunData, mark_selected: bool = True, label_selected: bool = True
) -> dict[str, object]:
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
    return f"kept: {run.selected_epoch:,.0f}"


def _describe_curves(run: RunData, available: Sequence[tuple[str, str]]) -> str:
    return " ".join(
        f"The {SPLITS[part]} curve goes from {fmt.number(values[0])} to {fmt.number(values[-1])}."
        for key, part in available
        for values in [drop_none(run.curve(key))]
    )
