"""Reliability diagram: accuracy against confidence (arXiv:1706.04599)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nn.predictions import Predictions
from nn.report.chart import Chart, Trace
from nn.report.palette import theme_color

NUM_BINS = 15
"""Bins of equal width, as in `metrics.expected_calibration_error`."""


@dataclass(frozen=True)
class CalibrationBin:
    """Mean confidence and accuracy of the samples in one range of confidence."""

    low: float
    high: float
    num_samples: int
    confidence: float
    accuracy: float


def bin_by_confidence(predictions: Predictions) -> list[CalibrationBin]:
    """Group samples into bins of equal width by confidence; empty bins are left out."""
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    is_correct = predictions.probabilities.argmax(axis=1) == predictions.labels
    bin_index = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    return [
        CalibrationBin(
            number / NUM_BINS,
            (number + 1) / NUM_BINS,
            int(inside.sum()),
            float(confidence[inside].mean()),
            float(is_correct[inside].mean()),
        )
        for number in range(NUM_BINS)
        for inside in [bin_index == number]
        if inside.any()
    ]


def plot_reliability_diagram(predictions: Predictions) -> Chart:
    """Plot the accuracy and the number of samples per bin of confidence."""
    bins = bin_by_confidence(predictions)
    hover = [
        f"confidence {each.low:.0%} to {each.high:.0%}, mean {each.confidence:.1%}<br>"
        f"accuracy <b>{each.accuracy:.1%}</b>, {each.num_samples:,} samples"
        for each in bins
    ]
    bars: Trace = {
        "type": "bar",
        "x": [(each.low + each.high) / 2 for each in bins],
        "width": 1 / NUM_BINS - 0.008,
        "text": hover,
        "hoverinfo": "text",
        "textposition": "none",
    }
    return Chart(
        "calibration",
        "Accuracy by confidence",
        "Reliability diagram: accuracy against confidence, which are equal on the diagonal.",
        [
            {
                **bars,
                "y": [each.accuracy for each in bins],
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
            {
                **bars,
                "y": [each.num_samples for each in bins],
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
            ("series-1", "accuracy"),
            ("series-3", "number of samples (log scale)"),
        ],
    )
