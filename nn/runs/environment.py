"""The machine, the versions and the code of a run: what bits depend on beside the configuration."""

from __future__ import annotations

import os
import platform
import secrets
import shlex
import subprocess
import sys
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
    """Record what this process runs on."""
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


@lru_cache(maxsize=1)
def _read_git_state() -> dict[str, Any]:
    """Name the commit of this code, and say whether it was changed since."""
    root = Path(__file__).resolve().parents[2]

    def run_git(*arguments: str) -> str | None:
        command = ["git", "-C", str(root), *arguments]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()

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
