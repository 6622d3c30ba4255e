from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nn.batches import Rescaling
from nn.data.digits import Digits
from nn.data.splits import stratified_split
from nn.errors import UserError
from nn.randomness import RandomGenerators
from tests.strategies import seeds

MNIST_CLASS_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@given(st.lists(st.integers(20, 60), min_size=2, max_size=6), st.floats(0.1, 0.9), seeds)
def test_splits_are_disjoint_complete_and_stratified(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    rest, part = stratified_split(labels, share, np.random.default_rng(seed), "share")
    assert sorted([*rest, *part]) == list(range(len(labels)))
    assert len(part) == round(len(labels) * share)
    for label, count in enumerate(counts):
        assert abs(np.sum(labels[part] == label) - count * share) < 1


def test_mnist_splits_into_54000_and_6000():
    labels = np.repeat(np.arange(10), MNIST_CLASS_COUNTS)
    rest, part = stratified_split(labels, 0.1, np.random.default_rng(0), "validation=0.1")
    assert (len(rest), len(part)) == (54_000, 6_000)


def test_zero_fraction_keeps_every_sample():
    rest, part = stratified_split(np.arange(5), 0.0, np.random.default_rng(0), "validation")
    assert (list(rest), list(part)) == ([0, 1, 2, 3, 4], [])


def test_class_too_small_to_split_is_named():
    labels = np.array([0] * 50 + [7] * 2)
    with pytest.raises(UserError, match=r"validation=0\.1: class 7 has 2 samples, of which 0"):
        stratified_split(labels, 0.1, np.random.default_rng(0), "validation=0.1")


def test_seeded_split_is_the_same_on_every_machine():
    """Recorded once; another value would change every user's results."""
    labels = np.repeat(np.arange(3), 10)
    _, part = stratified_split(labels, 0.2, RandomGenerators.from_seed(0).split, "share")
    assert list(part) == [3, 6, 11, 17, 20, 24]


def test_split_depends_on_the_seed():
    labels = np.repeat(np.arange(3), 10)
    parts = [
        stratified_split(labels, 0.2, RandomGenerators.from_seed(n).split, "share")[1]
        for n in range(5)
    ]
    assert len({tuple(part) for part in parts}) > 1


def test_digits_splits_share_no_sample():
    dataset = Digits().load(np.random.default_rng(0))
    sets = dataset.train, dataset.val, dataset.test
    assert [len(samples) for samples in sets] == [1294, 144, 359]
    assert dataset.shape == (1, 8, 8)
    images = np.concatenate([samples.raw for samples in sets])
    assert len(np.unique(images.reshape(1797, -1), axis=0)) == 1797
    assert (images.min(), images.max()) == (0, 16)
    assert dataset.train.rescaling == Rescaling(1 / 16)
    for samples in sets:
        shares = np.bincount(samples.labels) / len(samples)
        assert abs(shares - 0.1).max() < 0.01


def test_digits_without_validation():
    dataset = Digits(validation=0).load(np.random.default_rng(0))
    assert dataset.val is None
    assert len(dataset.train) == 1438


@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True), seeds)
def test_any_split_is_valid_or_refused(size, share, seed):
    assume(share > 0)
    labels = np.random.default_rng(seed).integers(0, 3, size)
    try:
        rest, part = stratified_split(labels, share, np.random.default_rng(seed), "share")
    except UserError:
        return
    for label in np.unique(labels):
        assert label in labels[rest]
        assert label in labels[part]
