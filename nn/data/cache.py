"""The user's cache folder: what was downloaded or parsed once."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from nn.errors import Mistake

DAY = 24 * 3600


def folder(name: str) -> Path:
    """Give the place of a folder of the cache."""
    return user_cache_path("nn-sweeps") / name


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Give a path to write to; what was written is then moved into place, whole or not at all.

    Whatever happens on the way, and whoever else writes the same file, the target is never seen
    half-written.
    """
    aside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        aside = Path(tempfile.mkdtemp(prefix=".aside-", dir=target.parent))
        yield aside / target.name
        (aside / target.name).replace(target)
    except OSError as error:
        raise _unusable(target.parent, error) from None
    finally:
        if aside:
            shutil.rmtree(aside, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left."""
    for old in folder.glob(".aside-*"):
        if time.time() - old.stat().st_mtime > DAY:
            shutil.rmtree(old, ignore_errors=True)


def _unusable(path: Path, error: OSError) -> Mistake:
    return Mistake(
        f"The cache folder {path} cannot be written to: {error.strerror or error}; "
        "XDG_CACHE_HOME names another place for it."
    )
