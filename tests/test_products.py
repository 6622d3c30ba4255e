from __future__ import annotations

import numpy as np
import pytest

from nn import products
from nn.products import dot


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 3, 2), (32, 784, 128), (33, 785, 129), (128, 512, 512)])
def test_products_in_blocks_equal_whole_products(shape, dtype, monkeypatch):
    monkeypatch.setattr(products, "HAS_SMALL_PRODUCTS", True)
    batch_size, inputs, units = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch_size, inputs)).astype(dtype)
    weight = rng.standard_normal((inputs, units)).astype(dtype)
    y, d_weight = np.full((batch_size, units), np.nan, dtype), np.full_like(weight, np.nan)
    dot(x, weight, out=y)
    dot(x.T, y, out=d_weight)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(y, x @ weight, rtol=tolerance, atol=tolerance * inputs)
    np.testing.assert_allclose(d_weight, x.T @ y, rtol=tolerance, atol=tolerance * inputs)


def test_large_products_are_not_split(monkeypatch):
    monkeypatch.setattr(products, "HAS_SMALL_PRODUCTS", True)
    monkeypatch.setattr(np, "matmul", lambda *_, **__: pytest.fail("split"))
    a, b = np.ones((256, 784), np.float32), np.ones((784, 128), np.float32)
    dot(a, b, out=np.empty((256, 128), np.float32))
