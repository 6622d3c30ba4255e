"""The environment of a run: machine, package versions and git commit, on which its bits depend."""

from __future__ import annotations

import os
import platform
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from nn.tracking.agent import WANDB_RUN_VARIABLES, read_sweep_parameters

RECORDED_PACKAGES = ("numpy", "wandb", "hydra-core", "omegaconf", "scikit-learn")


def collect_environment() -> dict[str, Any]:
    """Return the content of environment.json for a run that starts now."""
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_id": os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4),
        "wandb_env": {name: os.environ[name] for name in WANDB_RUN_VARIABLES if name in os.environ},
        "sweep_parameters": read_sweep_parameters(),
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "git": _read_git_state(),
        "python": platform.python_version(),
        "packages": {name: _get_package_version(name) for name in RECORDED_PACKAGES},
        "platform": platform.platform(),
        "cpu_model": _read_cpu_model(),
        "cpu_count": os.cpu_count(),
        "host": platform.node(),
        "blas": [
            {key: pool.get(key) for key in ("internal_api", "version", "architecture")}
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        ],
        "simd": np.show_config(mode="dicts")["SIMD Extensions"],
    }


@contextmanager
def preserve_environment() -> Iterator[None]:
    """Restore the environment variables when the block exits."""
    saved_environment = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved_environment)


@lru_cache(maxsize=1)
def _read_git_state() -> dict[str, Any]:
    """Return the commit of this code, and whether the working tree is clean; None if unknown."""
    root = Path(__file__).resolve().parents[2]

    def run_git(*arguments: str) -> str | None:
        command = ["git", "-C", str(root), *arguments]
        try:
            completed = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=5
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return completed.stdout.strip()

    status = run_git("status", "--porcelain")
    is_dirty = None if status is None else bool(status)
    return {"commit": run_git("rev-parse", "HEAD"), "dirty": is_dirty}


def _get_package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read_cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
