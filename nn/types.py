"""Array types shared by the whole package."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Labels: TypeAlias = NDArray[np.integer[Any]]
IntArray: TypeAlias = NDArray[np.int64]
Shape: TypeAlias = tuple[int, ...]
