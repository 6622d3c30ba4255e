"""The page of help that Hydra makes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

WIDTH = 100


@contextmanager
def readable() -> Iterator[None]:
    """Break the lines of what is printed that are too long, such as a long list of options."""
    page = io.StringIO()
    try:
        with redirect_stdout(page):
            yield
    finally:
        for line in page.getvalue().splitlines():
            long = len(line) > WIDTH
            print(textwrap.fill(line, WIDTH, subsequent_indent="  ") if long else line)
