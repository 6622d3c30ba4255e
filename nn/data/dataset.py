"""What a dataset is once it is loaded and split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nn.types import Array, Labels, Shape


@dataclass(frozen=True)
class Samples:
    """Inputs and their true classes."""

    x: Array
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Three sets of samples without a sample in common."""

    train: Samples
    val: Samples | None
    test: Samples
    class_names: tuple[str, ...]

    @property
    def shape(self) -> Shape:
        """The shape of one sample: channels, height, width."""
        return self.train.x.shape[1:]


class Source(Protocol):
    """Where a dataset comes from."""

    def load(self, rng: np.random.Generator) -> Dataset:
        """Read it, and split it by chance."""
