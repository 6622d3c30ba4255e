"""All parameters of a network in one flat vector, and all gradients in another.

Layers hold named views into both. An optimizer step is then a few vector operations on one array,
and a checkpoint is one array and a table of names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from nn.arrays import aligned_full
from nn.types import Array, Shape


class TooManyParametersError(Exception):
    """A network does not fit into memory."""


class Parameters:
    """Flat vectors of parameters and gradients, with named views into them."""

    def __init__(self, shapes: Mapping[str, Shape], dtype: type[np.floating]) -> None:
        self.shapes = dict(shapes)
        size = sum(math.prod(shape) for shape in shapes.values())
        try:
            self.values: Array = aligned_full((size,), 0, dtype)
            self.gradients: Array = aligned_full((size,), 0, dtype)
        except (MemoryError, ValueError, OverflowError):
            raise TooManyParametersError(
                f"a network of {size:,} parameters is more than this machine can hold."
            ) from None

    def __len__(self) -> int:
        return self.values.size

    def named_views(self, flat: Array) -> dict[str, Array]:
        """Split a flat vector of `len(self)` values into named, shaped views."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            end = start + math.prod(shape)
            views[name] = flat[start:end].reshape(shape)
            start = end
        return views
