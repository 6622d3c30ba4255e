"""What a dataset is once it is loaded and split."""

from __future__ import annotations

from dataclasses import dataclass

from nn.batches import Samples
from nn.data.input_spec import InputSpec
from nn.types import Shape


@dataclass(frozen=True)
class Dataset:
    """Sets of samples without a sample in common; a test set without labels is left out."""

    train: Samples
    val: Samples | None
    test: Samples | None
    input_spec: InputSpec
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """The shape of one sample: for an image channels, height, width."""
        return self.input_spec.shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called."""
        return self.input_spec.class_names
