"""Scatter plot of the t-SNE map of the samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report.axes import MAX_NAMED_CLASSES
from nn.report.chart import Chart, Layout, Trace, escape_label
from nn.report.images import SpriteSheet
from nn.report.palette import class_color, class_symbol, theme_color
from nn.report.run_data import RunData


def plot_sample_map(
    run: RunData,
    predictions: Predictions,
    positions: NDArray[np.float32],
    sprite_sheet: SpriteSheet | None,
) -> Chart:
    """Plot the t-SNE positions (samples, 2) by class, with misclassified samples outlined."""
    labels = predictions.labels[predictions.embedded_indices]
    probabilities = predictions.probabilities[predictions.embedded_indices]
    predicted = probabilities.argmax(axis=1)
    traces: list[Trace] = []
    annotations = []
    for label in np.unique(labels).tolist():
        in_class = labels == label
        for is_correct in (True, False):
            indices = np.flatnonzero(in_class & ((predicted == label) == is_correct))
            x, y = positions[indices].round(2).T.astype(float).tolist()
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": escape_label(run.class_names[label], 24),
                    "legendgroup": str(label),
                    "showlegend": is_correct,
                    "x": x,
                    "y": y,
                    "customdata": indices.tolist(),
                    "hoverinfo": "none",
                    "marker": {
                        "color": class_color(label),
                        "symbol": class_symbol(label),
                        "size": 7 if is_correct else 11,
                        "line": {"width": 0 if is_correct else 2, "color": theme_color("ink")},
                    },
                }
            )
        if run.num_classes <= MAX_NAMED_CLASSES:
            x, y = np.median(positions[in_class], axis=0).astype(float).tolist()
            annotations.append(_class_annotation(x, y, run.class_names[label]))
    tooltips = [
        f"{run.class_names[truth]}, "
        + ("correct" if truth == guess else f"predicted as {run.class_names[guess]}")
        + f", confidence {fmt.confidence(confidence)}"
        for truth, guess, confidence in zip(
            labels.tolist(), predicted.tolist(), probabilities.max(axis=1).tolist(), strict=True
        )
    ]
    hidden = {"visible": False, "showgrid": False}
    return Chart(
        "map",
        f"t-SNE of the last hidden layer, {len(labels):,} samples",
        "t-SNE map of the samples by their activations in the last hidden layer; classes that the "
        "network separates form clusters.",
        traces,
        {
            "xaxis": hidden,
            "yaxis": {**hidden, "scaleanchor": "x"},
            "hovermode": "closest",
            "showlegend": run.num_classes <= MAX_NAMED_CLASSES,
            "annotations": annotations,
        },
        height=620,
        legend=[("ink", "outlined: misclassified")],
        extra_data={"cards": tooltips, "sheet": vars(sprite_sheet) if sprite_sheet else None},
    )


def _class_annotation(x: float, y: float, name: str) -> Layout:
    return {
        "x": round(x, 2),
        "y": round(y, 2),
        "text": f"<b>{escape_label(name, 14)}</b>",
        "showarrow": False,
        "font": {"size": 14, "color": theme_color("ink")},
        "bgcolor": theme_color("veil"),
        "borderpad": 3,
        "captureevents": False,
    }
