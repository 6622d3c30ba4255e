from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn import metrics

class_pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1)


@given(class_pairs)
def test_confusion_matrix_has_true_classes_as_rows(pairs):
    outputs = np.eye(5)[[predicted for _, predicted in pairs]]
    confusion = metrics.confusion_matrix(outputs, np.array([truth for truth, _ in pairs]))
    for truth in range(5):
        for predicted in range(5):
            assert confusion[truth, predicted] == pairs.count((truth, predicted))
    right = np.mean([truth == predicted for truth, predicted in pairs])
    assert metrics.accuracy(confusion) == right


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1))
def test_predicted_class_is_the_first_of_the_largest_outputs(rows):
    outputs = np.asfortranarray(rows, np.float32)
    confusion = metrics.confusion_matrix(outputs, np.zeros(len(rows), np.int64))
    expected = np.bincount(outputs.argmax(axis=1), minlength=4)
    np.testing.assert_array_equal(confusion[0], expected)


@given(class_pairs)
def test_precision_recall_and_f1_match_their_definitions(pairs):
    confusion = np.zeros((5, 5), np.int64)
    for pair in pairs:
        confusion[pair] += 1
    scores = metrics.precision(confusion), metrics.recall(confusion), metrics.f1(confusion)
    for label, (precision, recall, f1) in enumerate(zip(*scores, strict=True)):
        num_correct = pairs.count((label, label))
        num_predicted = sum(predicted == label for _, predicted in pairs)
        num_true = sum(truth == label for truth, _ in pairs)
        assert precision == (num_correct / num_predicted if num_predicted else None)
        assert recall == (num_correct / num_true if num_true else None)
        if precision and recall:
            assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
        else:
            assert not f1


def test_top_k_counts_the_true_class():
    outputs = np.array([[3.0, 2.0, 1.0, 0.0]] * 4)
    found = [metrics.top_k_accuracy(k, outputs, np.arange(4)) for k in (1, 2, 3, 4)]
    assert found == [0.25, 0.5, 0.75, 1.0]


def test_ties_do_not_count_as_hits():
    assert metrics.top_k_accuracy(3, np.zeros((5, 10)), np.arange(5)) == 0


def test_calibration_compares_confidence_with_accuracy():
    confident = np.tile([0.95, 0.05], (100, 1))
    labels = np.array([0] * 95 + [1] * 5)
    assert metrics.expected_calibration_error(confident, labels) == pytest.approx(0)
    assert metrics.expected_calibration_error(confident, 1 - labels) == pytest.approx(0.9)
    mixed = np.vstack([confident, np.tile([0.55, 0.45], (100, 1))])
    twice = np.concatenate([labels, labels])
    assert metrics.expected_calibration_error(mixed, twice) == pytest.approx(0.2)
