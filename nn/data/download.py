"""Downloads that are whole and right, or do not exist."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from nn.data.cache import written_aside
from nn.errors import Mistake

SILENCE = 30
"""Seconds after which a server that sends nothing is given up."""
LARGEST = 1 << 27
"""Bytes after which a server that goes on sending is given up."""


class Refused(Exception):
    """A home did not give the file, for a reason that is no matter of this machine."""


def download(homes: Iterable[str], target: Path, check: Callable[[Path], object]) -> None:
    """Fetch a file from the first home that gives one which passes the check."""
    reasons = []
    for home in homes:
        url = f"{home.rstrip('/')}/{target.name}"
        try:
            with written_aside(target) as aside:
                _fetch(url, aside)
                check(aside)
            return
        except (Refused, Mistake) as error:
            told = re.sub(r"\S*/\.aside-\S+", "the file", str(error))
            reasons.append(f"{url}: {told.rstrip('.')}")
    raise Mistake("; ".join(reasons) or "dataset.homes names none")


def _fetch(url: str, path: Path) -> None:
    import pooch
    import requests

    fetch = pooch.HTTPDownloader(progressbar=_Progress(url), timeout=SILENCE, chunk_size=1 << 16)
    try:
        fetch(url, str(path), None)
    except (requests.RequestException, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise Refused(f"status {status}" if status else type(error).__name__) from None


class _Progress:
    """The face that pooch wants a progress bar to have."""

    def __init__(self, url: str) -> None:
        self.total, self.done, self.url = 0, 0, url
        self.bar = sys.stderr.isatty()
        if not self.bar:
            print(f"downloading {url}", file=sys.stderr)

    def update(self, size: int) -> None:
        """Take note of bytes that have come."""
        self.done += size
        if self.done > LARGEST:
            raise Refused(f"more than {LARGEST:,} bytes")
        if self.bar:
            share = (
                f"{min(1, self.done / self.total):4.0%}" if self.total else f"{self.done:,} bytes"
            )
            print(f"\rdownloading {self.url} {share}", end="", file=sys.stderr)

    def reset(self) -> None:
        """Begin again; pooch does so before it shows that all has come."""
        self.done = 0

    def close(self) -> None:
        """Leave the line."""
        if self.bar:
            print(file=sys.stderr)
