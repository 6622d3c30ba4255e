"""The user's cache directory, and verified downloads into it."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from platformdirs import user_cache_path

from nn.errors import UserError

STALE_SECONDS = 24 * 3600
"""Age at which a temporary directory is taken for that of a killed process."""
TIMEOUT_SECONDS = 30
"""Seconds without data after which a mirror is abandoned."""
MAX_DOWNLOAD_BYTES = 1 << 27
"""Size limit of a download, after which a mirror is abandoned."""

Content = TypeVar("Content")


class CacheWriteError(UserError):
    """The cache directory cannot be written to."""


class DownloadError(UserError):
    """A mirror, or all of them, failed to deliver a file."""


def cache_dir(name: str) -> Path:
    """Return the path of a subdirectory of the cache, which need not exist."""
    return user_cache_path("nn-sweeps") / name


def download(mirrors: Iterable[str], target: Path, read: Callable[[Path], Content]) -> Content:
    """Download a file from the first mirror whose copy `read` accepts; return what it has read."""
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        try:
            with atomic_path(target) as temp_path:
                _fetch(url, temp_path)
                return read(temp_path)
        except CacheWriteError:  # no other mirror can help
            raise
        except UserError as error:
            reason = re.sub(r"\S*/\.aside-[^\s:]+", "the file", str(error))
            failures.append(f"{url}: {reason.rstrip('.')}")
    raise DownloadError("; ".join(failures) or "dataset.mirrors names none")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and move it to the target if the block succeeds.

    Readers never see a partial file, even if the process is killed or several processes write the
    same target.
    """
    directory = target.parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove_stale_temp_dirs(directory)
        with tempfile.TemporaryDirectory(
            prefix=".aside-", dir=directory, ignore_cleanup_errors=True
        ) as temp_dir:
            temp_path = Path(temp_dir, target.name)
            yield temp_path
            temp_path.replace(target)
    except OSError as error:
        raise CacheWriteError(
            f"The cache directory {directory} cannot be written to: {error.strerror or error}; "
            "set XDG_CACHE_HOME to another directory."
        ) from None


def _remove_stale_temp_dirs(parent: Path) -> None:
    """Remove temporary directories that killed processes left behind."""
    for temp_dir in parent.glob(".aside-*"):
        with suppress(FileNotFoundError):  # another process has removed it in the meantime
            if time.time() - temp_dir.stat().st_mtime > STALE_SECONDS:
                rmtree(temp_dir, ignore_errors=True)


def _fetch(url: str, path: Path) -> None:
    """Download one file, and show the progress on a terminal."""
    import requests

    is_interactive, num_received = sys.stderr.isatty(), 0
    if not is_interactive:
        print(f"downloading {url}", file=sys.stderr)
    try:
        with (
            requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response,
            path.open("wb") as file,
        ):
            response.raise_for_status()
            total = int(response.headers.get("content-length", 0))
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                num_received += len(chunk)
                if num_received > MAX_DOWNLOAD_BYTES:
                    raise DownloadError(f"more than {MAX_DOWNLOAD_BYTES:,} bytes")
                if is_interactive:
                    share = f"{min(1, num_received / total):4.0%}" if total else ""
                    progress = share or f"{num_received:,} bytes"
                    print(f"\rdownloading {url} {progress}", end="", file=sys.stderr)
    except (requests.RequestException, ValueError) as error:
        response_status = getattr(getattr(error, "response", None), "status_code", None)
        reason = f"status {response_status}" if response_status else type(error).__name__
        raise DownloadError(reason) from None
    finally:
        if is_interactive and num_received:
            print(file=sys.stderr)
