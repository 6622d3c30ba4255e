"""Detection of index columns in CSV files, which pandas writes unless index=False.

A column is taken for an index because of its name, or because its values are unique and cannot be
pixels or labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

INDEX_NAME_PATTERN = re.compile(
    r"|unnamed: ?\d+(\.\d+)?|level_\d+|index|idx|rownames|(image|row|sample)?[_ ]?id", re.IGNORECASE
)
MAX_PIXEL = 255
MIN_ROWS = 10
"""In fewer rows, values may be consecutive or unique by chance."""


def is_index_name(name: str) -> bool:
    """Whether a column of this name is an index, provided that its values are whole numbers."""
    return INDEX_NAME_PATTERN.fullmatch(name.strip()) is not None


def is_numbered_header(cells: Sequence[str]) -> bool:
    """Whether a row is the header 0, 1, 2, ... that pandas writes for an array."""
    numbers = [cell.strip() for cell in cells if not is_index_name(cell)]
    in_order = numbers == [str(number) for number in range(len(numbers))]
    return in_order and len(numbers) >= (2 if len(numbers) < len(cells) else MIN_ROWS)


def are_nonnegative_integers(values: NDArray[Any]) -> bool:
    """Whether all values are whole numbers of at least 0."""
    return bool(values.min() >= 0 and not (values % 1).any())


def is_consecutive(values: NDArray[Any]) -> bool:
    """Whether each value is its predecessor plus one."""
    is_integer = len(values) > 1 and are_nonnegative_integers(values)
    return is_integer and bool((np.diff(values.astype(np.int64)) == 1).all())


def index_score(values: NDArray[Any]) -> int:
    """Rate the evidence for an index column from 0 (not an index) to 4 (cannot be pixels)."""
    consecutive, has_enough_rows = is_consecutive(values), len(values) >= MIN_ROWS
    if not consecutive and not (
        has_enough_rows
        and are_nonnegative_integers(values)
        and len(np.unique(values)) == len(values)
    ):
        return 0
    if values.max() > MAX_PIXEL:
        return 4 if consecutive else 3
    return 2 if consecutive and has_enough_rows else 1


def is_likely_index(values: NDArray[Any], num_pixels: int) -> bool:
    """Whether a column is an index, if it would otherwise be one of `num_pixels` pixels."""
    score = index_score(values)
    return score > 2 or (score == 2 and not is_square_number(num_pixels))


def is_square_number(number: int) -> bool:
    """Whether this number of pixels makes a square image."""
    return math.isqrt(number) ** 2 == number


def has_distinct_name(names: Sequence[str], column: int) -> bool:
    """Whether no other column has this name up to digits, as pixel0 and pixel1 have."""
    stems = [re.sub(r"\d+", "", name) for name in names]
    return stems.count(stems[column]) == 1
