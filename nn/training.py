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
from nn.types import Array, IntArray, Labels

MAX_EVAL_ACTIVATIONS = 2**20
"""Values that a layer gives at once in evaluation, of at most 512 samples; it fits a cache."""
GRADIENT_NORMS_PER_EPOCH = 16
"""Steps of an epoch whose gradient is measured, evenly spread."""


@dataclass(frozen=True)
class EvalResult:
    """How well outputs fit their labels."""

    loss: float
    confusion: IntArray

    @property
    def accuracy(self) -> float:
        """The share of samples that are classified right."""
        return accuracy(self.confusion)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> EvalResult | None:
        """Take what `plain` gave."""
        return cls(data["loss"], np.array(data["confusion"])) if data else None

    def to_dict(self) -> dict[str, Any]:
        """Give both as plain values."""
        return {"loss": self.loss, "confusion": self.confusion.tolist()}

    @classmethod
    def from_outputs(cls, loss: Loss, outputs: Array, labels: Labels) -> EvalResult:
        """Score the outputs of any number of samples."""
        return cls(loss.value(outputs, labels), confusion_matrix(outputs, labels))


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave."""

    number: int
    train: EvalResult
    val: EvalResult | None
    lr: float
    gradient_norm: float
    weight_norm: float
    seconds: float
    seconds_of_validation: float

    @property
    def is_finite(self) -> bool:
        """Whether all losses are finite numbers."""
        return all(math.isfinite(result.loss) for result in (self.train, self.val) if result)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EpochResult:
        """Take what `plain` gave."""
        return cls(
            **{**data, **{split: EvalResult.from_dict(data[split]) for split in ("train", "val")}}
        )

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain values."""
        results = {"train": self.train.to_dict(), "val": self.val and self.val.to_dict()}
        return {**vars(self), **results}

    @property
    def sort_key(self) -> tuple[float, float]:
        """Smaller is better: a higher validation accuracy; among equals, a lower loss."""
        return (-self.val.accuracy, self.val.loss) if self.val else (0.0, 0.0)

    def to_history_record(self) -> dict[str, float | None]:
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
    validation_data: Samples | None,
    epochs: int,
    initial_epoch: int = 0,
) -> Iterator[EpochResult]:
    """Train, and yield what each epoch gave; of the epochs, so many are done already.

    The scores of the training set are those that its batches had as they were learned from: the
    outputs are kept, and scored together at the epoch's end.
    """
    parameters, gradients = network.parameters.values, network.parameters.gradients
    outputs = np.empty((batches.samples_per_epoch, *network.output_shape), parameters.dtype, "F")
    labels = np.empty(batches.samples_per_epoch, np.int64)
    total_steps, step = epochs * len(batches), initial_epoch * len(batches)
    norm_interval = -(-len(batches) // GRADIENT_NORMS_PER_EPOCH)
    for epoch in range(initial_epoch + 1, epochs + 1):
        epoch_start, num_seen = time.perf_counter(), 0
        gradient_norms: list[float] = []
        for x, batch_labels in batches:
            batch_outputs = network.forward(x, training=True)
            rows = slice(num_seen, num_seen + len(x))
            outputs[rows], labels[rows] = batch_outputs, batch_labels
            step_lr = lr * schedule(Progress(step, total_steps, len(batches)))
            # a gradient that has the learning rate in it spares a pass over all parameters
            gradient_scale = step_lr if step_lr and optimizer.is_plain_sgd else 1.0
            network.backward(loss.gradient(batch_outputs, batch_labels, gradient_scale))
            if step % norm_interval == 0:
                gradient_norms.append(_l2_norm(gradients) / gradient_scale)
            optimizer.step(parameters, gradients, step_lr / gradient_scale)
            step, num_seen = step + 1, num_seen + len(x)
        train = EvalResult.from_outputs(loss, outputs, labels)
        train_end = time.perf_counter()
        val = evaluate(network, loss, validation_data) if validation_data else None
        if val:
            schedule.update(val.loss)
        epoch_end = time.perf_counter()
        yield EpochResult(
            epoch,
            train,
            val,
            step_lr,
            sum(gradient_norms) / len(gradient_norms),
            _l2_norm(parameters),
            train_end - epoch_start,
            epoch_end - train_end,
        )


def _l2_norm(vector: Array) -> float:
    return math.sqrt(np.dot(vector, vector))


def evaluate(network: Network, loss: Loss, samples: Samples) -> EvalResult:
    """Score a network on samples that it does not learn from."""
    return EvalResult.from_outputs(loss, predict(network, samples), samples.labels)


def predict(network: Network, samples: Samples) -> Array:
    """Compute the outputs of any number of samples."""
    dtype = network.parameters.values.dtype
    outputs = np.empty((len(samples), *network.output_shape), dtype, order="F")
    max_layer_size = max(math.prod(layer.output_shape) for layer in network.layers)
    batch_size = min(512, max(1, MAX_EVAL_ACTIVATIONS // max_layer_size))
    x = np.empty((batch_size, *samples.sample_shape), dtype)
    for start in range(0, len(samples), batch_size):
        rows = slice(start, start + batch_size)
        raw = samples.raw[rows]
        outputs[rows] = network.forward(samples.rescaling.apply(raw, x[: len(raw)]))
    return outputs
