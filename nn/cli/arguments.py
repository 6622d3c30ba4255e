"""What the words of a command line may be."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def int_at_least(minimum: int) -> Callable[[str], int]:
    """Take whole numbers from here on."""

    def parse_int(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least {minimum}")
        return int(text)

    return parse_int
