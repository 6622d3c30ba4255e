from __future__ import annotations

import numpy as np
import pytest

from nn.errors import SettingError
from nn.layers import Dropout


def make_dropout(rate, seed=0):
    layer = Dropout(rate, np.random.default_rng(seed))
    layer.build((1000,), np.float32)
    return layer


def test_training_drops_at_the_rate_and_keeps_the_mean():
    y = make_dropout(0.3).forward(np.ones((100, 1000), np.float32), training=True)
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-4)


def test_gradient_uses_the_forward_mask():
    layer = make_dropout(0.5)
    y = layer.forward(np.ones((4, 1000), np.float32), training=True)
    np.testing.assert_array_equal(layer.backward(np.ones((4, 1000), np.float32)), y)


def test_evaluation_is_the_identity():
    x = np.ones((4, 1000), np.float32)
    assert make_dropout(0.5).forward(x, training=False) is x


def test_dropout_mask_is_reproducible():
    x = np.ones((4, 1000), np.float32)
    first, second = (make_dropout(0.5, seed=3).forward(x, training=True) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_rate_out_of_range_is_refused(rate):
    with pytest.raises(SettingError, match=r"dropout=.* at least 0 and below 1"):
        make_dropout(rate)
