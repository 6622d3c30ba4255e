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
from nn.types import Array, IntArray, Labels

MAX_EMBEDDED_SAMPLES = 1000
"""Samples whose image and place in the last hidden layer are kept, each class in proportion."""
MAX_MISCLASSIFIED_SAMPLES = 200
"""The most confidently wrong samples, whose image is kept as well."""


@dataclass(frozen=True)
class Predictions:
    """The probabilities of all classes for each sample, and some of the samples."""

    labels: Labels  # samples
    probabilities: Array  # samples x classes
    mapped: IntArray  # which samples have their place below
    hidden: Array  # mapped x units of the last hidden layer
    shown: IntArray  # which samples have their image below, the mapped ones first
    images: NDArray[np.uint8]  # shown x the shape of a sample

    @classmethod
    def from_network(cls, network: Network, samples: Samples, probabilities: Array) -> Predictions:
        """Choose what is kept, by the samples and the probabilities alone."""
        labels = samples.labels
        positions = np.linspace(0, len(labels) - 1, min(MAX_EMBEDDED_SAMPLES, len(labels)))
        mapped = np.argsort(labels, kind="stable")[positions.round().astype(np.int64)]
        misclassified = most_confident(labels, probabilities, correct=False)[
            :MAX_MISCLASSIFIED_SAMPLES
        ]
        shown = np.concatenate([mapped, np.setdiff1d(misclassified, mapped)])
        return cls(
            labels=labels,
            probabilities=np.ascontiguousarray(probabilities, np.float32),
            mapped=mapped,
            hidden=_last_hidden_activations(network, samples, mapped),
            shown=shown,
            images=_to_uint8(samples.raw[shown]),
        )

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All of it by name, for a file."""
        return vars(self)

    @classmethod
    def predictions(cls, arrays: Mapping[str, NDArray[Any]]) -> Predictions:
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
            and all(_is_finite_float_array(array) for array in (read.probabilities, read.hidden))
            and read.hidden.shape[:1] == read.mapped.shape
            and read.images.shape[:1] == read.shown.shape
            and all(_is_index_array(indices, samples) for indices in (read.mapped, read.shown))
            and _is_index_array(read.labels, classes)
        )
        if not fits:
            raise ValueError
        return read

    @property
    def has_images(self) -> bool:
        """Whether a sample is an image: one channel, or the three of a colour."""
        return self.images.ndim == 4 and self.images.shape[1] in (1, 3)

    def examples(self, correct: bool, max_examples: int) -> list[tuple[NDArray[np.uint8], int]]:
        """Give images that are shown, and their samples: right ones, or the most wrong ones."""
        images = dict(zip(self.shown.tolist(), self.images, strict=True))
        order = most_confident(self.labels, self.probabilities, correct=correct).tolist()
        if correct:  # those of all degrees of confidence
            order.sort()
        return [(images[sample], sample) for sample in order if sample in images][:max_examples]


def most_confident(labels: Labels, probabilities: Array, correct: bool) -> IntArray:
    """List the samples that are right, or those that are wrong, the most confident first."""
    indices = np.flatnonzero((probabilities.argmax(axis=1) == labels) == correct)
    return indices[np.argsort(-probabilities[indices].max(axis=1), kind="stable")]


def _is_finite_float_array(array: NDArray[Any]) -> bool:
    """Whether all are finite numbers."""
    return bool(np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all())


def _is_index_array(indices: NDArray[Any], upper: int) -> bool:
    """Whether all are whole numbers from 0 up to a limit."""
    is_integer_vector = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    return bool(is_integer_vector and ((indices >= 0) & (indices < upper)).all())


def _last_hidden_activations(network: Network, samples: Samples, indices: IntArray) -> Array:
    """Run samples through all layers but the last."""
    raw, dtype = samples.raw[indices], network.parameters.values.dtype
    x: Array = samples.rescaling.apply(raw, np.empty(raw.shape, dtype))
    for layer in network.layers[:-1]:
        x = layer.forward(x, False)
    return np.ascontiguousarray(x.reshape(len(indices), -1))


def _to_uint8(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretch values of any kind over the range of a byte."""
    low, high = float(raw.min()), float(raw.max())
    return np.round((raw - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)
