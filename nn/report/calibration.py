"""How confident predictions are, and how often they are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nn.predictions import Predictions

BINS = 15


@dataclass(frozen=True)
class Bin:
    """The samples of one range of confidence."""

    low: float
    high: float
    samples: int
    confidence: float
    accuracy: float


def bins(predictions: Predictions) -> list[Bin]:
    """Sort samples into bins of confidence, as the calibration error does."""
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    right = predictions.probabilities.argmax(axis=1) == predictions.labels
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return [
        Bin(
            each / BINS,
            (each + 1) / BINS,
            int(inside.sum()),
            float(confidence[inside].mean()),
            float(right[inside].mean()),
        )
        for each in range(BINS)
        for inside in [place == each]
        if inside.any()
    ]
