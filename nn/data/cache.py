"""The user's cache folder: what was downloaded or parsed once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from nn.errors import Mistake


def folder(name: str) -> Path:
    """Give a folder of the cache, made if need be."""
    path = user_cache_path("nn-sweeps") / name
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from None
    return path


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Give a path to write to; what was written is then moved into place, whole or not at all.

    Whatever happens on the way, and whoever else writes the same file, the target is never seen
    half-written.
    """
    try:
        aside = Path(tempfile.mkdtemp(prefix=".aside-", dir=target.parent))
    except OSError as error:
        raise _unusable(target.parent, error) from None
    try:
        yield aside / target.name
        os.replace(aside / target.name, target)  # noqa: PTH105
    except OSError as error:
        if error.errno is None:  # no matter of the disk: requests' errors are OSErrors too
            raise
        raise _unusable(target.parent, error) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unusable(path: Path, error: OSError) -> Mistake:
    return Mistake(
        f"The cache folder {path} cannot be written to: {error.strerror or error}; "
        "XDG_CACHE_HOME names another place for it."
    )
