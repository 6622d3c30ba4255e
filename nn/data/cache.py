"""The user's cache directory for downloaded and parsed files."""

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
"""Age at which a temporary directory is taken for that of a killed process."""


def cache_dir(name: str) -> Path:
    """Return the path of a subdirectory of the cache, which need not exist."""
    return user_cache_path("nn-sweeps") / name


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and move it to the target if the block succeeds.

    Readers never see a partial file, even if the process is killed or several processes write the
    same target.
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
    """Remove temporary directories that killed processes left behind."""
    for temp_dir in parent.glob(".aside-*"):
        if time.time() - temp_dir.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(temp_dir, ignore_errors=True)


def _cache_write_error(path: Path, error: OSError) -> UserError:
    return UserError(
        f"The cache directory {path} cannot be written to: {error.strerror or error}; "
        "set XDG_CACHE_HOME to another directory."
    )
