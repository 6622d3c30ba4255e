"""The training loop: one pass over the batches an epoch, and what is measured of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.batches import Batches, Samples
from nn.losses import Loss
from nn.metrics import accuracy, confusion_matrix
from nn.network import Network
from nn.optimizers import Optimizer
from nn.schedules import Progress, Schedule
from nn.types import Array, Counts, Labels

EVALUATED = 2**20
"""Values that a layer gives at once in evaluation, of at most 512 samples; it fits a cache."""
MEASURED = 16
"""Steps of an epoch whose gradient is measured, evenly spread."""


@dataclass(frozen=True)
class Scores:
    """How well outputs fit their labels."""

    loss: float
    confusion: Counts

    @property
    def accuracy(self) -> float:
        """The share of samples that are classified right."""
        return accuracy(self.confusion)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any] | None) -> Scores | None:
        """Take what `plain` gave."""
        return cls(plain["loss"], np.array(plain["confusion"])) if plain else None

    def plain(self) -> dict[str, Any]:
        """Give both as plain values."""
        return {"loss": self.loss, "confusion": self.confusion.tolist()}

    @classmethod
    def of(cls, loss: Loss, outputs: Array, labels: Labels) -> Scores:
        """Score the outputs of any number of samples."""
        return cls(loss.value(outputs, labels), confusion_matrix(outputs, labels))


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave."""

    number: int
    train: Scores
    val: Scores | None
    lr: float
    gradient_norm: float
    weight_norm: float
    seconds: float
    seconds_of_validation: float

    @property
    def finite(self) -> bool:
        """Whether all losses are finite numbers."""
        return all(math.isfinite(scores.loss) for scores in (self.train, self.val) if scores)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Epoch:
        """Take what `plain` gave."""
        return cls(
            **{**plain, **{part: Scores.from_plain(plain[part]) for part in ("train", "val")}}
        )

    def plain(self) -> dict[str, Any]:
        """Give all of it as plain values."""
        scores = {"train": self.train.plain(), "val": self.val and self.val.plain()}
        return {**vars(self), **scores}

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better: a higher validation accuracy; among equals, a lower loss."""
        return (-self.val.accuracy, self.val.loss) if self.val else (0.0, 0.0)

    def record(self) -> dict[str, float | None]:
        """The epoch as a line of history."""
        return {
            "epoch": self.number,
            "train/loss": self.train.loss,
            "train/accuracy": self.train.accuracy,
            "val/loss": self.val.loss if self.val else None,
            "val/accuracy": self.val.accuracy if self.val else None,
            "lr": self.lr,
            "norm/gradient": self.gradient_norm,
            "norm/weights": self.weight_norm,
            "seconds": self.seconds,
            "seconds/validation": self.seconds_of_validation,
            "samples_per_second": self.train.confusion.sum() / self.seconds,
        }


def fit(
    network: Network,
    loss: Loss,
    optimizer: Optimizer,
    schedule: Schedule,
    lr: float,
    batches: Batches,
    validation: Samples | None,
    epochs: int,
    done: int = 0,
) -> Iterator[Epoch]:
    """Train, and yield what each epoch gave; of the epochs, so many are done already.

    The scores of the training set are those that its batches had as they were learned from: the
    outputs are kept, and scored together at the epoch's end.
    """
    parameters, gradients = network.parameters.values, network.parameters.gradients
    outputs = np.empty((batches.samples_per_epoch, *network.output_shape), parameters.dtype, "F")
    labels = np.empty(batches.samples_per_epoch, np.int64)
    steps, step = epochs * len(batches), done * len(batches)
    stride = -(-len(batches) // MEASURED)
    for number in range(done + 1, epochs + 1):
        began, seen = time.perf_counter(), 0
        norms: list[float] = []
        for x, truth in batches:
            predicted = network.forward(x, training=True)
            rows = slice(seen, seen + len(x))
            outputs[rows], labels[rows] = predicted, truth
            rate = lr * schedule(Progress(step, steps, len(batches)))
            # a gradient that has the learning rate in it spares a pass over all parameters
            scale = rate if rate and optimizer.linear else 1.0
            network.backward(loss.gradient(predicted, truth, scale))
            if step % stride == 0:
                norms.append(_norm(gradients) / scale)
            optimizer.step(parameters, gradients, rate / scale)
            step, seen = step + 1, seen + len(x)
        train = Scores.of(loss, outputs, labels)
        trained = time.perf_counter()
        val = evaluate(network, loss, validation) if validation else None
        if val:
            schedule.observe(val.loss)
        ended = time.perf_counter()
        yield Epoch(
            number,
            train,
            val,
            rate,
            sum(norms) / len(norms),
            _norm(parameters),
            trained - began,
            ended - trained,
        )


def _norm(vector: Array) -> float:
    return math.sqrt(np.dot(vector, vector))


def evaluate(network: Network, loss: Loss, samples: Samples) -> Scores:
    """Score a network on samples that it does not learn from."""
    return Scores.of(loss, predict(network, samples), samples.labels)


def predict(network: Network, samples: Samples) -> Array:
    """Compute the outputs of any number of samples."""
    dtype = network.parameters.values.dtype
    outputs = np.empty((len(samples), *network.output_shape), dtype, order="F")
    largest = max(math.prod(layer.output_shape) for layer in network.layers)
    size = min(512, max(1, EVALUATED // largest))
    x = np.empty((size, *samples.shape), dtype)
    for start in range(0, len(samples), size):
        rows = slice(start, start + size)
        raw = samples.raw[rows]
        outputs[rows] = network.forward(samples.scale.apply(raw, x[: len(raw)]))
    return outputs
