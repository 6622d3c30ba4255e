"""Epochs to be tracked, without a training."""

from __future__ import annotations

import numpy as np

from nn.training import Epoch, Scores


def epoch(number, loss=None):
    scores = Scores(loss or 1 / number, np.diag([number, 2, 3]))
    return Epoch(number, scores, scores, 0.1, 2.0, 3.0, 0.5, 0.1)
