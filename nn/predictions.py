"""What a trained network says of the samples that it is judged on, kept to be looked at later.

Enough of the samples is kept with it that nobody needs the dataset for a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.batches import Samples
from nn.network import Network
from nn.types import Array, Counts, Labels

MAPPED = 1000
"""Samples whose image and place in the last hidden layer are kept, each class in proportion."""
WRONG = 200
"""The most confidently wrong samples, whose image is kept as well."""


@dataclass(frozen=True)
class Predictions:
    """The probabilities of all classes for each sample, and some of the samples."""

    labels: Labels  # samples
    probabilities: Array  # samples x classes
    mapped: Counts  # which samples have their place below
    hidden: Array  # mapped x units of the last hidden layer
    shown: Counts  # which samples have their image below, the mapped ones first
    images: NDArray[np.uint8]  # shown x the shape of a sample

    @classmethod
    def of(cls, network: Network, samples: Samples, probabilities: Array) -> Predictions:
        """Choose what is kept, by the samples and the probabilities alone."""
        labels = samples.labels
        spread = np.linspace(0, len(labels) - 1, min(MAPPED, len(labels)))
        mapped = np.argsort(labels, kind="stable")[spread.round().astype(np.int64)]
        wrong = most_confident(labels, probabilities, right=False)[:WRONG]
        shown = np.concatenate([mapped, np.setdiff1d(wrong, mapped)])
        return cls(
            labels=labels,
            probabilities=np.ascontiguousarray(probabilities, np.float32),
            mapped=mapped,
            hidden=_last_hidden(network, samples, mapped),
            shown=shown,
            images=_pixels(samples.raw[shown]),
        )

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All of it by name, for a file."""
        return vars(self)

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]]) -> Predictions:
        """Take back what `arrays` gave, and refuse whatever does not fit together."""
        if arrays.keys() != cls.__annotations__.keys():
            raise ValueError
        read = cls(**arrays)
        samples, classes = read.probabilities.shape
        fits = (
            read.labels.shape == (samples,)
            and read.probabilities.size > 0
            and read.images.dtype == np.uint8
            and read.images.ndim > 1
            and read.images[:1].size > 0
            and read.hidden.ndim == 2
            and all(_numbers(array) for array in (read.probabilities, read.hidden))
            and read.hidden.shape[:1] == read.mapped.shape
            and read.images.shape[:1] == read.shown.shape
            and all(_within(indices, samples) for indices in (read.mapped, read.shown))
            and _within(read.labels, classes)
        )
        if not fits:
            raise ValueError
        return read

    @property
    def drawable(self) -> bool:
        """Whether a sample is an image: one channel, or the three of a colour."""
        return self.images.ndim == 4 and self.images.shape[1] in (1, 3)

    def examples(self, right: bool, most: int) -> list[tuple[NDArray[np.uint8], int]]:
        """Give images that are shown, and their samples: right ones, or the most wrong ones."""
        images = dict(zip(self.shown.tolist(), self.images, strict=True))
        order = most_confident(self.labels, self.probabilities, right=right).tolist()
        if right:  # those of all degrees of confidence
            order.sort()
        return [(images[sample], sample) for sample in order if sample in images][:most]


def most_confident(labels: Labels, probabilities: Array, right: bool) -> Counts:
    """List the samples that are right, or those that are wrong, the most confident first."""
    chosen = np.flatnonzero((probabilities.argmax(axis=1) == labels) == right)
    return chosen[np.argsort(-probabilities[chosen].max(axis=1), kind="stable")]


def _numbers(array: NDArray[Any]) -> bool:
    """Whether all are finite numbers."""
    return bool(np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all())


def _within(indices: NDArray[Any], below: int) -> bool:
    """Whether all are whole numbers from 0 up to a limit."""
    whole = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    return bool(whole and ((indices >= 0) & (indices < below)).all())


def _last_hidden(network: Network, samples: Samples, chosen: Counts) -> Array:
    """Run samples through all layers but the last."""
    raw, dtype = samples.raw[chosen], network.parameters.values.dtype
    x: Array = samples.scale.apply(raw, np.empty(raw.shape, dtype))
    for layer in network.layers[:-1]:
        x = layer.forward(x, False)
    return np.ascontiguousarray(x.reshape(len(chosen), -1))


def _pixels(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretch values of any kind over the range of a byte."""
    low, high = float(raw.min()), float(raw.max())
    return np.round((raw - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)
