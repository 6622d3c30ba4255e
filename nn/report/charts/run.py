"""Charts of a run's predictions: confusion matrix, classes, calibration and the t-SNE map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nn.report import formatting as fmt
from nn.report.charts.chart import MAX_NAMED_CLASSES, Chart, category_axis, escape_label
from nn.report.data.predictions import NUM_BINS, CalibrationBin, SampleMapRecord
from nn.report.data.run import ClassRecord
from nn.report.palette import class_color, class_symbol, color, colorscale

MAX_MATRIX_CLASSES = 200
"""Classes in a confusion matrix: more would be narrower than three pixels."""
MAX_ANNOTATED_CLASSES = 16
"""Classes up to which the cells of a confusion matrix are annotated with their values."""


def plot_confusion_matrix(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> Chart:
    """Plot counts (true class, predicted class), colored by their share of the row.

    Correct predictions are blue, errors orange by the square root of their share, so that small
    shares are distinguishable. If there are many classes, those with the most errors are shown.
    """
    counts = np.array(matrix, np.float64)  # sums of hostile counts would overflow integers
    totals, correct = counts.sum(axis=1), counts.diagonal()
    errors = totals + counts.sum(axis=0) - 2 * correct
    shown = np.sort(np.argsort(-errors, kind="stable")[:MAX_MATRIX_CLASSES])
    names = [class_names[index] for index in shown]
    cells = counts[np.ix_(shown, shown)]
    shares = cells / np.maximum(totals[shown, None], 1)
    is_correct = np.eye(len(shown), dtype=bool)
    max_error = shares[~is_correct].max(initial=0.0) or 1.0
    signed = np.where(is_correct, shares, -np.sqrt(shares / max_error))
    labels, gap = _unique_labels(names), 0 if len(shown) > MAX_NAMED_CLASSES else 1  # pixels
    is_annotated = len(counts) <= MAX_ANNOTATED_CLASSES
    heatmap = go.Heatmap(
        x=labels,
        y=labels,
        z=(127 * signed).round().astype(np.int8),
        zmin=-127,
        zmax=127,
        colorscale=colorscale("wrong", "cell", "accent"),
        xgap=gap,
        ygap=gap,
        customdata=np.dstack(np.broadcast_arrays(cells, totals[shown, None], shares)).astype("f"),
        texttemplate="%{text}" if is_annotated else None,
        hovertemplate="true: %{y}, predicted: %{x}<br><b>%{customdata[0]:,d}</b> of "
        "%{customdata[1]:,d}, %{customdata[2]:.1%}<extra></extra>",
    )
    figure, axis = go.Figure(heatmap), category_axis(names)
    # a tick's text replaces the full name in the hover text of its exact position
    axis["tickvals"] = np.array(axis["tickvals"]) + len(shown) / 5000
    figure.update_xaxes(axis, type="category", title_text="predicted", side="top")
    figure.update_yaxes(axis, type="category", title_text="true", autorange="reversed")
    texts = {"Counts": (cells, ",.0f"), "% of row": (100 * shares, ".1f")} if is_annotated else {}
    return Chart(
        figure=figure,
        alt_text=f"Confusion matrix of {len(counts)} classes: {correct.sum():,.0f} of "
        f"{totals.sum():,.0f} samples are on the diagonal.",
        height=int(np.clip(120 + 36 * len(counts), 300, 640)),
        views={
            name: {"data": {"text": [[f"{n:{spec}}" if n else "" for n in row] for row in values]}}
            for name, (values, spec) in texts.items()
        },
    )


def _unique_labels(names: Sequence[str]) -> list[str]:
    """Return labels for a category axis, which would merge equal ones."""
    labels = [escape_label(name) for name in names]
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label} [{index}]" for index, label in enumerate(labels)]


def plot_class_scores(classes: Sequence[ClassRecord]) -> Chart | None:
    """Plot the scores of the classes with the lowest F1, lowest first; None if unknown."""
    weakest = sorted(classes, key=lambda it: (it["f1"] is None, it["f1"]))[:MAX_NAMED_CLASSES]
    if not weakest or weakest[0]["f1"] is None:
        return None
    names = [it["name"] for it in weakest]
    scores = np.array([[it["precision"], it["recall"], it["f1"]] for it in weakest], np.float64)
    rows, gaps = np.arange(len(weakest)), np.full(len(weakest), np.nan)
    figure = go.Figure()
    figure.add_scatter(
        x=np.column_stack([np.fmin.reduce(scores, 1), np.fmax.reduce(scores, 1), gaps]).ravel(),
        y=np.column_stack([rows, rows, gaps]).ravel(),
        mode="lines",
        line={"color": color("rule"), "width": 3},
        hoverinfo="skip",
    )
    for metric, role, symbol, values in zip(
        ("precision", "recall", "F1"),
        ("accent", "secondary", "ink"),
        ("triangle-right", "triangle-left", "line-ns-open"),
        scores.T,
        strict=True,
    ):
        figure.add_scatter(
            x=values,
            y=rows,
            mode="markers",
            name=metric,
            text=[*map(escape_label, names)],
            marker={"color": color(role), "symbol": symbol, "size": 10},
            hovertemplate=f"%{{text}}: {metric} %{{x:.2%}}<extra></extra>",
        )
    figure.update_xaxes(tickformat="~%", nticks=6, showgrid=True)
    figure.update_yaxes(category_axis(names), autorange="reversed")
    return Chart(
        figure=figure,
        alt_text=f"Lowest F1: {fmt.percent(weakest[0]['f1'])}, class {names[0]}.",
        height=90 + 26 * len(weakest),
    )


def plot_calibration(bins: Sequence[CalibrationBin]) -> Chart:
    """Plot a reliability diagram (arXiv:1706.04599): accuracy and samples by confidence."""
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.1)
    accuracies, counts = ([it["accuracy"] for it in bins], [it["num_samples"] for it in bins])
    for row, heights, role in ((1, accuracies, "accent"), (2, counts, "tertiary")):
        figure.add_bar(
            x=[(it["low"] + it["high"]) / 2 for it in bins],
            y=heights,
            width=1 / NUM_BINS - 0.008,
            marker_color=color(role),
            hovertext=[
                f"confidence {it['low']:.0%} to {it['high']:.0%}, mean {it['confidence']:.1%}<br>"
                f"accuracy <b>{it['accuracy']:.1%}</b>, {it['num_samples']:,} samples"
                for it in bins
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            row=row,
            col=1,
        )
    figure.add_shape(x0=0, y0=0, x1=1, y1=1, type="line", row=1, col=1)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_xaxes(title_text="confidence", row=2)
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", row=1)
    figure.update_yaxes(type="log", dtick=1, row=2)
    alt_text = "Reliability diagram: accuracy against confidence, which are equal on the diagonal."
    return Chart(figure=figure, alt_text=alt_text, height=380)


def plot_sample_map(sample_map: SampleMapRecord, class_names: Sequence[str]) -> Chart:
    """Plot t-SNE positions by class, with misclassified samples outlined and on top."""
    labels, predicted = np.array(sample_map["labels"]), np.array(sample_map["predicted"])
    x, y = (np.array(sample_map[axis], np.float32) for axis in ("x", "y"))
    has_names = len(class_names) <= MAX_NAMED_CLASSES
    groups = labels if has_names else np.zeros_like(labels)  # thousands of traces would be slow
    figure = go.Figure(layout_showlegend=has_names)
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
                    "color": [*map(class_color, labels[points].tolist())],
                    "symbol": [*map(class_symbol, labels[points].tolist())],
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
        figure=figure,
        alt_text="Samples by their activations in the last hidden layer; classes that the network "
        "separates form clusters.",
        height=620,
        extra={"cards": cards, "sheet": sample_map["thumbnails"]},
    )
