"""The knobs: the settings at the top of every configuration, with what each may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nn.config.instantiate import fits
from nn.errors import SettingError


@dataclass(frozen=True)
class Knob:
    """A type, a range, and both in words."""

    kind: Any
    allows: Callable[[Any], bool]
    expected: str


KNOBS = {
    "lr": Knob(float, lambda value: value > 0, "a number above 0"),
    "batch_size": Knob(
        int | str,
        lambda value: value == "all" or (isinstance(value, int) and value >= 1),
        "a whole number, at least 1, or all",
    ),
    "depth": Knob(int | None, lambda value: 0 <= value <= 1000, "a whole number from 0 to 1000"),
    "width": Knob(int | None, lambda value: value >= 1, "a whole number, at least 1"),
    "epochs": Knob(int, lambda value: value >= 1, "a whole number, at least 1"),
    "seed": Knob(int, lambda value: value >= 0, "a whole number, at least 0"),
    "threads": Knob(int, lambda value: 1 <= value <= 512, "a whole number from 1 to 512"),
    "weight_decay": Knob(float | None, lambda value: value >= 0, "a number, at least 0"),
    "dropout": Knob(float | None, lambda value: 0 <= value < 1, "a number, at least 0 and below 1"),
    "keep": Knob(str, lambda value: value in ("last", "best"), "last or best"),
    "patience": Knob(int | None, lambda value: value >= 1, "a whole number, at least 1, or null"),
    "draws": Knob(
        int | None,
        lambda value: 1 <= value <= 10**8,
        "a whole number from 1 to 10^8, or null",
    ),
    "checkpoint": Knob(float | None, lambda value: value >= 0, "a number, at least 0, or null"),
    "init_from": Knob(str | None, lambda value: value, "the folder of a run, or null"),
    "profile": Knob(bool, lambda _: True, "true or false"),
}
"""A knob that may be None is one that not every choice of components heeds."""


def check(config: Mapping[str, Any]) -> None:
    """Refuse a configuration with a knob that is missing or out of its range."""
    for name, knob in KNOBS.items():
        value = config.get(name)
        if not fits(value, knob.kind) or (value is not None and not knob.allows(value)):
            raise SettingError(name, value, knob.expected)
