"""What training makes small, and its derivative by the network's outputs.

Outputs are one row a sample, but lie class by class in memory; what is written here in terms of
rows is fast because of that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from nn.errors import Mistake, require
from nn.types import Array, Labels


class Loss(ABC):
    """The mean of a figure for each sample."""

    def start(self, classes: int, dtype: np.dtype[Any]) -> None:
        """Prepare for so many classes."""
        self.identity = np.eye(classes, dtype=dtype)

    @abstractmethod
    def value(self, outputs: Array, labels: Labels) -> float:
        """The loss of any number of samples."""

    @abstractmethod
    def gradient(self, outputs: Array, labels: Labels, scale: float = 1.0) -> Array:
        """Its derivative by the outputs, times a scale, which costs nothing here."""

    def probabilities(self, outputs: Array) -> Array:
        """What the outputs say about each class."""
        return softmax(outputs)


class SoftmaxCrossEntropy(Loss):
    """Minus the logarithm of the probability that a softmax gives to the true class.

    Softmax and logarithm are one formula, in which nothing can overflow and no zero meets a
    logarithm. With label smoothing every class is a little true (arXiv:1512.00567). Class weights
    say how much a sample of each class counts.
    """

    def __init__(
        self, label_smoothing: float = 0.0, class_weights: list[float] | None = None
    ) -> None:
        require(0 <= label_smoothing < 1, "label_smoothing", label_smoothing, "at least 0, below 1")
        usable = class_weights is None or min(class_weights, default=0) > 0
        require(usable, "class_weights", class_weights, "a list of numbers above 0")
        self.label_smoothing, self.class_weights = label_smoothing, class_weights

    def start(self, classes: int, dtype: np.dtype[Any]) -> None:
        """Draw up, for each true class (row), what each class is to be, and how much it counts."""
        weights = self.class_weights or [1.0] * classes
        if len(weights) != classes:
            raise Mistake(
                f"loss.class_weights has {len(weights)} numbers, but there are {classes} classes."
            )
        shares = (1 - self.label_smoothing) * np.eye(classes) + self.label_smoothing / classes
        self.targets = (shares * weights).astype(dtype)
        self.totals = self.targets.sum(axis=1)
        self.weights = np.array(weights, dtype)

    def value(self, logits: Array, labels: Labels) -> float:
        """The mean of total * log(sum(exp(logits))) - sum(target * logits)."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        logarithms = np.log(np.exp(shifted).sum(axis=1))
        shifted *= self.targets[labels]
        losses = self.totals[labels] * logarithms - shifted.sum(axis=1)
        return float(losses.sum(dtype=np.float64) / self._count(labels))

    def gradient(self, logits: Array, labels: Labels, scale: float = 1.0) -> Array:
        """(total * softmax(logits) - target) / count."""
        result = softmax(logits)
        if self.class_weights:
            result *= self.totals[labels][:, None]
        result -= self.targets.T.take(labels, axis=1).T
        result *= scale / self._count(labels)
        return result

    def _count(self, labels: Labels) -> float:
        return float(self.weights[labels].sum()) if self.class_weights else len(labels)


class MeanSquaredError(Loss):
    """The squared distance to the true class, which is 1 there and 0 elsewhere.

    The distance is measured from the softmax of the outputs, or from the outputs themselves.
    """

    def __init__(self, of: str = "softmax") -> None:
        require(of in ("softmax", "logits"), "of", of, "softmax or logits")
        self.of = of

    def value(self, outputs: Array, labels: Labels) -> float:
        """The mean of sum((p - target)^2)."""
        distance = self.probabilities(outputs) - self.identity[labels]
        return float((distance**2).sum(dtype=np.float64) / len(labels))

    def gradient(self, outputs: Array, labels: Labels, scale: float = 1.0) -> Array:
        """d = 2 (p - target) / batch; through a softmax it becomes p * (d - sum(p * d))."""
        p = self.probabilities(outputs)
        d: Array = p - self.identity.take(labels, axis=1).T
        d *= d.dtype.type(2 * scale / len(labels))
        if self.of == "logits":
            return d
        d -= (p * d).sum(axis=1, keepdims=True)
        d *= p
        return d

    def probabilities(self, outputs: Array) -> Array:
        """What the outputs say about each class."""
        return softmax(outputs) if self.of == "softmax" else outputs


def softmax(logits: Array) -> Array:
    """exp(logits) / sum(exp(logits)), relative to each sample's largest logit."""
    result: Array = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    np.exp(result, out=result)
    result /= np.add.reduce(result, axis=1, keepdims=True)
    return result
