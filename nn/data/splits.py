"""Stratified splits, in which every part has the same proportion of each class.

Sampling uses only the raw bits of the generator, the one stream that NumPy guarantees across
versions, so that a seed gives the same split on every machine.
"""

from __future__ import annotations

import numpy as np

from nn.errors import UserError
from nn.types import IntArray, Labels


def stratified_split(
    labels: Labels, fraction: float, rng: np.random.Generator, setting: str
) -> tuple[IntArray, IntArray]:
    """Return the sorted indices of the remaining samples and of a stratified sample.

    Args:
        labels: Class of each sample.
        fraction: Fraction of the samples to draw.
        rng: Generator of which only the raw bits are used.
        setting: The setting that asks for this fraction, as KEY=VALUE, quoted in errors.
    """
    sampled = stratified_sample(labels, fraction, rng)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        num_sampled = int(np.sum(labels[sampled] == label))
        if fraction and not 0 < num_sampled < count:
            raise UserError(
                f"{setting}: class {label} has {count} samples, of which {num_sampled} would be "
                f"set aside and {count - num_sampled} kept; both parts need at least one."
            )
    return np.setdiff1d(np.arange(len(labels)), sampled, assume_unique=True), sampled


def stratified_sample(labels: Labels, fraction: float, rng: np.random.Generator) -> IntArray:
    """Draw a fraction of each class without replacement; return the sorted indices."""
    classes, counts = np.unique(labels, return_counts=True)
    indices = []
    for label, num_samples in zip(classes, _apportion(counts, fraction), strict=True):
        members = np.flatnonzero(labels == label)
        order = np.argsort(rng.bit_generator.random_raw(len(members)), kind="stable")
        indices.append(members[order[:num_samples]])
    return np.sort(np.concatenate(indices))


def _apportion(counts: IntArray, fraction: float) -> IntArray:
    """Round `counts * fraction` by the largest remainder method, which preserves the total."""
    exact = counts * fraction
    rounded: IntArray = np.floor(exact).astype(np.int64)
    shortfall = round(counts.sum() * fraction) - int(rounded.sum())
    largest_remainders = np.argsort(rounded - exact, kind="stable")[:shortfall]
    rounded[largest_remainders] += 1
    return rounded
