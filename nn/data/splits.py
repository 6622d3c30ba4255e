"""Stratified splits: each class is in each part in the same proportion.

The draw uses the generator's raw bits alone, the one stream that NumPy promises to keep from
version to version: a seed means the same split on every machine.
"""

from __future__ import annotations

import numpy as np

from nn.errors import UserError
from nn.types import IntArray, Labels


def stratified_split(
    labels: Labels, fraction: float, rng: np.random.Generator, setting: str
) -> tuple[IntArray, IntArray]:
    """Draw a share of the samples, and give the indices of the rest and of the share, sorted.

    The setting is the one that asked for this share, as a person typed it.
    """
    sampled = stratified_sample(labels, fraction, rng)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        n_sampled = int(np.sum(labels[sampled] == label))
        if fraction and not 0 < n_sampled < count:
            raise UserError(
                f"{setting}: class {label} has {count} samples, of which {n_sampled} would be set "
                f"aside and {count - n_sampled} kept; each needs at least one."
            )
    return np.setdiff1d(np.arange(len(labels)), sampled, assume_unique=True), sampled


def stratified_sample(labels: Labels, fraction: float, rng: np.random.Generator) -> IntArray:
    """Draw a share of the samples, each class in proportion, and give their indices, sorted."""
    classes, counts = np.unique(labels, return_counts=True)
    indices = []
    for label, num_samples in zip(classes, _apportion(counts, fraction), strict=True):
        members = np.flatnonzero(labels == label)
        order = np.argsort(rng.bit_generator.random_raw(len(members)), kind="stable")
        indices.append(members[order[:num_samples]])
    return np.sort(np.concatenate(indices))


def _apportion(counts: IntArray, fraction: float) -> IntArray:
    """Whole numbers close to the share of each count, whose sum is the share of the sum."""
    exact = counts * fraction
    rounded: IntArray = np.floor(exact).astype(np.int64)
    shortfall = round(counts.sum() * fraction) - int(rounded.sum())
    largest_remainders = np.argsort(rounded - exact, kind="stable")[:shortfall]
    rounded[largest_remainders] += 1
    return rounded
