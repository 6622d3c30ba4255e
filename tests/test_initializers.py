from __future__ import annotations

import numpy as np
import pytest

from nn.initializers import INITIALIZERS

INPUTS, UNITS, RECEPTIVE = 400, 200, 9
VARIANCES = {
    "he": 2 / INPUTS,
    "xavier": 2 / (INPUTS + UNITS * RECEPTIVE),
    "lecun": 1 / INPUTS,
}


def drawn(name, shape=(INPUTS, UNITS)):
    weight = np.zeros(shape)
    INITIALIZERS[name](weight, np.random.default_rng(0), receptive_field_size=RECEPTIVE)
    return weight


@pytest.mark.parametrize("family", VARIANCES)
@pytest.mark.parametrize("spread", ["normal", "uniform"])
def test_each_family_has_its_variance_and_each_spread_its_shape(family, spread):
    weight = drawn(f"{family}_{spread}")
    assert weight.mean() == pytest.approx(0, abs=5e-4)
    assert weight.var() == pytest.approx(VARIANCES[family], rel=0.02)
    largest = abs(weight).max() / np.sqrt(VARIANCES[family])
    assert largest <= np.sqrt(3) if spread == "uniform" else largest > 3


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (20, 20)])
def test_orthogonal_keeps_lengths(shape):
    weight = drawn("orthogonal", shape)
    small = weight.T @ weight if shape[0] >= shape[1] else weight @ weight.T
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-12)


def test_zeros_are_zeros():
    assert not drawn("zeros").any()
