"""The page of help that Hydra makes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

MAX_LINE_WIDTH = 100


@contextmanager
def wrap_long_lines() -> Iterator[None]:
    """Break the lines of what is printed that are too long, such as a long list of options."""
    buffer = io.StringIO()
    try:
        with redirect_stdout(buffer):
            yield
    finally:
        for line in buffer.getvalue().splitlines():
            is_too_long = len(line) > MAX_LINE_WIDTH
            print(
                textwrap.fill(line, MAX_LINE_WIDTH, subsequent_indent="  ") if is_too_long else line
            )
