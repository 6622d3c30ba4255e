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


def precision(confusion: Counts) -> list[float | None]:
    """Of what was taken for a class, the share that is of it; None where nothing was."""
    return _shares(confusion.diagonal(), confusion.sum(axis=0))


def recall(confusion: Counts) -> list[float | None]:
    """Of a class, the share that was taken for it; None where there is nothing of it."""
    return _shares(confusion.diagonal(), confusion.sum(axis=1))


def f1(confusion: Counts) -> list[float | None]:
    """The harmonic mean of precision and recall: 2 right / (taken for it + of it)."""
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return _shares(2 * confusion.diagonal(), both)


def top(k: int, outputs: Array, labels: Labels) -> float:
    """The share of samples whose true class is among the k most probable; equals do not count."""
    of_truth = np.take_along_axis(outputs, labels[:, None], axis=1)
    return float(((outputs >= of_truth).sum(axis=1) <= k).mean())


def calibration_error(probabilities: Array, labels: Labels, bins: int = 15) -> float:
    """How far confidence and accuracy are apart, over bins of confidence (arXiv:1706.04599)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _shares(parts: Counts, wholes: Counts) -> list[float | None]:
    pairs = zip(parts.tolist(), wholes.tolist(), strict=True)
    return [part / whole if whole else None for part, whole in pairs]
