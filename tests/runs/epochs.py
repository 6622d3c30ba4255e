"""Epoch results for tracking, without training."""

from __future__ import annotations

import numpy as np

from nn.training import EpochResult, EvalResult


def epoch(number, loss=None):
    scores = EvalResult(loss or 1 / number, np.diag([number, 2, 3]))
    return EpochResult(number, scores, scores, 0.1, 2.0, 3.0, 0.5, 0.1)
