"""Datasets, and the base class of their sources: from raw files to a split and scaled dataset."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from nn.batches import NO_RESCALING, Rescaling, Samples
from nn.data.input_spec import InputSpec, value_range
from nn.data.splits import stratified_sample, stratified_split
from nn.errors import UserError
from nn.types import Fraction, Labels, OneOf, PositiveInt, Shape, check_settings

MAX_CLASSES = 1000


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


@dataclass(frozen=True)
class RawSamples:
    """Unscaled samples of one set; a test set may have no labels."""

    images: NDArray[np.number]
    labels: Labels | None


@dataclass(frozen=True)
class RawDataset:
    """Content of a source before splitting and scaling.

    `max_value` is the largest value that a pixel can have, if it is known. `sha256` is given only
    if it differs from the hash of these images and labels. `notes` are printed to the user.
    """

    train: RawSamples
    test: RawSamples | None
    class_names: tuple[str, ...]
    max_value: float | None = None
    sha256: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataSource(ABC):
    """Base class of dataset sources, with the settings that all of them share."""

    validation: Fraction = 0.1
    normalize: Annotated[str, OneOf("none", "unit", "standard")] = "unit"
    max_samples: PositiveInt | None = None

    def __post_init__(self) -> None:
        check_settings(self)

    @abstractmethod
    def read(self, rng: np.random.Generator) -> RawDataset:
        """Read all samples; any random choice uses `rng`."""

    def load(self, rng: np.random.Generator) -> Dataset:
        """Read, subsample and split the samples, and fit their scaling."""
        raw = self.read(rng)
        images, labels = self._subsample(raw.train, rng)
        setting = f"dataset.validation={self.validation:g}"
        train_indices, val_indices = stratified_split(labels, self.validation, rng, setting)
        train_images = images[train_indices]
        scale = self._fit_scale(train_images, raw.max_value)
        val = Samples(images[val_indices], labels[val_indices], scale)
        test = None
        if raw.test and raw.test.labels is not None:
            test = Samples(*self._subsample(raw.test, rng), scale)
        return Dataset(
            train=Samples(train_images, labels[train_indices], scale),
            val=val if len(val) else None,
            test=test,
            input_spec=InputSpec.from_samples(train_images, raw.max_value, scale, raw.class_names),
            sha256=raw.sha256 or compute_sha256(raw.train, raw.test),
            notes=raw.notes,
        )

    def _subsample(
        self, samples: RawSamples, rng: np.random.Generator
    ) -> tuple[NDArray[np.number], Labels]:
        """Return a stratified subsample of at most `max_samples` samples."""
        assert samples.labels is not None
        if self.max_samples is None or self.max_samples >= len(samples.labels):
            return samples.images, samples.labels
        indices = stratified_sample(samples.labels, self.max_samples / len(samples.labels), rng)
        if len(np.unique(samples.labels[indices])) < len(np.unique(samples.labels)):
            raise UserError(
                f"dataset.max_samples={self.max_samples}: some class would have no samples."
            )
        return samples.images[indices], samples.labels[indices]

    def _fit_scale(self, images: NDArray[np.number], max_value: float | None) -> Rescaling:
        """Fit the scaling to the training images alone, so that nothing leaks from other sets."""
        if self.normalize == "none":
            return NO_RESCALING
        if self.normalize == "unit":
            low, high = value_range(images, max_value)
            span = (high - low) or 1.0
            return Rescaling(1 / span, -low / span)
        values, counts = np.unique(images, return_counts=True)
        mean = float(np.average(values, weights=counts))
        std = float(np.sqrt(np.average((values - mean) ** 2, weights=counts))) or 1.0
        return Rescaling(1 / std, -mean / std)


def count_classes(labels: Labels, path: str) -> int:
    """Return the number of classes, the largest label plus one."""
    check_labels(labels, MAX_CLASSES, path)
    if labels.max() == labels.min():
        raise UserError(f"{path}: all labels are {labels[0]}, but training needs two classes.")
    return int(labels.max()) + 1


def check_labels(labels: Labels, num_classes: int, path: str) -> None:
    """Raise a UserError unless all labels are from 0 to `num_classes` - 1."""
    invalid = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(invalid):
        raise UserError(
            f"{path}: sample {invalid[0] + 1} has the label {labels[invalid[0]]}; "
            f"the classes are 0 to {num_classes - 1}."
        )


def compute_sha256(*sample_sets: RawSamples | None) -> str:
    """Return the SHA-256 of images and labels, with their types and shapes."""
    digest = hashlib.sha256()
    for samples in sample_sets:
        for array in (samples.images, samples.labels) if samples else ():
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
