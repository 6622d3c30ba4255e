"""What all sources of data share: from files to a split and scaled dataset."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.batches import UNSCALED, Samples, Scale
from nn.data.dataset import Dataset
from nn.data.input_spec import Inputs
from nn.data.splits import draw, split
from nn.errors import Mistake, require
from nn.types import Labels

MOST_CLASSES = 1000
NORMALIZATIONS = ("none", "unit", "standard")


@dataclass(frozen=True)
class Raw:
    """Samples as a source gives them; those of a test may lack labels."""

    images: NDArray[Any]
    labels: Labels | None

    @property
    def labelled(self) -> bool:
        """Whether the true classes are known."""
        return self.labels is not None


@dataclass(frozen=True)
class Content:
    """All that a source gives.

    `peak` is the largest value that its images could have, `sha256` that of the content where it
    is not the images and labels as they stand here, `notes` what to print about the files.
    """

    train: Raw
    test: Raw | None
    class_names: tuple[str, ...]
    peak: float | None = None
    sha256: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where a dataset comes from, and what is done with it before training."""

    validation: float = 0.1
    normalize: str = "unit"
    limit: int | None = None

    def __post_init__(self) -> None:
        require(0 <= self.validation < 1, "validation", self.validation, "at least 0 and below 1")
        one_of = "one of " + ", ".join(NORMALIZATIONS)
        require(self.normalize in NORMALIZATIONS, "normalize", self.normalize, one_of)
        require(self.limit is None or self.limit >= 1, "limit", self.limit, "at least 1")

    @abstractmethod
    def read(self, rng: np.random.Generator) -> Content:
        """Read everything; what is drawn is drawn from this generator."""

    def load(self, rng: np.random.Generator) -> Dataset:
        """Read, limit, split and scale."""
        content = self.read(rng)
        images, labels = self._limited(content.train, rng)
        setting = f"dataset.validation={self.validation:g}"
        rest, part = split(labels, self.validation, rng, setting)
        learned = images[rest]
        scale = self._scale(learned, content.peak)
        test = content.test
        return Dataset(
            train=Samples(learned, labels[rest], scale),
            val=Samples(images[part], labels[part], scale) if len(part) else None,
            test=Samples(*self._limited(test, rng), scale) if test and test.labelled else None,
            inputs=Inputs.of(learned, content.peak, scale, content.class_names),
            sha256=content.sha256 or digest_of(content.train, content.test),
            notes=content.notes,
        )

    def _limited(self, raw: Raw, rng: np.random.Generator) -> tuple[NDArray[Any], Labels]:
        """Keep so many samples at the most, each class in proportion."""
        assert raw.labels is not None
        if self.limit is None or self.limit >= len(raw.labels):
            return raw.images, raw.labels
        kept = draw(raw.labels, self.limit / len(raw.labels), rng)
        if len(np.unique(raw.labels[kept])) < len(np.unique(raw.labels)):
            raise Mistake(f"dataset.limit={self.limit}: this leaves nothing of some class.")
        return raw.images[kept], raw.labels[kept]

    def _scale(self, learned: NDArray[Any], peak: float | None) -> Scale:
        """Find the scale; whatever is measured is measured on the training set alone."""
        if self.normalize == "none":
            return UNSCALED
        if self.normalize == "unit":
            low, high = (0.0, peak) if peak else (float(learned.min()), float(learned.max()))
            spread = (high - low) or 1.0
            return Scale(1 / spread, -low / spread)
        values, counts = np.unique(learned, return_counts=True)
        mean = float(np.average(values, weights=counts))
        deviation = float(np.sqrt(np.average((values - mean) ** 2, weights=counts))) or 1.0
        return Scale(1 / deviation, -mean / deviation)


def count_classes(labels: Labels, where: str) -> int:
    """Say how many classes a training set has."""
    check_labels(labels, MOST_CLASSES, where)
    if labels.max() == labels.min():
        raise Mistake(f"{where}: all labels are {labels[0]}, so there is nothing to tell apart.")
    return int(labels.max()) + 1


def check_labels(labels: Labels, classes: int, where: str) -> None:
    """Refuse labels that name no class."""
    strange = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(strange):
        raise Mistake(
            f"{where}: sample {strange[0] + 1} has the label {labels[strange[0]]}; "
            f"the classes are 0 to {classes - 1}."
        )


def digest_of(*parts: Raw | None) -> str:
    """The SHA-256 of images and labels."""
    digest = hashlib.sha256()
    for raw in parts:
        for array in (raw.images, raw.labels) if raw else ():
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
