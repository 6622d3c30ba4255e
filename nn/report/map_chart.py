"""The map of the samples as a chart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report.axes import MAX_NAMED_CLASSES
from nn.report.chart import Chart, Trace, escape_label
from nn.report.images import SpriteSheet
from nn.report.palette import class_color, class_symbol, theme_color
from nn.report.run_data import RunData


def plot_sample_map(
    run: RunData,
    predictions: Predictions,
    positions: NDArray[np.float32],
    sprite_sheet: SpriteSheet | None,
) -> Chart:
    """The map of the samples, each class with its colour, its symbol and its name."""
    labels = predictions.labels[predictions.mapped]
    probabilities = predictions.probabilities[predictions.mapped]
    guesses = probabilities.argmax(axis=1)
    traces: list[Trace] = []
    titles = []
    for each in np.unique(labels).tolist():
        own = labels == each
        for right in (True, False):
            inside = np.flatnonzero(own & ((guesses == each) == right))
            x, y = positions[inside].round(2).T.astype(float).tolist()
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": escape_label(run.class_names[each], 24),
                    "legendgroup": str(each),
                    "showlegend": right,
                    "x": x,
                    "y": y,
                    "customdata": inside.tolist(),
                    "hoverinfo": "none",
                    "marker": {
                        "color": class_color(each),
                        "symbol": class_symbol(each),
                        "size": 7 if right else 11,
                        "line": {"width": 0 if right else 2, "color": theme_color("ink")},
                    },
                }
            )
        if run.num_classes <= MAX_NAMED_CLASSES:
            x, y = np.median(positions[own], axis=0).astype(float).tolist()
            titles.append(_class_annotation(x, y, run.class_names[each]))
    cards = [
        f"{run.class_names[truth]}, rightly predicted with {fmt.confidence(sure)}"
        if truth == guess
        else f"{run.class_names[truth]}, taken for {run.class_names[guess]} "
        f"with {fmt.confidence(sure)}"
        for truth, guess, sure in zip(
            labels.tolist(), guesses.tolist(), probabilities.max(axis=1).tolist(), strict=True
        )
    ]
    hidden = {"visible": False, "showgrid": False}
    return Chart(
        "map",
        f"{len(labels):,} samples by what the last hidden layer makes of them",
        "A map of samples by the last hidden layer; samples of a class lie together where the "
        "network tells them from others.",
        traces,
        {
            "xaxis": hidden,
            "yaxis": {**hidden, "scaleanchor": "x"},
            "hovermode": "closest",
            "showlegend": run.num_classes <= MAX_NAMED_CLASSES,
            "annotations": titles,
        },
        height=620,
        legend=[("ink", "ringed: predicted wrongly")],
        extra_data={"cards": cards, "sheet": vars(sprite_sheet) if sprite_sheet else None},
    )  # fmt: skip


def _class_annotation(x: float, y: float, name: str) -> dict[str, object]:
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
