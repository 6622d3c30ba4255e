"""The user's cache folder: what was downloaded or parsed once."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from nn.errors import UserError

STALE_SECONDS = 24 * 3600


def cache_dir(name: str) -> Path:
    """Give the place of a folder of the cache."""
    return user_cache_path("nn-sweeps") / name


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a path to write to; what was written is then moved into place, whole or not at all.

    Whatever happens on the way, and whoever else writes the same file, the target is never seen
    half-written.
    """
    temp_dir = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_temp_dirs(target.parent)
        temp_dir = Path(tempfile.mkdtemp(prefix=".aside-", dir=target.parent))
        yield temp_dir / target.name
        (temp_dir / target.name).replace(target)
    except OSError as error:
        raise _cache_write_error(target.parent, error) from None
    finally:
        if temp_dir:
            shutil.rmtree(temp_dir, ignore_errors=True)


def _remove_stale_temp_dirs(parent: Path) -> None:
    """Remove what processes that were killed have left."""
    for temp_dir in parent.glob(".aside-*"):
        if time.time() - temp_dir.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(temp_dir, ignore_errors=True)


def _cache_write_error(path: Path, error: OSError) -> UserError:
    return UserError(
        f"The cache folder {path} cannot be written to: {error.strerror or error}; "
        "XDG_CACHE_HOME names another place for it."
    )
