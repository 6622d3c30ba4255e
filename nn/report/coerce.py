"""Coercion of untrusted JSON to expected types; None or empty where a value does not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nn.types import IntArray

MAX_CLASSES = 2000
"""Classes that an accepted confusion matrix may have."""


def to_finite_float(value: Any) -> float | None:
    """Return a finite int or float as a float, anything else (bool included) as None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def extract_column(records: Sequence[Mapping[str, Any]], key: str) -> list[float | None]:
    """Return one value per record, None where it is missing or not a finite number."""
    return [to_finite_float(record.get(key)) for record in records]


def epoch_numbers(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return each record's epoch, or its 1-based position if it has none."""
    numbers = extract_column(history, "epoch")
    return [position if number is None else number for position, number in enumerate(numbers, 1)]


def drop_none(values: Sequence[float | None]) -> list[float]:
    """Return the values that are not None."""
    return [value for value in values if value is not None]


def to_confusion_matrix(value: Any) -> IntArray | None:
    """Return a square matrix of non-negative integers, else None."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CLASSES:
        return None
    if any(not isinstance(row, list) or len(row) != len(value) for row in value):
        return None
    if any(type(cell) is not int or not 0 <= cell < 2**53 for row in value for cell in row):
        return None
    return np.array(value, np.int64)


def to_mapping(value: Any) -> dict[str, Any]:
    """Return a mapping with its keys as strings, anything else as an empty one."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def flatten_settings(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted keys; empty mappings stay as values."""
    flat: dict[str, Any] = {}
    for key, setting in to_mapping(value).items():
        flat |= (
            flatten_settings(setting, f"{prefix}{key}.")
            if to_mapping(setting)
            else {f"{prefix}{key}": setting}
        )
    return flat
