"""What files of a run say, taken as what it should be or not at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nn.types import IntArray

MAX_CLASSES = 2000


def to_finite_float(value: Any) -> float | None:
    """Take a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        given = float(value)
    except OverflowError:
        return None
    return given if math.isfinite(given) else None


def extract_column(records: Sequence[Mapping[str, Any]], key: str) -> list[float | None]:
    """Take one figure of each record."""
    return [to_finite_float(record.get(key)) for record in records]


def epoch_numbers(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """Give each epoch's number, or its place where it has none."""
    numbers = extract_column(history, "epoch")
    return [place if each is None else each for place, each in enumerate(numbers, 1)]


def drop_none(values: Sequence[float | None]) -> list[float]:
    """Leave out what is not there."""
    return [value for value in values if value is not None]


def to_confusion_matrix(value: Any) -> IntArray | None:
    """Take a confusion matrix: a square of whole numbers that are not negative."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CLASSES:
        return None
    if any(not isinstance(row, list) or len(row) != len(value) for row in value):
        return None
    if any(type(cell) is not int or not 0 <= cell < 2**53 for row in value for cell in row):
        return None
    return np.array(value, np.int64)


def to_mapping(value: Any) -> dict[str, Any]:
    """Take a mapping, its keys as texts."""
    return {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else {}


def flatten_settings(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested settings under dotted names."""
    found: dict[str, Any] = {}
    for key, each in to_mapping(value).items():
        found |= (
            flatten_settings(each, f"{prefix}{key}.")
            if to_mapping(each)
            else {f"{prefix}{key}": each}
        )
    return found
