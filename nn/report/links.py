"""What a folder is, and addresses from page to page that hold when both are moved."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def relative_url(target: Path, page: Path) -> str:
    """Give the address of a file as seen from a page."""
    return quote(os.path.relpath(target.absolute(), page.absolute().parent))


def is_sweep_dir(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (folder / "sweep.yaml").is_file()


def is_run_dir(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "config.yaml").exists()
