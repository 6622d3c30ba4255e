"""A dataset after loading, splitting and scaling."""

from __future__ import annotations

from dataclasses import dataclass

from nn.batches import Samples
from nn.data.input_spec import InputSpec
from nn.types import Shape


@dataclass(frozen=True)
class Dataset:
    """Disjoint training, validation and test sets; `test` is None if it has no labels."""

    train: Samples
    val: Samples | None
    test: Samples | None
    input_spec: InputSpec
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """Shape of one sample; for an image channels, height, width."""
        return self.input_spec.shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        return self.input_spec.class_names
