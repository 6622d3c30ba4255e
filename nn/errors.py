"""What can go wrong that is not a bug."""

from __future__ import annotations


class UserError(Exception):
    """The user's mistake, told in one sentence; nothing has run and nothing was written."""


class SettingError(UserError):
    """A setting whose value is out of its type or range."""

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(f"{name}={format_value(value)}: {name} must be {expected}.")
        self.name, self.value, self.expected = name, value, expected


class DivergedError(Exception):
    """Training has produced a loss that is not a finite number."""


class TrialPruned(Exception):
    """A sweep has no more use for this training."""


class SaveError(Exception):
    """A result that could not be written."""


class SweepError(Exception):
    """A sweep that has begun and cannot continue."""


def is_retryable(error: BaseException | None) -> bool:
    """Whether an error comes from memory, disk, network or storage: a retry may succeed.

    A sentence for the user keeps the error that it describes as its context.
    """
    while error is not None:
        if isinstance(error, (OSError, MemoryError, SaveError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuse a setting unless the condition holds."""
    if not condition:
        raise SettingError(name, value, expected)


def format_value(value: object) -> str:
    """Write a value as it stands on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value)
