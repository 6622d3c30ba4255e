"""Stratified splits: each class is in each part in the same proportion.

The draw uses the generator's raw bits alone, the one stream that NumPy promises to keep from
version to version: a seed means the same split on every machine.
"""

from __future__ import annotations

import numpy as np

from nn.errors import Mistake
from nn.types import Counts, Labels


def split(
    labels: Labels, share: float, rng: np.random.Generator, setting: str
) -> tuple[Counts, Counts]:
    """Draw a share of the samples, and give the indices of the rest and of the share, sorted.

    The setting is the one that asked for this share, as a person typed it.
    """
    part = draw(labels, share, rng)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        aside = int(np.sum(labels[part] == label))
        if share and not 0 < aside < count:
            raise Mistake(
                f"{setting}: class {label} has {count} samples, of which {aside} would be set "
                f"aside and {count - aside} kept; each needs at least one."
            )
    return np.setdiff1d(np.arange(len(labels)), part, assume_unique=True), part


def draw(labels: Labels, share: float, rng: np.random.Generator) -> Counts:
    """Draw a share of the samples, each class in proportion, and give their indices, sorted."""
    classes, counts = np.unique(labels, return_counts=True)
    chosen = []
    for label, wanted in zip(classes, _apportion(counts, share), strict=True):
        members = np.flatnonzero(labels == label)
        order = np.argsort(rng.bit_generator.random_raw(len(members)), kind="stable")
        chosen.append(members[order[:wanted]])
    return np.sort(np.concatenate(chosen))


def _apportion(counts: Counts, share: float) -> Counts:
    """Whole numbers close to the share of each count, whose sum is the share of the sum."""
    exact = counts * share
    whole: Counts = np.floor(exact).astype(np.int64)
    missing = round(counts.sum() * share) - int(whole.sum())
    largest_rest = np.argsort(whole - exact, kind="stable")[:missing]
    whole[largest_rest] += 1
    return whole
