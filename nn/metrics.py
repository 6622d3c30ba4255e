"""Scores of a network's outputs against the true classes."""

from __future__ import annotations

import numpy as np

from nn.types import Array, Counts, Labels


def confusion_matrix(outputs: Array, labels: Labels) -> Counts:
    """Count samples by true class (row) and predicted class (column)."""
    classes = outputs.shape[1]
    pairs = labels * classes + outputs.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def accuracy(confusion: Counts) -> float:
    """The share of the samples on the diagonal."""
    return float(confusion.trace() / confusion.sum())
