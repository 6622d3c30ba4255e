from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.losses import SoftmaxCrossEntropy
from tests.strategies import numeric_gradient, seeds


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(2, 6), seeds)
def test_the_gradient_is_that_of_the_value(size, classes, seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, (size, classes)), rng.integers(0, classes, size)
    loss = SoftmaxCrossEntropy()
    expected = numeric_gradient(lambda: loss.value(logits, labels), logits)
    np.testing.assert_allclose(loss.gradient(logits, labels), expected, rtol=1e-5, atol=1e-8)


def test_equal_logits_cost_the_logarithm_of_the_classes():
    assert SoftmaxCrossEntropy().value(np.zeros((3, 10)), np.arange(3)) == pytest.approx(np.log(10))


@pytest.mark.parametrize("height", [1e4, -1e4, 3e38])
def test_huge_logits_neither_overflow_nor_meet_a_logarithm_of_zero(height):
    logits = np.array([[height, 0, 0], [0, height, 0]], np.float32)
    loss = SoftmaxCrossEntropy()
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert np.isfinite(loss.value(logits, np.array([0, 1])))
        assert np.isfinite(loss.gradient(logits, np.array([0, 1]))).all()


def test_gradients_of_a_sample_add_up_to_nothing():
    rng = np.random.default_rng(0)
    gradient = SoftmaxCrossEntropy().gradient(rng.normal(size=(5, 4)), rng.integers(0, 4, 5))
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-15)
