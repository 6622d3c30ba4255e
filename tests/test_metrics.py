from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nn.metrics import accuracy, confusion_matrix


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_rows_are_true_classes_and_columns_predicted_ones(pairs):
    outputs = np.eye(5)[[predicted for _, predicted in pairs]]
    confusion = confusion_matrix(outputs, np.array([truth for truth, _ in pairs]))
    for truth in range(5):
        for predicted in range(5):
            assert confusion[truth, predicted] == pairs.count((truth, predicted))
    assert accuracy(confusion) == np.mean([truth == predicted for truth, predicted in pairs])
