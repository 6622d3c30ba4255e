"""The training loop, evaluation, and their results."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from nn.batches import Batches, Samples
from nn.losses import Loss
from nn.metrics import accuracy, confusion_matrix
from nn.network import Network
from nn.optimizers import Optimizer
from nn.schedules import Progress, Schedule
from nn.types import Array, IntArray, Labels

MAX_EVAL_ACTIVATIONS = 2**20
"""Limit on batch size * largest layer in evaluation, so that activations stay in the cache."""
GRADIENT_NORMS_PER_EPOCH = 16
"""Approximate number of evenly spaced steps per epoch at which the gradient norm is measured."""

HistoryRecord = TypedDict(
    "HistoryRecord",
    {
        "epoch": int,
        "train/loss": float,
        "train/accuracy": float,
        "val/loss": float | None,
        "val/accuracy": float | None,
        "lr": float,
        "norm/gradient": float,
        "norm/weights": float,
        "seconds": float,
        "seconds/validation": float,
        "samples_per_second": float,
        "val/confusion_matrix": NotRequired[list[list[int]]],
    },
)
"""The metrics of an epoch under the names used in the history, W&B and sweeps."""


class EvalState(TypedDict):
    """An `EvalResult`, of JSON types."""

    loss: float
    confusion: list[list[int]]


class EpochState(TypedDict):
    """An `EpochResult`, of JSON types."""

    number: int
    train: EvalState
    val: EvalState | None
    lr: float
    gradient_norm: float
    weight_norm: float
    seconds: float
    seconds_of_validation: float


@dataclass(frozen=True)
class EvalResult:
    """Loss and confusion matrix of a model on a set of samples."""

    loss: float
    confusion: IntArray

    @property
    def accuracy(self) -> float:
        """Fraction of correctly classified samples."""
        return accuracy(self.confusion)

    @classmethod
    def from_dict(cls, data: EvalState) -> EvalResult:
        """Restore from `to_dict()`."""
        return cls(data["loss"], np.array(data["confusion"]))

    def to_dict(self) -> EvalState:
        """Return both as values of JSON types."""
        return {"loss": self.loss, "confusion": self.confusion.tolist()}

    @classmethod
    def from_outputs(cls, loss: Loss, outputs: Array, labels: Labels) -> EvalResult:
        """Evaluate the outputs of any number of samples."""
        return cls(loss.value(outputs, labels), confusion_matrix(outputs, labels))


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """Metrics, learning rate, norms and durations of one epoch."""

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
        """Whether the training and validation losses are finite."""
        return all(math.isfinite(result.loss) for result in (self.train, self.val) if result)

    @classmethod
    def from_dict(cls, data: EpochState) -> EpochResult:
        """Restore from `to_dict()`."""
        return cls(
            number=data["number"],
            train=EvalResult.from_dict(data["train"]),
            val=EvalResult.from_dict(data["val"]) if data["val"] else None,
            lr=data["lr"],
            gradient_norm=data["gradient_norm"],
            weight_norm=data["weight_norm"],
            seconds=data["seconds"],
            seconds_of_validation=data["seconds_of_validation"],
        )

    def to_dict(self) -> EpochState:
        """Return all fields as values of JSON types."""
        return {
            "number": self.number,
            "train": self.train.to_dict(),
            "val": self.val.to_dict() if self.val else None,
            "lr": self.lr,
            "gradient_norm": self.gradient_norm,
            "weight_norm": self.weight_norm,
            "seconds": self.seconds,
            "seconds_of_validation": self.seconds_of_validation,
        }

    @property
    def sort_key(self) -> tuple[float, float]:
        """Key that sorts better epochs first: validation accuracy, then validation loss."""
        return (-self.val.accuracy, self.val.loss) if self.val else (0.0, 0.0)

    def to_history_record(self) -> HistoryRecord:
        """Return the metrics, without the confusion matrix."""
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
    batches: Batches,
    validation_data: Samples | None,
    *,
    lr: float,
    epochs: int,
    initial_epoch: int = 0,
) -> Iterator[EpochResult]:
    """Train, and yield the result of each epoch.

    Training metrics are computed at the end of an epoch from the outputs that its batches had in
    training mode, before each update; there is no second pass over the training set.

    Args:
        epochs: Total number of epochs, including those before `initial_epoch`; it sets the length
            of the schedule.
        initial_epoch: Number of epochs already completed, when training is resumed.
    """
    parameters, gradients = network.parameters.values, network.parameters.gradients
    outputs = np.empty((batches.samples_per_epoch, *network.output_shape), parameters.dtype, "F")
    labels = np.empty(batches.samples_per_epoch, np.int64)
    total_steps, step = epochs * len(batches), initial_epoch * len(batches)
    is_plain_sgd = optimizer.is_plain_sgd
    norm_interval = -(-len(batches) // GRADIENT_NORMS_PER_EPOCH)
    for epoch in range(initial_epoch + 1, epochs + 1):
        epoch_start, num_seen = time.perf_counter(), 0
        gradient_norms: list[float] = []
        for x, batch_labels in batches:
            batch_outputs = network.forward(x, training=True)
            rows = slice(num_seen, num_seen + len(x))
            outputs[rows], labels[rows] = batch_outputs, batch_labels
            step_lr = lr * schedule(Progress(step, total_steps, len(batches)))
            # scaling the loss gradient by the learning rate saves a pass over all parameters
            gradient_scale = step_lr if step_lr and is_plain_sgd else 1.0
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
            number=epoch,
            train=train,
            val=val,
            lr=step_lr,
            gradient_norm=sum(gradient_norms) / len(gradient_norms),
            weight_norm=_l2_norm(parameters),
            seconds=train_end - epoch_start,
            seconds_of_validation=epoch_end - train_end,
        )


def evaluate(network: Network, loss: Loss, samples: Samples) -> EvalResult:
    """Evaluate a network in inference mode."""
    return EvalResult.from_outputs(loss, predict(network, samples), samples.labels)


def predict(network: Network, samples: Samples) -> Array:
    """Compute the outputs of any number of samples in inference mode, batch by batch."""
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


def _l2_norm(vector: Array) -> float:
    return math.sqrt(np.dot(vector, vector))
