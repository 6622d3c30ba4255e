"""Exceptions for expected failures, and the formatting of values in their messages."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """A user's mistake, reported in one sentence; nothing has been run or written."""


class SettingError(UserError):
    """A setting whose value has the wrong type or is out of range."""

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(f"{name}={format_value(value)}: {name} must be {expected}.")
        self.name, self.value, self.expected = name, value, expected


class DivergedError(Exception):
    """The training or validation loss is not finite."""


class TrialPruned(Exception):  # noqa: N818  (Optuna's name; control flow, not an error)
    """The sweep's scheduler has stopped this trial early."""


class SaveError(Exception):
    """A result cannot be written."""


class SweepError(Exception):
    """A sweep that has started cannot continue."""


def is_retryable(error: BaseException | None) -> bool:
    """Whether memory, disk, network or storage caused an error, so that a retry may succeed.

    The chain of causes and contexts is searched, since a UserError keeps the error that it
    describes as its context.
    """
    while error is not None:
        if isinstance(error, (OSError, MemoryError, SaveError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise SettingError unless the condition holds."""
    if not condition:
        raise SettingError(name, value, expected)


def format_value(value: object) -> str:
    """Format a value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value)


def format_shape(shape: Sequence[int]) -> str:
    """Format the shape of a sample, such as 28 x 28."""
    return " x ".join(map(str, shape)) or "one value"


def truncate(text: str, max_length: int) -> str:
    """Shorten a text to `max_length` characters, the last one an ellipsis."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"
