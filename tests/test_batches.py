from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nn.batches import Batches, Samples
from tests.strategies import seeds


def samples(count):
    return Samples(np.arange(count, dtype=np.float32).reshape(-1, 1), np.arange(count))


@given(st.integers(1, 50), st.integers(1, 60), seeds)
def test_an_epoch_has_each_sample_once_with_its_label(count, size, seed):
    batches = Batches(samples(count), size, np.random.default_rng(seed))
    for _ in range(2):
        seen = []
        for x, labels in batches:
            np.testing.assert_array_equal(x[:, 0], labels)
            assert len(x) <= size
            seen += list(labels)
        assert sorted(seen) == list(range(count))
    assert len(batches) == -(-count // min(size, count))


def test_a_batch_size_above_the_training_set_is_one_full_batch():
    assert [len(labels) for _, labels in Batches(samples(5), 99, np.random.default_rng(0))] == [5]


def test_each_epoch_has_an_order_of_its_own_and_the_seed_repeats_them():
    def epochs(seed):
        batches = Batches(samples(40), 8, np.random.default_rng(seed))
        return [[int(label) for _, labels in batches for label in labels] for _ in range(2)]

    first, second = epochs(1)
    assert first != second
    assert epochs(1) == [first, second] != epochs(2)
