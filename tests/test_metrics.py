from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn import metrics

pairs_of_classes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1)


@given(pairs_of_classes)
def test_rows_are_true_classes_and_columns_predicted_ones(pairs):
    outputs = np.eye(5)[[predicted for _, predicted in pairs]]
    confusion = metrics.confusion_matrix(outputs, np.array([truth for truth, _ in pairs]))
    for truth in range(5):
        for predicted in range(5):
            assert confusion[truth, predicted] == pairs.count((truth, predicted))
    right = np.mean([truth == predicted for truth, predicted in pairs])
    assert metrics.accuracy(confusion) == right


@given(pairs_of_classes)
def test_precision_recall_and_f1_are_those_of_the_textbook(pairs):
    confusion = np.zeros((5, 5), np.int64)
    for pair in pairs:
        confusion[pair] += 1
    figures = metrics.precision(confusion), metrics.recall(confusion), metrics.f1(confusion)
    for label, (precision, recall, f1) in enumerate(zip(*figures, strict=True)):
        right = pairs.count((label, label))
        taken = sum(predicted == label for _, predicted in pairs)
        there = sum(truth == label for truth, _ in pairs)
        assert precision == (right / taken if taken else None)
        assert recall == (right / there if there else None)
        if precision and recall:
            assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
        else:
            assert not f1


def test_the_true_class_counts_among_the_first_k():
    outputs = np.array([[3.0, 2.0, 1.0, 0.0]] * 4)
    found = [metrics.top_k_accuracy(k, outputs, np.arange(4)) for k in (1, 2, 3, 4)]
    assert found == [0.25, 0.5, 0.75, 1.0]


def test_equal_outputs_are_no_hits():
    assert metrics.top_k_accuracy(3, np.zeros((5, 10)), np.arange(5)) == 0


def test_calibration_compares_confidence_with_accuracy():
    confident = np.tile([0.95, 0.05], (100, 1))
    labels = np.array([0] * 95 + [1] * 5)
    assert metrics.expected_calibration_error(confident, labels) == pytest.approx(0)
    assert metrics.expected_calibration_error(confident, 1 - labels) == pytest.approx(0.9)
    mixed = np.vstack([confident, np.tile([0.55, 0.45], (100, 1))])
    twice = np.concatenate([labels, labels])
    assert metrics.expected_calibration_error(mixed, twice) == pytest.approx(0.2)
