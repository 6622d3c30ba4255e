"""Coercion of untrusted JSON to expected types; None or empty where a value does not fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeGuard

import numpy as np
from pydantic import JsonValue

from nn.io.serialization import JsonObject
from nn.types import IntArray

MAX_CLASSES = 2000
"""Classes that an accepted confusion matrix may have."""
MAX_TIMESTAMP = 2**33


def to_finite_float(value: JsonValue) -> float | None:
    """Return a finite int or float as a float, anything else (bool included) as None."""
    if type(value) is float:  # the usual case
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def is_count(value: JsonValue) -> TypeGuard[int]:
    """Whether a value is a non-negative integer that a float represents exactly."""
    return type(value) is int and 0 <= value < 2**53


def extract_column(records: Sequence[JsonObject], key: str) -> list[float | None]:
    """Return one value per record, None where it is missing or not a finite number."""
    return [to_finite_float(record.get(key)) for record in records]


def drop_none(values: Sequence[float | None]) -> list[float]:
    """Return the values that are not None."""
    return [value for value in values if value is not None]


def sum_known(values: Iterable[float | None]) -> float:
    """Return the sum of the values that are not None; 0 if it is not finite."""
    total = sum(value for value in values if value is not None)
    return total if math.isfinite(total) else 0.0


def to_confusion_matrix(value: JsonValue) -> IntArray | None:
    """Return a square matrix of non-negative integers, else None."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CLASSES:
        return None
    rows = [row for row in value if isinstance(row, list) and len(row) == len(value)]
    counts = [cell for row in rows for cell in row if is_count(cell)]
    if len(counts) != len(value) ** 2:
        return None
    return np.array(counts, np.int64).reshape(len(value), len(value))


def to_mapping(value: JsonValue) -> JsonObject:
    """Return a mapping with its keys as strings, anything else as an empty one."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def to_list(value: JsonValue) -> list[JsonValue]:
    """Return a list, anything else as an empty one."""
    return value if isinstance(value, list) else []


def to_text(value: JsonValue) -> str | None:
    """Return a text or a number as text, anything else as None."""
    return str(value) if isinstance(value, str | int | float) else None


def to_texts(value: JsonValue) -> list[str]:
    """Return the texts in a list that are not empty; anything else as an empty list."""
    return [text for text in map(to_text, to_list(value)) if text]


def flatten_settings(value: JsonObject, prefix: str = "") -> JsonObject:
    """Flatten nested settings to dotted keys; empty mappings stay as values."""
    flat: JsonObject = {}
    for key, setting in to_mapping(value).items():
        nested = flatten_settings(to_mapping(setting), f"{prefix}{key}.")
        flat |= nested or {f"{prefix}{key}": setting}
    return flat


def to_timestamp(moment: datetime | None) -> float | None:
    """Return a POSIX timestamp; None for times before 1970 or after 2242, which are damage."""
    try:
        timestamp = moment.timestamp() if moment else -1.0
    except (ValueError, OverflowError):  # of years near 1 and 9999
        return None
    return timestamp if 0 <= timestamp < MAX_TIMESTAMP else None


def parse_time(value: JsonValue) -> float | None:
    """Return an ISO 8601 time as a POSIX timestamp; None for anything else."""
    try:
        return to_timestamp(datetime.fromisoformat(str(value)))
    except ValueError:
        return None
