from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nn.batches import Batches, Samples
from tests.strategies import seeds


def make_samples(count):
    return Samples(np.arange(count, dtype=np.float32).reshape(-1, 1), np.arange(count))


@given(st.integers(1, 50), st.integers(1, 60), seeds)
def test_epoch_has_each_sample_once_with_its_label(count, size, seed):
    batches = Batches(make_samples(count), size, np.random.default_rng(seed))
    for _ in range(2):
        seen_labels = []
        for x, labels in batches:
            np.testing.assert_array_equal(x[:, 0], labels)
            assert len(x) <= size
            seen_labels += list(labels)
        assert sorted(seen_labels) == list(range(count))
    assert len(batches) == -(-count // min(size, count))


def test_batch_size_above_the_training_set_means_full_batch():
    assert [
        len(labels) for _, labels in Batches(make_samples(5), 99, np.random.default_rng(0))
    ] == [5]


def test_epochs_are_shuffled_differently_and_reproducibly():
    def epochs(seed):
        batches = Batches(make_samples(40), 8, np.random.default_rng(seed))
        return [[int(label) for _, labels in batches for label in labels] for _ in range(2)]

    first, second = epochs(1)
    assert first != second
    assert epochs(1) == [first, second] != epochs(2)
