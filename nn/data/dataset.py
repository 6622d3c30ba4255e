"""What a dataset is once it is loaded and split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nn.data.inputs import UNSCALED, Inputs, Scale
from nn.types import Labels, Shape


@dataclass(frozen=True)
class Samples:
    """Inputs and their true classes.

    Inputs stay as they came and are scaled batch by batch: a fourth of the memory for bytes, and
    faster, since less of it is read.
    """

    raw: NDArray[Any]
    labels: Labels
    scale: Scale = UNSCALED

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def shape(self) -> Shape:
        """The shape of one sample."""
        return self.raw.shape[1:]


@dataclass(frozen=True)
class Dataset:
    """Sets of samples without a sample in common; a test set without labels is left out."""

    train: Samples
    val: Samples | None
    test: Samples | None
    inputs: Inputs
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """The shape of one sample: for an image channels, height, width."""
        return self.inputs.shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called."""
        return self.inputs.class_names
