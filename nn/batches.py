"""Labelled samples and the iterator over the batches of an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.types import Array, IntArray, Labels, Shape


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
        self._raw_buffer = np.empty((self.batch_size, *samples.sample_shape), samples.raw.dtype)
        self._input_buffer = np.empty((self.batch_size, *samples.sample_shape), np.float32)

    def __len__(self) -> int:
        return math.ceil(self.samples_per_epoch / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, Labels]]:
        indices = self._draw_indices()
        for batch_index, start in enumerate(range(0, len(indices), self.batch_size)):
            self.num_completed = batch_index
            batch_indices = indices[start : start + self.batch_size]
            yield self.gather(batch_indices)
        self.num_completed = len(self)

    def gather(self, indices: IntArray) -> tuple[Array, Labels]:
        """Return the samples at some indices as one batch, rescaled and augmented."""
        samples = self.samples
        # mode "clip" lets `take` write to `out` unbuffered; no index is out of range
        raw = samples.raw.take(indices, 0, self._raw_buffer[: len(indices)], "clip")
        x = samples.rescaling.apply(raw, self._input_buffer[: len(indices)])
        return self.augment(x) if self.augment else x, samples.labels.take(indices)

    def _draw_indices(self) -> IntArray:
        if self.num_samples:
            return self.rng.integers(0, len(self.samples), self.num_samples)
        return self.rng.permutation(len(self.samples))
