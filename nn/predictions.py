"""Stored predictions of a trained network on its evaluation set.

Images and embeddings of some samples are stored, too, so that reports do not need the dataset.
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
"""Maximum number of samples stored with image and embedding, stratified by class."""
MAX_MISCLASSIFIED_SAMPLES = 200
"""Maximum number of further images, of the most confidently misclassified samples."""


@dataclass(frozen=True)
class Predictions:
    """Class probabilities of all samples, with embeddings and images of some of them."""

    labels: Labels  # (samples,)
    probabilities: Array  # (samples, classes)
    embedded_indices: IntArray  # indices of the samples with an embedding
    embeddings: Array  # (embedded samples, units of the last hidden layer)
    image_indices: IntArray  # indices of the samples with an image; starts with `embedded_indices`
    images: NDArray[np.uint8]  # (samples with an image, *sample shape)

    @classmethod
    def from_network(cls, network: Network, samples: Samples, probabilities: Array) -> Predictions:
        """Select the samples to store, deterministically from labels and probabilities."""
        labels = samples.labels
        positions = np.linspace(0, len(labels) - 1, min(MAX_EMBEDDED_SAMPLES, len(labels)))
        embedded = np.argsort(labels, kind="stable")[positions.round().astype(np.int64)]
        misclassified = most_confident(labels, probabilities, correct=False)[
            :MAX_MISCLASSIFIED_SAMPLES
        ]
        with_image = np.concatenate([embedded, np.setdiff1d(misclassified, embedded)])
        return cls(
            labels=labels,
            probabilities=np.ascontiguousarray(probabilities, np.float32),
            embedded_indices=embedded,
            embeddings=_last_hidden_activations(network, samples, embedded),
            image_indices=with_image,
            images=_to_uint8(samples.raw[with_image]),
        )

    @property
    def arrays(self) -> Mapping[str, NDArray[np.number]]:
        """All fields by name, as stored in a file."""
        return vars(self)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Predictions:
        """Restore from `arrays`.

        Raises:
            ValueError: The names, types or shapes are inconsistent.
        """
        if arrays.keys() != cls.__annotations__.keys():
            raise ValueError
        result = cls(**arrays)
        num_samples, num_classes = result.probabilities.shape
        is_consistent = (
            result.labels.shape == (num_samples,)
            and result.probabilities.size > 0
            and result.images.dtype == np.uint8
            and result.images.ndim > 1
            and result.images[:1].size > 0
            and result.embeddings.ndim == 2
            and all(
                _is_finite_float_array(array) for array in (result.probabilities, result.embeddings)
            )
            and result.embeddings.shape[:1] == result.embedded_indices.shape
            and result.images.shape[:1] == result.image_indices.shape
            and all(
                _is_index_array(indices, num_samples)
                for indices in (result.embedded_indices, result.image_indices)
            )
            and _is_index_array(result.labels, num_classes)
        )
        if not is_consistent:
            raise ValueError
        return result

    @property
    def has_images(self) -> bool:
        """Whether samples are images: (channels, height, width) with one or three channels."""
        return self.images.ndim == 4 and self.images.shape[1] in (1, 3)

    def examples(self, correct: bool, max_examples: int) -> list[tuple[NDArray[np.uint8], int]]:
        """Return pairs (image, sample index) of stored images.

        Correct ones come in the order of the samples, wrong ones by decreasing confidence.
        """
        images = dict(zip(self.image_indices.tolist(), self.images, strict=True))
        order = most_confident(self.labels, self.probabilities, correct=correct).tolist()
        if correct:  # a mix of confident and unconfident ones
            order.sort()
        return [(images[sample], sample) for sample in order if sample in images][:max_examples]


def most_confident(labels: Labels, probabilities: Array, correct: bool) -> IntArray:
    """Return the indices of the correct or the wrong predictions, most confident first."""
    indices = np.flatnonzero((probabilities.argmax(axis=1) == labels) == correct)
    return indices[np.argsort(-probabilities[indices].max(axis=1), kind="stable")]


def _is_finite_float_array(array: NDArray[np.number]) -> bool:
    """Whether the dtype is floating and all values are finite."""
    return bool(np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all())


def _is_index_array(indices: NDArray[np.number], upper: int) -> bool:
    """Whether this is a vector of integers in [0, upper)."""
    is_integer_vector = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    return bool(is_integer_vector and ((indices >= 0) & (indices < upper)).all())


def _last_hidden_activations(network: Network, samples: Samples, indices: IntArray) -> Array:
    """Compute the flattened inputs of the last layer: (indices, units)."""
    raw, dtype = samples.raw[indices], network.parameters.values.dtype
    x: Array = samples.rescaling.apply(raw, np.empty(raw.shape, dtype))
    for layer in network.layers[:-1]:
        x = layer.forward(x, False)
    return np.ascontiguousarray(x.reshape(len(indices), -1))


def _to_uint8(raw: NDArray[np.number]) -> NDArray[np.uint8]:
    """Rescale values of any dtype linearly to 0..255."""
    low, high = float(raw.min()), float(raw.max())
    return np.round((raw - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)
