"""Classification metrics."""

from __future__ import annotations

import numpy as np

from nn.types import Array, IntArray, Labels


def confusion_matrix(outputs: Array, labels: Labels) -> IntArray:
    """Count samples by true class (row) and predicted class (column)."""
    num_classes = outputs.shape[1]
    flat_indices = labels * num_classes + _argmax(outputs)
    return np.bincount(flat_indices, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(confusion: IntArray) -> float:
    """Return the fraction of samples on the diagonal."""
    return float(confusion.trace() / confusion.sum())


def precision(confusion: IntArray) -> list[float | None]:
    """Return TP / (TP + FP) per class; None for a class that is never predicted."""
    return _ratios(confusion.diagonal(), confusion.sum(axis=0))


def recall(confusion: IntArray) -> list[float | None]:
    """Return TP / (TP + FN) per class; None for a class without samples."""
    return _ratios(confusion.diagonal(), confusion.sum(axis=1))


def f1(confusion: IntArray) -> list[float | None]:
    """Return 2 TP / (2 TP + FP + FN) per class: the harmonic mean of precision and recall."""
    denominators = confusion.sum(axis=0) + confusion.sum(axis=1)
    return _ratios(2 * confusion.diagonal(), denominators)


def top_k_accuracy(k: int, outputs: Array, labels: Labels) -> float:
    """Return the fraction of samples whose true class is among the top k; ties count against it."""
    true_class_outputs = np.take_along_axis(outputs, labels[:, None], axis=1)
    return float(((outputs >= true_class_outputs).sum(axis=1) <= k).mean())


def expected_calibration_error(probabilities: Array, labels: Labels, num_bins: int = 15) -> float:
    """Return the weighted mean |confidence - accuracy| of confidence bins (arXiv:1706.04599)."""
    confidence = probabilities.max(axis=1)
    is_correct = probabilities.argmax(axis=1) == labels
    bin_index = np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    gaps = np.bincount(bin_index, weights=is_correct - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(labels))


def _argmax(outputs: Array) -> IntArray:
    """Return the first of the largest outputs of each sample; class 0 if one of them is NaN.

    On column-major outputs, operations that go class by class take a fraction of the time of
    `outputs.argmax(axis=1)`, which goes sample by sample.
    """
    is_largest = ~(outputs < outputs.max(axis=1, keepdims=True))
    ranks = np.arange(outputs.shape[1])[::-1]
    first: IntArray = ranks[0] - (is_largest * ranks).max(axis=1)
    return first


def _ratios(numerators: IntArray, denominators: IntArray) -> list[float | None]:
    pairs = zip(numerators.tolist(), denominators.tolist(), strict=True)
    return [numerator / denominator if denominator else None for numerator, denominator in pairs]
