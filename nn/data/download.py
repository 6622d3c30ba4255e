"""Downloads that are whole and right, or do not exist."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from nn.data.cache import atomic_path
from nn.errors import UserError

TIMEOUT_SECONDS = 30
"""Seconds after which a server that sends nothing is given up."""
MAX_BYTES = 1 << 27
"""Bytes after which a server that goes on sending is given up."""


class DownloadError(Exception):
    """A home did not give the file, for a reason that is no matter of this machine."""


def download(mirrors: Iterable[str], target: Path, verify: Callable[[Path], object]) -> None:
    """Fetch a file from the first home that gives one which passes the check."""
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        try:
            with atomic_path(target) as temp_path:
                _fetch(url, temp_path)
                verify(temp_path)
            return
        except (DownloadError, UserError) as error:
            reason = re.sub(r"\S*/\.aside-\S+", "the file", str(error))
            failures.append(f"{url}: {reason.rstrip('.')}")
    raise UserError("; ".join(failures) or "dataset.mirrors names none")


def _fetch(url: str, path: Path) -> None:
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=_ProgressBar(url), timeout=TIMEOUT_SECONDS, chunk_size=1 << 16
    )
    try:
        downloader(url, str(path), None)
    except (requests.RequestException, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise DownloadError(f"status {status}" if status else type(error).__name__) from None


class _ProgressBar:
    """The face that pooch wants a progress bar to have."""

    def __init__(self, url: str) -> None:
        self.total, self.num_received, self.url = 0, 0, url
        self.is_interactive = sys.stderr.isatty()
        if not self.is_interactive:
            print(f"downloading {url}", file=sys.stderr)

    def update(self, size: int) -> None:
        """Take note of bytes that have come."""
        self.num_received += size
        if self.num_received > MAX_BYTES:
            raise DownloadError(f"more than {MAX_BYTES:,} bytes")
        if self.is_interactive:
            progress = (
                f"{min(1, self.num_received / self.total):4.0%}"
                if self.total
                else f"{self.num_received:,} bytes"
            )
            print(f"\rdownloading {self.url} {progress}", end="", file=sys.stderr)

    def reset(self) -> None:
        """Begin again; pooch does so before it shows that all has come."""
        self.num_received = 0

    def close(self) -> None:
        """Leave the line."""
        if self.is_interactive:
            print(file=sys.stderr)
