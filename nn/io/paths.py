"""Where runs are written."""

from __future__ import annotations

import os
import secrets
import tempfile
from datetime import datetime
from pathlib import Path

from nn.errors import Mistake

FILES = ("config.yaml", "environment.json", "history.jsonl", "summary.json")
MODEL = "model.json"
PREDICTIONS = "predictions.safetensors"


def new_folder() -> str:
    """Choose where a run is written; that of a sweep agent finds its folder again."""
    return folder_of_agent() or datetime.now().strftime(
        f"runs/%Y-%m-%d/%H-%M-%S-{secrets.token_hex(4)}"
    )


def folder_of_agent() -> str | None:
    """Name the folder of the run that a sweep agent has asked for, if one has."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    return f"runs/{sweep}/{run}" if sweep and run else None


def comes_back(folder: Path) -> bool:
    """Whether this is the folder of an agent's run that has begun before."""
    agent = folder_of_agent()
    return agent is not None and folder == Path(agent) and (folder / "config.yaml").exists()


def refuse_unusable(path: str, setting: str) -> None:
    """Refuse a folder in which a run, or several, cannot be written, before anything is."""
    if not path:
        raise Mistake(f"{setting}='': name a folder.")
    try:
        folder = Path(path)
        used = [*(folder / name for name in FILES), *folder.glob("*/config.yaml")]
        if any(file.exists() for file in used):
            raise Mistake(f"{setting}={path}: the folder already holds a run; name another one.")
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        Path(tempfile.mkdtemp(dir=existing)).rmdir()
        for place in (folder, *folder.parents):
            if place.is_symlink() and not place.exists():
                raise Mistake(f"{setting}={path}: {place} is a link to nowhere; name a folder.")
    except OSError as error:
        reason = f"nothing can be written there: {error.strerror}"
        raise Mistake(f"{setting}={path}: {reason}.") from None


def short(path: str | Path) -> str:
    """Name a path from the current folder, if it lies below."""
    place = Path(path).absolute()
    here = Path.cwd()
    return str(place.relative_to(here) if place.is_relative_to(here) else place)
