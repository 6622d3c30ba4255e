"""Where runs are written."""

from __future__ import annotations

import os
import secrets
import tempfile
from datetime import datetime
from pathlib import Path

from nn.errors import UserError

RUN_FILES = ("config.yaml", "environment.json", "history.jsonl", "summary.json")
MODEL_FILE = "model.json"
PREDICTIONS_FILE = "predictions.safetensors"


def default_run_dir() -> str:
    """Choose where a run is written; that of a sweep agent finds its folder again."""
    return agent_run_dir() or datetime.now().strftime(
        f"runs/%Y-%m-%d/%H-%M-%S-{secrets.token_hex(4)}"
    )


def agent_run_dir() -> str | None:
    """Name the folder of the run that a sweep agent has asked for, if one has."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    return f"runs/{sweep}/{run}" if sweep and run else None


def is_resumed_agent_run(folder: Path) -> bool:
    """Whether this is the folder of an agent's run that has begun before."""
    agent_dir = agent_run_dir()
    return agent_dir is not None and folder == Path(agent_dir) and (folder / "config.yaml").exists()


def check_output_dir(path: str, setting: str) -> None:
    """Refuse a folder in which a run, or several, cannot be written, before anything is."""
    if not path:
        raise UserError(f"{setting}='': name a folder.")
    try:
        folder = Path(path)
        run_files = [*(folder / name for name in RUN_FILES), *folder.glob("*/config.yaml")]
        if any(file.exists() for file in run_files):
            raise UserError(f"{setting}={path}: the folder already holds a run; name another one.")
        nearest_existing = next(place for place in (folder, *folder.parents) if place.exists())
        Path(tempfile.mkdtemp(dir=nearest_existing)).rmdir()
        for place in (folder, *folder.parents):
            if place.is_symlink() and not place.exists():
                raise UserError(f"{setting}={path}: {place} is a link to nowhere; name a folder.")
    except OSError as error:
        reason = f"nothing can be written there: {error.strerror}"
        raise UserError(f"{setting}={path}: {reason}.") from None


def relpath(path: str | Path) -> str:
    """Name a path from the current folder, if it lies below."""
    absolute = Path(path).absolute()
    cwd = Path.cwd()
    return str(absolute.relative_to(cwd) if absolute.is_relative_to(cwd) else absolute)
