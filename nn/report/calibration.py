"""How confident predictions are, and how often they are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nn.predictions import Predictions
from nn.report.chart import Chart
from nn.report.palette import theme_color

NUM_BINS = 15


@dataclass(frozen=True)
class CalibrationBin:
    """The samples of one range of confidence."""

    low: float
    high: float
    num_samples: int
    confidence: float
    accuracy: float


def bin_by_confidence(predictions: Predictions) -> list[CalibrationBin]:
    """Sort samples into bins of confidence, as the calibration error does."""
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    right = predictions.probabilities.argmax(axis=1) == predictions.labels
    place = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    return [
        CalibrationBin(
            each / NUM_BINS,
            (each + 1) / NUM_BINS,
            int(inside.sum()),
            float(confidence[inside].mean()),
            float(right[inside].mean()),
        )
        for each in range(NUM_BINS)
        for inside in [place == each]
        if inside.any()
    ]


def plot_reliability_diagram(predictions: Predictions) -> Chart:
    """Accuracy by confidence, and how many samples there are of each."""
    found = bin_by_confidence(predictions)
    centre = [(each.low + each.high) / 2 for each in found]
    hover = [
        f"confidence {each.low:.0%} to {each.high:.0%}, {each.confidence:.1%} on average<br>"
        f"<b>{each.accuracy:.1%}</b> of {each.num_samples:,} are right"
        for each in found
    ]
    bars = {"type": "bar", "x": centre, "width": 1 / 15 - 0.008, "text": hover, "hoverinfo": "text",
            "textposition": "none"}  # fmt: skip
    return Chart(
        "calibration",
        "Accuracy by confidence",
        "Accuracy against confidence; on the diagonal the two are equal.",
        [
            bars
            | {
                "y": [each.accuracy for each in found],
                "marker": {"color": theme_color("series-1")},
            },
            {
                "type": "scatter",
                "mode": "lines",
                "x": [0, 1],
                "y": [0, 1],
                "line": {"color": theme_color("muted"), "dash": "dot", "width": 1.5},
                "hoverinfo": "skip",
            },
            bars
            | {
                "y": [each.num_samples for each in found],
                "yaxis": "y2",
                "marker": {"color": theme_color("series-3")},
            },
        ],
        {
            "xaxis": {
                "range": [0, 1],
                "tickformat": ".0%",
                "title": {"text": "confidence"},
                "anchor": "y2",
            },
            "yaxis": {"domain": [0.36, 1], "range": [0, 1.02], "tickformat": ".0%"},
            "yaxis2": {"domain": [0, 0.26], "type": "log", "dtick": 1},
            "hovermode": "closest",
        },
        height=380,
        legend=[
            ("series-1", "share that is right"),
            ("series-3", "samples, on a logarithmic scale"),
        ],
    )
