"""Index columns of CSV files, which number the rows: pandas writes one unless index=False.

A column is taken for an index by its name, or by values that differ in every row where they cannot
be pixels or labels.
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
"""The values of fewer rows may count up, or all differ, by chance."""


def is_index_name(name: str) -> bool:
    """Whether a column of this name is an index, if its values are whole numbers."""
    return INDEX_NAME_PATTERN.fullmatch(name.strip()) is not None


def is_numbered_header(cells: Sequence[str]) -> bool:
    """Whether a row is the header that pandas writes for an array: 0, 1, 2, ..."""
    numbers = [cell.strip() for cell in cells if not is_index_name(cell)]
    in_order = numbers == [str(number) for number in range(len(numbers))]
    return in_order and len(numbers) >= (2 if len(numbers) < len(cells) else MIN_ROWS)


def are_nonnegative_integers(values: NDArray[Any]) -> bool:
    """Whether all values are whole numbers from 0 on."""
    return bool(values.min() >= 0 and not (values % 1).any())


def is_consecutive(values: NDArray[Any]) -> bool:
    """Whether each value is the one before plus one."""
    is_integer = len(values) > 1 and are_nonnegative_integers(values)
    return is_integer and bool((np.diff(values.astype(np.int64)) == 1).all())


def index_score(values: NDArray[Any]) -> int:
    """Grade how surely a column is an index, from 0 (it is not) to 4 (it cannot be pixels)."""
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
    """Whether a column is an index if the only alternative is that it is one of so many pixels."""
    score = index_score(values)
    return score > 2 or (score == 2 and not is_square_number(num_pixels))


def is_square_number(number: int) -> bool:
    """Whether so many pixels make a square image."""
    return math.isqrt(number) ** 2 == number


def has_distinct_name(names: Sequence[str], column: int) -> bool:
    """Whether a column is not named like the others, as pixel0 is like pixel1."""
    stems = [re.sub(r"\d+", "", name) for name in names]
    return stems.count(stems[column]) == 1
