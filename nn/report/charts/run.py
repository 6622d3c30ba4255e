"""Charts of a run: learning curves, confusion matrix, classes, calibration and the t-SNE map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from nn.io.coerce import drop_none
from nn.report import formatting as fmt
from nn.report.charts.chart import (
    MAX_NAMED_CLASSES,
    Chart,
    category_axis,
    escape_label,
    set_epoch_axis,
)
from nn.report.data.predictions import NUM_BINS, CalibrationBin, SampleMapRecord
from nn.report.data.run import ClassRecord, CurveRecord, RunRecord, progress_axes
from nn.report.palette import class_color, class_symbol, color, colorscale
from nn.runs.history import minmax_downsample

MAX_POINTS = 2000
"""Points per curve after downsampling."""
MIN_SMOOTHED_EPOCHS = 10
"""Epochs from which on curves can be smoothed."""
MAX_MATRIX_CLASSES = 200
"""Classes in a confusion matrix: more would be narrower than three pixels."""
MAX_ANNOTATED_CLASSES = 16
"""Classes up to which the cells of a confusion matrix are annotated with their values."""


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
        "loss": plot("Loss", ["train/loss", "val/loss"], ".4f", is_main=True),
        "accuracy": plot("Accuracy", ["train/accuracy", "val/accuracy"], ".2%", is_main=True),
        "lr": plot("Learning rate", ["lr"]),
        "gradient": plot("Gradient norm", ["norm/gradient"]),
        "weights": plot("Weight norm", ["norm/weights"]),
        "timing": plot("Seconds per epoch", ["seconds", "seconds/validation"], is_stacked=True),
    }


def _plot_columns(
    record: RunRecord,
    curves: CurveRecord,
    title: str,
    keys: Sequence[str],
    number_format: str = ".4~g",
    *,
    is_main: bool = False,
    is_stacked: bool = False,
) -> Chart | None:
    columns = {key: curves["columns"][key] for key in keys if key in curves["columns"]}
    if not columns:
        return None
    kept = minmax_downsample(list(columns.values()), MAX_POINTS)
    epochs = curves["epochs"]
    figure = go.Figure()
    for key, values in columns.items():
        series, role = SERIES[key]
        figure.add_scatter(
            x=_at(epochs, kept),
            y=_at(values, kept),
            mode="lines" if len(kept) > 1 else "markers",
            name=series,
            connectgaps=True,
            stackgroup="one" if is_stacked else None,
            line_color=color(role),
            marker_color=color(role),
            hovertemplate=f"%{{y:{number_format}}}<extra>{series}</extra>",
        )
    figure.update_layout(hovermode="x unified")
    set_epoch_axis(figure, len(epochs))
    if title == "Accuracy":
        figure.update_yaxes(tickformat="~%")
    elif not is_main:
        figure.update_yaxes(rangemode="tozero")
    selected = record["selected_epoch"]
    if selected is not None and len(epochs) > 1 and not is_stacked:
        figure.add_vline(selected, layer="below")
        if is_main:
            label = f"selected: {selected:,.0f}"
            figure.add_annotation(x=selected, y=1, yref="paper", yanchor="bottom", text=label)
            figure.update_layout(margin_t=22)
    axes = {"epoch": epochs, **progress_axes(curves)} if is_main else {}
    known = {key: drop_none(values) for key, values in columns.items()}
    texts = [
        f"The {SERIES[key][0]} curve goes from {fmt.number(y[0])} to {fmt.number(y[-1])}."
        for key, y in known.items()
    ]
    return Chart(
        title=title,
        figure=figure,
        alt_text=" ".join([f"{title} by epoch.", *texts]),
        height=300 if is_main else 200,
        legend=[SERIES[key][::-1] for key in columns] if is_main or is_stacked else (),
        x_axes={name: [values[i] for i in kept] for name, values in axes.items()},
        has_log_scale=title == "Loss" and all(min(values) > 0 for values in known.values()),
        has_smoothing=is_main and len(epochs) >= MIN_SMOOTHED_EPOCHS,
    )


def _at(values: Sequence[float | None], indices: Sequence[int]) -> ArrayLike:
    return np.array([values[index] for index in indices], np.float64)


def plot_confusion_matrix(
    title: str, matrix: Sequence[Sequence[int]], class_names: Sequence[str]
) -> Chart:
    """Plot counts (true class, predicted class), colored by their share of the row.

    Correct predictions are blue, errors orange by the square root of their share, so that small
    shares are distinguishable. If there are many classes, those with the most errors are shown.
    """
    counts = np.array(matrix, np.float64)  # sums of hostile counts would overflow integers
    totals, correct = counts.sum(axis=1), counts.diagonal()
    num_classes = len(counts)
    errors = totals + counts.sum(axis=0) - 2 * correct
    shown = np.sort(np.argsort(-errors, kind="stable")[:MAX_MATRIX_CLASSES])
    cells = counts[np.ix_(shown, shown)]
    shares = cells / np.maximum(totals[shown, None], 1)
    is_correct = np.eye(len(shown), dtype=bool)
    gap = 0 if len(shown) > MAX_NAMED_CLASSES else 1  # pixels
    max_error = shares[~is_correct].max(initial=0.0) or 1.0
    signed = np.where(is_correct, shares, -np.sqrt(shares / max_error))
    names = _unique_labels([class_names[index] for index in shown])
    figure = go.Figure()
    figure.add_heatmap(
        x=names,
        y=names,
        z=(127 * signed).round().astype(np.int8),
        zmin=-127,
        zmax=127,
        colorscale=colorscale("wrong", "cell", "accent"),
        xgap=gap,
        ygap=gap,
        customdata=np.dstack(np.broadcast_arrays(cells, totals[shown, None], shares)).astype("f"),
        texttemplate="%{text}" if num_classes <= MAX_ANNOTATED_CLASSES else None,
        hovertemplate="true: %{y}, predicted: %{x}<br><b>%{customdata[0]:,d}</b> of "
        "%{customdata[1]:,d}, %{customdata[2]:.1%}<extra></extra>",
    )
    axis = category_axis([class_names[index] for index in shown])
    # a tick's text replaces the full name in the hover text of its exact position
    axis["tickvals"] = np.array(axis["tickvals"]) + len(shown) / 5000
    figure.update_xaxes(axis, type="category", title_text="predicted", side="top")
    figure.update_yaxes(axis, type="category", title_text="true", autorange="reversed")
    views = {}
    if num_classes <= MAX_ANNOTATED_CLASSES:
        texts = [[f"{n:,.0f}" if n else "" for n in row] for row in cells]
        percentages = [[f"{s:.1f}" if s else "" for s in row] for row in 100 * shares]
        views = {"Counts": {"data": {"text": texts}}, "% of row": {"data": {"text": percentages}}}
    return Chart(
        title=title,
        figure=figure,
        alt_text=f"Confusion matrix of {num_classes} classes: {correct.sum():,.0f} of "
        f"{totals.sum():,.0f} samples are on the diagonal.",
        height=int(np.clip(120 + 36 * num_classes, 300, 640)),
        legend=[("accent", "correct"), ("wrong", "errors, by share of the row")],
        views=views,
        note=f"The {MAX_MATRIX_CLASSES} of {num_classes:,} classes with the most errors."
        if num_classes > MAX_MATRIX_CLASSES
        else "",
    )


def _unique_labels(names: Sequence[str]) -> list[str]:
    """Return labels for a category axis, which would merge equal ones."""
    labels = [escape_label(name) for name in names]
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label} [{index}]" for index, label in enumerate(labels)]


def plot_class_scores(classes: Sequence[ClassRecord]) -> Chart | None:
    """Plot the scores of the classes with the lowest F1, lowest first; None if unknown."""
    ranked = sorted(classes, key=lambda it: (it["f1"] is None, it["f1"]))
    if not ranked or ranked[0]["f1"] is None:
        return None
    weakest = ranked[:MAX_NAMED_CLASSES]
    scores = np.array([[it["precision"], it["recall"], it["f1"]] for it in weakest], np.float64)
    rows = np.arange(len(weakest))
    gaps = np.full(len(weakest), np.nan)
    figure = go.Figure()
    figure.add_scatter(
        x=np.column_stack([np.fmin.reduce(scores, 1), np.fmax.reduce(scores, 1), gaps]).ravel(),
        y=np.column_stack([rows, rows, gaps]).ravel(),
        mode="lines",
        line={"color": color("rule"), "width": 3},
        hoverinfo="skip",
    )
    styles = {
        "precision": ("accent", "triangle-right"),
        "recall": ("secondary", "triangle-left"),
        "F1": ("ink", "line-ns-open"),
    }
    for (metric, (role, symbol)), values in zip(styles.items(), scores.T, strict=True):
        figure.add_scatter(
            x=values,
            y=rows,
            mode="markers",
            name=metric,
            text=[escape_label(it["name"]) for it in weakest],
            marker={"color": color(role), "symbol": symbol, "size": 10},
            hovertemplate=f"%{{text}}: {metric} %{{x:.2%}}<extra></extra>",
        )
    figure.update_xaxes(tickformat="~%", nticks=6, showgrid=True)
    figure.update_yaxes(category_axis([it["name"] for it in weakest]), autorange="reversed")
    return Chart(
        title="Classes by F1, lowest first",
        figure=figure,
        alt_text=f"Lowest F1: {fmt.percent(weakest[0]['f1'])}, class {weakest[0]['name']}.",
        height=90 + 26 * len(weakest),
        legend=[("accent", "precision ▸"), ("secondary", "◂ recall"), ("ink", "F1 |")],
        note=f"The {MAX_NAMED_CLASSES} of {len(classes):,} classes with the lowest F1."
        if len(classes) > MAX_NAMED_CLASSES
        else "",
    )


def plot_calibration(bins: Sequence[CalibrationBin]) -> Chart:
    """Plot a reliability diagram (arXiv:1706.04599): accuracy and samples by confidence."""
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.1)
    hover = [
        f"confidence {it['low']:.0%} to {it['high']:.0%}, mean {it['confidence']:.1%}<br>"
        f"accuracy <b>{it['accuracy']:.1%}</b>, {it['num_samples']:,} samples"
        for it in bins
    ]
    style = {"width": 1 / NUM_BINS - 0.008, "hovertemplate": "%{hovertext}<extra></extra>"}
    x = [(it["low"] + it["high"]) / 2 for it in bins]
    accuracies, counts = ([it["accuracy"] for it in bins], [it["num_samples"] for it in bins])
    for row, y, role in ((1, accuracies, "accent"), (2, counts, "tertiary")):
        figure.add_bar(x=x, y=y, hovertext=hover, marker_color=color(role), row=row, col=1, **style)
    figure.add_shape(x0=0, y0=0, x1=1, y1=1, type="line", row=1, col=1)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_xaxes(title_text="confidence", row=2)
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", row=1)
    figure.update_yaxes(type="log", dtick=1, row=2)
    return Chart(
        title="Accuracy by confidence",
        figure=figure,
        alt_text="Reliability diagram: accuracy against confidence, which are equal on the "
        "diagonal.",
        height=380,
        legend=[("accent", "accuracy"), ("tertiary", "number of samples (log scale)")],
    )


def plot_sample_map(sample_map: SampleMapRecord, class_names: Sequence[str]) -> Chart:
    """Plot t-SNE positions by class, with misclassified samples outlined and on top."""
    labels, predicted = np.array(sample_map["labels"]), np.array(sample_map["predicted"])
    x, y = (np.array(sample_map[axis], np.float32) for axis in ("x", "y"))
    has_names = len(class_names) <= MAX_NAMED_CLASSES
    groups = labels if has_names else np.zeros_like(labels)  # thousands of traces would be slow
    figure = go.Figure()
    for is_correct in (True, False):
        for group in np.unique(groups).tolist():
            points = np.flatnonzero((groups == group) & ((labels == predicted) == is_correct))
            if not len(points):
                continue
            figure.add_scatter(
                x=x[points],
                y=y[points],
                mode="markers",
                name=escape_label(class_names[group], 24),
                legendgroup=str(group),
                showlegend=is_correct,
                customdata=points,
                hoverinfo="none",
                marker={
                    "color": [class_color(label) for label in labels[points].tolist()],
                    "symbol": [class_symbol(label) for label in labels[points].tolist()],
                    "size": 7 if is_correct else 11,
                    "line": {"width": 0 if is_correct else 2, "color": color("ink")},
                },
            )
    for label in np.unique(labels).tolist() if has_names else ():
        figure.add_annotation(
            x=float(np.median(x[labels == label])),
            y=float(np.median(y[labels == label])),
            text=f"<b>{escape_label(class_names[label], 14)}</b>",
            font={"size": 14, "color": color("ink")},
            bgcolor=color("veil"),
            borderpad=3,
            captureevents=False,
        )
    figure.update_layout(showlegend=has_names)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    cards = [
        f"{class_names[label]}, "
        + ("correct" if label == guess else f"predicted as {class_names[guess]}")
        + f", confidence {fmt.confidence(confidence)}"
        for label, guess, confidence in zip(
            sample_map["labels"], sample_map["predicted"], sample_map["confidences"], strict=True
        )
    ]
    return Chart(
        title=f"t-SNE of the last hidden layer, {len(labels):,} samples",
        figure=figure,
        alt_text="t-SNE map of the samples by their activations in the last hidden layer; classes "
        "that the network separates form clusters.",
        height=620,
        legend=[("ink", "outlined: misclassified")],
        extra={"cards": cards, "sheet": sample_map["thumbnails"]},
    )
