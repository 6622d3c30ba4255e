"""The batches of an epoch: each sample once, in an order drawn anew each time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from nn.data.dataset import Samples
from nn.types import Array, Labels


class Batches:
    """Iterating once is one epoch; a batch is overwritten by the next."""

    def __init__(self, samples: Samples, size: int, rng: np.random.Generator) -> None:
        self.samples, self.rng = samples, rng
        self.size = min(size, len(samples))
        self.done = 0
        self._x = np.empty((self.size, *samples.x.shape[1:]), samples.x.dtype)

    def __len__(self) -> int:
        return math.ceil(len(self.samples) / self.size)

    def __iter__(self) -> Iterator[tuple[Array, Labels]]:
        x, labels = self.samples.x, self.samples.labels
        order = self.rng.permutation(len(labels))
        for batch, start in enumerate(range(0, len(order), self.size)):
            self.done = batch
            rows = order[start : start + self.size]
            # "clip" spares `take` a second buffer; no row is out of range
            yield x.take(rows, 0, self._x[: len(rows)], "clip"), labels.take(rows)
        self.done = len(self)
