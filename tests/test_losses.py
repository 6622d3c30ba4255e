from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.errors import UserError
from nn.losses import MeanSquaredError, SoftmaxCrossEntropy, softmax
from tests.strategies import numerical_gradient, seeds

LOSSES = {
    "cross-entropy": lambda classes: SoftmaxCrossEntropy(),
    "smoothed": lambda classes: SoftmaxCrossEntropy(label_smoothing=0.1),
    "weighted": lambda classes: SoftmaxCrossEntropy(class_weights=list(range(1, classes + 1))),
    "both": lambda classes: SoftmaxCrossEntropy(0.3, class_weights=list(range(1, classes + 1))),
    "squares of softmax": lambda classes: MeanSquaredError(),
    "squares of logits": lambda classes: MeanSquaredError(apply_softmax=False),
}


def init_loss(loss, classes):
    loss.build(classes, np.dtype(np.float64))
    return loss


@pytest.mark.parametrize("kind", LOSSES)
@settings(max_examples=20)
@given(size=st.integers(1, 6), classes=st.integers(2, 6), seed=seeds)
def test_gradient_matches_finite_differences(kind, size, classes, seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, (size, classes)), rng.integers(0, classes, size)
    loss = init_loss(LOSSES[kind](classes), classes)
    expected = numerical_gradient(lambda: loss.value(logits, labels), logits)
    np.testing.assert_allclose(loss.gradient(logits, labels), expected, rtol=1e-5, atol=1e-8)


def test_loss_of_equal_logits_is_log_of_the_number_of_classes():
    loss = init_loss(SoftmaxCrossEntropy(), 10)
    assert loss.value(np.zeros((3, 10)), np.arange(3)) == pytest.approx(np.log(10))


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("height", [1e4, -1e4, 1e15])
def test_huge_logits_are_numerically_stable(kind, height):
    logits = np.array([[height, 0, 0], [0, height, 0]], np.float32)
    loss = LOSSES[kind](3)
    loss.build(3, logits.dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert np.isfinite(loss.value(logits, np.array([0, 1])))
        assert np.isfinite(loss.gradient(logits, np.array([0, 1]))).all()


@pytest.mark.parametrize("kind", ["cross-entropy", "smoothed", "squares of softmax"])
def test_gradients_of_a_sample_sum_to_zero(kind):
    rng = np.random.default_rng(0)
    loss = init_loss(LOSSES[kind](4), 4)
    gradient = loss.gradient(rng.normal(size=(5, 4)), rng.integers(0, 4, 5))
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-15)


def test_class_weights_scale_the_gradient():
    logits, labels = np.zeros((2, 2)), np.array([0, 1])
    loss = init_loss(SoftmaxCrossEntropy(class_weights=[1.0, 3.0]), 2)
    gradient = loss.gradient(logits, labels)
    assert abs(gradient[1]).sum() == pytest.approx(3 * abs(gradient[0]).sum())


def test_wrong_number_of_class_weights_is_refused():
    with pytest.raises(UserError, match=r"class_weights has 2 numbers, but there are 10 classes"):
        SoftmaxCrossEntropy(class_weights=[1.0, 2.0]).build(10, np.dtype(np.float32))


def test_softmax_gives_probabilities():
    p = softmax(np.random.default_rng(0).normal(0, 5, (20, 7)))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p > 0).all()
