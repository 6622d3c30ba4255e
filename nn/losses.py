"""What training makes small, and its derivative by the network's outputs."""

from __future__ import annotations

import numpy as np

from nn.types import Array, Labels


class SoftmaxCrossEntropy:
    """Minus the logarithm of the probability that a softmax gives to the true class.

    Softmax and logarithm are one formula, in which nothing can overflow and no zero meets a
    logarithm: logits are taken relative to the largest of their sample.
    """

    def __init__(self) -> None:
        self._buffers: dict[int, tuple[Array, Array, Labels]] = {}

    def value(self, logits: Array, labels: Labels) -> float:
        """The mean of log(sum(exp(logits))) - logits[label]."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        of_truth = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
        losses = np.log(np.exp(shifted).sum(axis=1)) - of_truth
        return float(losses.mean(dtype=np.float64))

    def gradient(self, logits: Array, labels: Labels) -> Array:
        """d mean / d logits = (softmax(logits) - one_hot(labels)) / batch."""
        batch = len(logits)
        if batch not in self._buffers:
            column = np.empty((batch, 1), logits.dtype)
            self._buffers[batch] = np.empty_like(logits), column, np.arange(batch)
        result, column, rows = self._buffers[batch]
        logits.max(axis=1, out=column[:, 0])
        np.subtract(logits, column, out=result)
        np.exp(result, out=result)
        result.sum(axis=1, out=column[:, 0])
        column *= batch
        result /= column
        result[rows, labels] -= 1 / batch
        return result
