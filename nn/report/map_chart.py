"""The map of the samples as a chart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report.axes import NAMED
from nn.report.chart import Chart, Trace, label
from nn.report.images import Sheet
from nn.report.palette import class_colour, class_symbol, colour
from nn.report.run_data import RunStory


def chart(
    story: RunStory, predictions: Predictions, places: NDArray[np.float32], images: Sheet | None
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
            x, y = places[inside].round(2).T.astype(float).tolist()
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": label(story.names[each], 24),
                    "legendgroup": str(each),
                    "showlegend": right,
                    "x": x,
                    "y": y,
                    "customdata": inside.tolist(),
                    "hoverinfo": "none",
                    "marker": {
                        "color": class_colour(each),
                        "symbol": class_symbol(each),
                        "size": 7 if right else 11,
                        "line": {"width": 0 if right else 2, "color": colour("ink")},
                    },
                }
            )
        if story.classes <= NAMED:
            x, y = np.median(places[own], axis=0).astype(float).tolist()
            titles.append(_title(x, y, story.names[each]))
    cards = [
        f"{story.names[truth]}, rightly predicted with {fmt.confidence(sure)}"
        if truth == guess
        else f"{story.names[truth]}, taken for {story.names[guess]} with {fmt.confidence(sure)}"
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
            "showlegend": story.classes <= NAMED,
            "annotations": titles,
        },
        height=620,
        keys=[("ink", "ringed: predicted wrongly")],
        more={"cards": cards, "sheet": vars(images) if images else None},
    )  # fmt: skip


def _title(x: float, y: float, name: str) -> dict[str, object]:
    return {
        "x": round(x, 2),
        "y": round(y, 2),
        "text": f"<b>{label(name, 14)}</b>",
        "showarrow": False,
        "font": {"size": 14, "color": colour("ink")},
        "bgcolor": colour("veil"),
        "borderpad": 3,
        "captureevents": False,
    }
