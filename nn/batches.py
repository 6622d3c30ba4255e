"""Labelled samples and the iterator over the batches of an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.arrays import aligned_full
from nn.types import Array, IntArray, Labels, Shape

CHUNK_BYTES = 2**17
"""Size of the inputs that are gathered at once: several small batches, as calls take time."""


@dataclass(frozen=True)
class Rescaling:
    """Affine map from raw values to network inputs: raw * factor + offset."""

    factor: float = 1.0
    offset: float = 0.0

    def apply(self, raw: NDArray[Any], out: Array) -> Array:
        """Return the rescaled samples in `out`, or `raw` itself if the map is the identity."""
        if raw.dtype == out.dtype and self.factor == 1 and not self.offset:
            return raw
        np.multiply(raw, out.dtype.type(self.factor), out=out)
        if self.offset:
            out += out.dtype.type(self.offset)
        return out


NO_RESCALING = Rescaling()


@dataclass(frozen=True)
class Samples:
    """Raw inputs with their labels.

    Inputs keep their stored dtype and are rescaled batch by batch: for bytes this takes a quarter
    of the memory of float32, and is faster because less memory is read.
    """

    raw: NDArray[Any]
    labels: Labels
    rescaling: Rescaling = NO_RESCALING

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def sample_shape(self) -> Shape:
        """Shape of one sample, without the batch dimension."""
        return self.raw.shape[1:]


class Batches:
    """Iterable over the batches (x, labels) of one epoch; each batch overwrites the previous one.

    By default, an epoch contains every sample once, in a new random order. With `num_samples`, it
    contains that number of samples, drawn with replacement.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        rng: np.random.Generator,
        augment: Callable[[Array], Array] | None = None,
        num_samples: int | None = None,
    ) -> None:
        self.samples, self.rng, self.augment, self.num_samples = samples, rng, augment, num_samples
        self.samples_per_epoch = num_samples or len(samples)
        self.batch_size = min(batch_size, self.samples_per_epoch)
        self.num_completed = 0
        batch_bytes = 4 * self.batch_size * math.prod(samples.sample_shape)
        self._chunk_size = max(1, CHUNK_BYTES // max(1, batch_bytes)) * self.batch_size
        buffer_size = min(self._chunk_size, self.samples_per_epoch)
        buffer_shape = buffer_size, *samples.sample_shape
        self._raw_buffer = aligned_full(buffer_shape, 0, samples.raw.dtype)
        self._input_buffer = aligned_full(buffer_shape, 0, np.float32)

    def __len__(self) -> int:
        return math.ceil(self.samples_per_epoch / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, Labels]]:
        indices, self.num_completed = self._draw_indices(), 0
        for start in range(0, len(indices), self._chunk_size):
            chunk_x, chunk_labels = self.gather(indices[start : start + self._chunk_size])
            for first in range(0, len(chunk_x), self.batch_size):
                rows = slice(first, first + self.batch_size)
                x = chunk_x[rows]
                yield self.augment(x) if self.augment else x, chunk_labels[rows]
                self.num_completed += 1

    def gather(self, indices: IntArray) -> tuple[Array, Labels]:
        """Return the samples at some indices, rescaled, with their labels."""
        samples = self.samples
        # mode "clip" lets `take` write to `out` unbuffered; no index is out of range
        raw = samples.raw.take(indices, 0, self._raw_buffer[: len(indices)], "clip")
        x = samples.rescaling.apply(raw, self._input_buffer[: len(indices)])
        return x, samples.labels.take(indices)

    def _draw_indices(self) -> IntArray:
        if self.num_samples:
            return self.rng.integers(0, len(self.samples), self.num_samples)
        return self.rng.permutation(len(self.samples))
