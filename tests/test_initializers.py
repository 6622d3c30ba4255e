from __future__ import annotations

import numpy as np
import pytest

from nn.initializers import INITIALIZERS

NUM_INPUTS, NUM_UNITS, RECEPTIVE_FIELD_SIZE = 400, 200, 9
VARIANCES = {
    "he": 2 / NUM_INPUTS,
    "xavier": 2 / (NUM_INPUTS + NUM_UNITS * RECEPTIVE_FIELD_SIZE),
    "lecun": 1 / NUM_INPUTS,
}


def init_weight(name, shape=(NUM_INPUTS, NUM_UNITS)):
    weight = np.zeros(shape)
    INITIALIZERS[name](weight, np.random.default_rng(0), receptive_field_size=RECEPTIVE_FIELD_SIZE)
    return weight


@pytest.mark.parametrize("family", VARIANCES)
@pytest.mark.parametrize("spread", ["normal", "uniform"])
def test_initializers_have_the_expected_variance_and_shape(family, spread):
    weight = init_weight(f"{family}_{spread}")
    assert weight.mean() == pytest.approx(0, abs=5e-4)
    assert weight.var() == pytest.approx(VARIANCES[family], rel=0.02)
    largest = abs(weight).max() / np.sqrt(VARIANCES[family])
    assert largest <= np.sqrt(3) if spread == "uniform" else largest > 3


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (20, 20)])
def test_orthogonal_preserves_norms(shape):
    weight = init_weight("orthogonal", shape)
    small = weight.T @ weight if shape[0] >= shape[1] else weight @ weight.T
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-12)


def test_zeros_initializer_gives_zeros():
    assert not init_weight("zeros").any()
