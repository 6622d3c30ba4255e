"""Names of a run's files, and the choice and check of its directory."""

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
TRIAL_FILE = "trial.json"
"""File in the directory of a sweep's trial that records its number and parameters."""


def checkpoint_path(run_dir: Path, name: str) -> Path:
    """Return the path of a checkpoint: `last`, `previous` or `best`."""
    return run_dir / "checkpoints" / f"{name}.safetensors"


def default_run_dir() -> str:
    """Return the directory for a new run, which is fixed by the ids if a W&B agent started it."""
    return agent_run_dir() or datetime.now().strftime(
        f"runs/%Y-%m-%d/%H-%M-%S-{secrets.token_hex(4)}"
    )


def agent_run_dir() -> str | None:
    """Return the directory of the run that a W&B sweep agent has requested, if any."""
    sweep_id, run_id = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    return f"runs/{sweep_id}/{run_id}" if sweep_id and run_id else None


def is_resumed_agent_run(run_dir: Path) -> bool:
    """Whether this is the directory of the agent's run, and it was started before."""
    agent_dir = agent_run_dir()
    if agent_dir is None or run_dir != Path(agent_dir):
        return False
    return (run_dir / "config.yaml").exists()


def check_output_dir(path: str, setting: str) -> None:
    """Check, before anything is written, that runs can be written to a directory.

    Raises:
        UserError: The directory already contains a run, or is not writable.
    """
    if not path:
        raise UserError(f"{setting}='': the path is empty; name a directory.")
    try:
        directory = Path(path)
        run_files = [*(directory / name for name in RUN_FILES), *directory.glob("*/config.yaml")]
        if any(file.exists() for file in run_files):
            raise UserError(
                f"{setting}={path}: the directory already contains a run; choose another one."
            )
        ancestors = (directory, *directory.parents)
        nearest_existing = next(ancestor for ancestor in ancestors if ancestor.exists())
        Path(tempfile.mkdtemp(dir=nearest_existing)).rmdir()
        for ancestor in ancestors:
            if ancestor.is_symlink() and not ancestor.exists():
                raise UserError(
                    f"{setting}={path}: {ancestor} is a broken symbolic link; "
                    "choose another directory."
                )
    except OSError as error:
        reason = f"nothing can be written there: {error.strerror}"
        raise UserError(f"{setting}={path}: {reason}.") from None


def relpath(path: str | Path) -> str:
    """Return the path relative to the current directory if it lies below it, else absolute."""
    absolute = Path(path).absolute()
    cwd = Path.cwd()
    return str(absolute.relative_to(cwd) if absolute.is_relative_to(cwd) else absolute)
