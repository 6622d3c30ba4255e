"""Shared parts of the commands: parsers, argument types, and the exit status after an error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

RENAMED_OPTIONS = {
    "benchmark": {"--surfaces": "--samplers"},
    "predict": {"--start": "--first", "--images": "--figure", "--force": "--overwrite"},
    "report": {"--pages": "--top-runs", "--png": "--png-dir"},
    "results": {"--root": "--data-root"},
    "sweep": {"--grace": "--grace-period"},
}
"""Options of earlier versions, by command; they are refused with the new name as a suggestion."""


def create_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser that refuses the options of earlier versions of a command."""
    parser = argparse.ArgumentParser(description=description)
    for option, new_name in RENAMED_OPTIONS.get(command, {}).items():
        parser.add_argument(
            option,
            nargs="?",
            const="",
            type=_refuse_renamed(new_name),
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )
    return parser


def _refuse_renamed(new_name: str) -> Callable[[str], NoReturn]:
    def refuse(_: str) -> NoReturn:
        raise argparse.ArgumentTypeError(f"this option was renamed; use {new_name}")

    return refuse


def int_at_least(minimum: int) -> Callable[[str], int]:
    """Return an argument type for integers not below `minimum`."""

    def parse_int(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least {minimum}")
        return int(text)

    return parse_int


def parse_port(text: str) -> int:
    """Parse the number of a TCP port, with 0 for any free one."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, 0 to 65535")
    return int(text)


def parse_seconds(text: str) -> float:
    """Parse a duration of 1 to 1,000,000 seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 10**6:
        raise argparse.ArgumentTypeError(f"{text} must be a number of seconds, at least 1")
    return value


def parse_name(text: str) -> str:
    """Parse a name that can be that of a directory, and that does not start with a dot."""
    if not text or text.startswith(".") or not all(c.isalnum() or c in "_-." for c in text):
        raise argparse.ArgumentTypeError(f"{text!r} must consist of letters, digits, - and _")
    return text


def run_command(command: Callable[[], int | None]) -> int:
    """Call a command and return its exit status, 0 for None.

    Errors that are not bugs are printed; they give status 2 if the user made a mistake, else 1.
    """
    from nn.errors import SaveError, SweepError, UserError

    try:
        return command() or 0
    except (UserError, SaveError, SweepError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
