"""The hyperparameters at the top level of every configuration, with their types and ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nn.config.instantiate import matches_type
from nn.errors import SettingError


@dataclass(frozen=True)
class HyperparameterSpec:
    """Type and range of a hyperparameter, and their description for error messages."""

    annotation: Any
    is_in_range: Callable[[Any], bool]
    expected: str


HYPERPARAMETERS = {
    "lr": HyperparameterSpec(float, lambda value: value > 0, "a number above 0"),
    "batch_size": HyperparameterSpec(
        int | str,
        lambda value: value == "all" or (isinstance(value, int) and value >= 1),
        "a whole number, at least 1, or all",
    ),
    "depth": HyperparameterSpec(
        int | None, lambda value: 0 <= value <= 1000, "a whole number from 0 to 1000"
    ),
    "width": HyperparameterSpec(int | None, lambda value: value >= 1, "a whole number, at least 1"),
    "epochs": HyperparameterSpec(int, lambda value: value >= 1, "a whole number, at least 1"),
    "seed": HyperparameterSpec(int, lambda value: value >= 0, "a whole number, at least 0"),
    "threads": HyperparameterSpec(
        int, lambda value: 1 <= value <= 512, "a whole number from 1 to 512"
    ),
    "weight_decay": HyperparameterSpec(
        float | None, lambda value: value >= 0, "a number, at least 0"
    ),
    "dropout": HyperparameterSpec(
        float | None, lambda value: 0 <= value < 1, "a number, at least 0 and below 1"
    ),
    "restore_best": HyperparameterSpec(bool, lambda _: True, "true or false"),
    "patience": HyperparameterSpec(
        int | None, lambda value: value >= 1, "a whole number, at least 1, or null"
    ),
    "samples_per_epoch": HyperparameterSpec(
        int | None,
        lambda value: 1 <= value <= 10**8,
        "a whole number from 1 to 10^8, or null",
    ),
    "checkpoint_every": HyperparameterSpec(
        float | None, lambda value: value >= 0, "a number, at least 0, or null"
    ),
    "init_from": HyperparameterSpec(
        str | None, lambda value: value, "the directory of a run, or null"
    ),
    "profile": HyperparameterSpec(bool, lambda _: True, "true or false"),
}
"""`depth`, `width`, `weight_decay` and `dropout` are None where no chosen component uses them."""


def validate_hyperparameters(config: Mapping[str, Any]) -> None:
    """Raise `SettingError` if a hyperparameter is missing, of the wrong type or out of range."""
    for name, spec in HYPERPARAMETERS.items():
        value = config.get(name)
        if not matches_type(value, spec.annotation) or (
            value is not None and not spec.is_in_range(value)
        ):
            raise SettingError(name, value, spec.expected)
