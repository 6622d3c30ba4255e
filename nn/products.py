"""Matrix products of the size of a training step."""

from __future__ import annotations

import numpy as np

from nn.types import Array

MAX_SMALL_PRODUCT = 100**3
"""Largest nkm at which OpenBLAS multiplies n x k by k x m without packing (copying) them first."""
MAX_BLOCKS = 16
"""Limit on the number of blocks of a product, as reading `b` anew for each of them takes time."""


def dot(a: Array, b: Array, out: Array) -> None:
    """Write a @ b to `out`, if that is faster, in blocks of rows that are small products.

    A small batch is multiplied with a large weight, or its transpose with a gradient, in up to a
    third less time; packing pays only where each value is used many times.
    """
    is_small = len(a) * b.size <= MAX_SMALL_PRODUCT
    # the kernels of small products take four rows at a time
    block_size = 0 if is_small else MAX_SMALL_PRODUCT // b.size // 4 * 4
    if len(a) > MAX_BLOCKS * block_size or not HAS_SMALL_PRODUCTS:
        np.dot(a, b, out=out)
        return
    for start in range(0, len(a), block_size):
        rows = slice(start, start + block_size)
        np.matmul(a[rows], b, out=out[rows])  # np.dot would copy a transposed block


def _has_small_products() -> bool:
    """Return whether NumPy uses OpenBLAS, on a processor for which that has small products."""
    config = np.show_config(mode="dicts")  # without what it knows nothing about
    blas = config.get("Build Dependencies", {}).get("blas", {}).get("name", "")
    processor_features = config.get("SIMD Extensions", {}).get("found", [])
    return "openblas" in blas and not {"X86_V4", "AVX512_SKX"}.isdisjoint(processor_features)


HAS_SMALL_PRODUCTS = _has_small_products()
