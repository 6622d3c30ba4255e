"""Losses and their gradients with respect to the network's outputs.

Outputs have shape (samples, classes) but are column-major in memory, which makes the reductions
over classes below fast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.errors import UserError, require
from nn.types import Array, Fraction, Labels, Positive, check_settings


class Loss(ABC):
    """Base class of losses: the mean of a per-sample loss."""

    def build(self, num_classes: int, dtype: np.dtype[Any]) -> None:
        """Prepare for a number of classes."""
        self.one_hot = np.eye(num_classes, dtype=dtype)

    @abstractmethod
    def value(self, outputs: Array, labels: Labels) -> float:
        """Return the mean loss of any number of samples."""

    @abstractmethod
    def gradient(self, outputs: Array, labels: Labels, scale: float = 1.0) -> Array:
        """Return the gradient with respect to the outputs times `scale`, which is free here."""

    def probabilities(self, outputs: Array) -> Array:
        """Convert outputs to class probabilities."""
        return softmax(outputs)


@dataclass
class SoftmaxCrossEntropy(Loss):
    """Negative log-likelihood of the true class under a softmax.

    Softmax and logarithm are computed together (log-sum-exp), which neither overflows nor takes
    the logarithm of zero. Label smoothing mixes the one-hot targets with the uniform distribution
    (arXiv:1512.00567). Class weights scale the loss of the samples of each class; the mean is then
    weighted, too.
    """

    label_smoothing: Fraction = 0.0
    class_weights: list[Positive] | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        require(self.class_weights != [], "class_weights", [], "a list of numbers above 0")

    def build(self, num_classes: int, dtype: np.dtype[Any]) -> None:
        """Compute the weighted target distribution of each true class (column)."""
        class_weights = self.class_weights or [1.0] * num_classes
        if len(class_weights) != num_classes:
            raise UserError(
                f"loss.class_weights has {len(class_weights)} numbers, "
                f"but there are {num_classes} classes."
            )
        uniform = self.label_smoothing / num_classes
        smoothed_targets = (1 - self.label_smoothing) * np.eye(num_classes) + uniform
        targets = (smoothed_targets * class_weights).astype(dtype)
        self.targets_by_class, self.target_sums = targets.T.copy(), targets.sum(axis=1)
        self.class_weight_array = np.array(class_weights, dtype)

    def value(self, logits: Array, labels: Labels) -> float:
        """Return the mean of sum(target) * log(sum(exp(logits))) - sum(target * logits)."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sum_exp = np.log(np.exp(shifted).sum(axis=1))
        shifted *= self.targets_by_class.take(labels, axis=1).T
        sample_losses = self.target_sums[labels] * log_sum_exp - shifted.sum(axis=1)
        return float(sample_losses.sum(dtype=np.float64) / self._total_weight(labels))

    def gradient(self, logits: Array, labels: Labels, scale: float = 1.0) -> Array:
        """Return (sum(target) * softmax(logits) - target) / total weight."""
        gradient = softmax(logits).T
        if self.class_weights:
            gradient *= self.target_sums[labels]
        gradient -= self.targets_by_class.take(labels, axis=1)
        gradient *= scale / self._total_weight(labels)
        return gradient.T

    def _total_weight(self, labels: Labels) -> float:
        return float(self.class_weight_array[labels].sum()) if self.class_weights else len(labels)


@dataclass
class MeanSquaredError(Loss):
    """Squared distance to the one-hot target (Brier score if measured after a softmax).

    The distance is measured from the softmax of the outputs, or from the outputs themselves.
    """

    apply_softmax: bool = True

    def value(self, outputs: Array, labels: Labels) -> float:
        """Return the mean of sum((p - target)^2)."""
        distance = self.probabilities(outputs) - self.one_hot[labels]
        return float((distance**2).sum(dtype=np.float64) / len(labels))

    def gradient(self, outputs: Array, labels: Labels, scale: float = 1.0) -> Array:
        """Return d = 2 (p - target) / batch, or p * (d - sum(p * d)) through a softmax."""
        p = self.probabilities(outputs)
        d: Array = p - self.one_hot.take(labels, axis=1).T
        d *= d.dtype.type(2 * scale / len(labels))
        if not self.apply_softmax:
            return d
        d -= (p * d).sum(axis=1, keepdims=True)
        d *= p
        return d

    def probabilities(self, outputs: Array) -> Array:
        """Convert outputs to the values that the loss compares with the targets."""
        return softmax(outputs) if self.apply_softmax else outputs


def softmax(logits: Array) -> Array:
    """Return exp(logits) / sum(exp(logits)) per row, shifted by the largest logit for stability."""
    # one row per class: of column-major logits, this is the order in memory
    logits_by_class = logits.T
    probabilities: Array = logits_by_class - np.maximum.reduce(logits_by_class)
    np.exp(probabilities, out=probabilities)
    probabilities /= np.add.reduce(probabilities)
    return probabilities.T
