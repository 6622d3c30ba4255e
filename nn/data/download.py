"""Downloads that are verified before they appear under their final name."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from nn.data.cache import atomic_path
from nn.errors import UserError

TIMEOUT_SECONDS = 30
"""Seconds without data after which a mirror is abandoned."""
MAX_BYTES = 1 << 27
"""Size limit of a download, after which a mirror is abandoned."""

Content = TypeVar("Content")


class DownloadError(Exception):
    """A mirror failed to deliver the file, for a reason outside of this machine."""


def download(mirrors: Iterable[str], target: Path, read: Callable[[Path], Content]) -> Content:
    """Download a file from the first mirror whose copy `read` accepts; return what it has read."""
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        try:
            with atomic_path(target) as temp_path:
                _fetch(url, temp_path)
                return read(temp_path)
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
    """Progress bar with the interface that pooch expects, which also enforces the size limit."""

    def __init__(self, url: str) -> None:
        self.total, self.num_received, self.url = 0, 0, url
        self.is_interactive = sys.stderr.isatty()
        if not self.is_interactive:
            print(f"downloading {url}", file=sys.stderr)

    def update(self, size: int) -> None:
        """Add `size` received bytes."""
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
        """Reset the counter; pooch does so before its last update with the total."""
        self.num_received = 0

    def close(self) -> None:
        """End the line of the progress bar."""
        if self.is_interactive:
            print(file=sys.stderr)
