"""The environment of a run: machine, package versions and git commit, on which its bits depend."""

from __future__ import annotations

import os
import platform
import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from subprocess import DEVNULL, SubprocessError, check_output
from typing import TypedDict

import numpy as np
from threadpoolctl import threadpool_info

from nn.io.coerce import to_mapping
from nn.io.serialization import JsonObject
from nn.tracking.wandb_ids import WANDB_RUN_VARIABLES, read_sweep_parameters

RECORDED_PACKAGES = ("numpy", "wandb", "hydra-core", "omegaconf", "scikit-learn")


class GitState(TypedDict):
    """The commit of this code, and whether the working tree differs from it; None if unknown."""

    commit: str | None
    dirty: bool | None


class ProcessEnvironment(TypedDict):
    """The part of the environment that all runs of a process share."""

    git: GitState
    python: str
    packages: dict[str, str | None]
    platform: str
    cpu_model: str
    cpu_count: int | None
    host: str
    blas: list[dict[str, str | None]]
    simd: Mapping[str, object]


class Environment(ProcessEnvironment):
    """The content of environment.json."""

    started_at: str
    run_id: str
    wandb_env: dict[str, str]
    sweep_parameters: JsonObject
    command: str


def collect_environment() -> Environment:
    """Describe the environment of a run that starts now."""
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_id": os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4),
        "wandb_env": {name: os.environ[name] for name in WANDB_RUN_VARIABLES if name in os.environ},
        "sweep_parameters": read_sweep_parameters(),
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        **_collect_process_environment(),
    }


@cache
def _collect_process_environment() -> ProcessEnvironment:
    return {
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
        "simd": _read_simd(),
    }


def is_same_processor(environment: JsonObject) -> bool:
    """Check whether this machine computes the same bits as that of an environment.json."""
    numpy_version = to_mapping(environment.get("packages")).get("numpy")
    return (
        environment.get("cpu_model") == _read_cpu_model()
        and environment.get("simd") == _read_simd()
        and numpy_version == np.__version__
    )


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def preserve_environment() -> Iterator[None]:
    """Restore the environment variables when the block exits."""
    saved_environment = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved_environment)


def _read_git_state() -> GitState:
    root = Path(__file__).resolve().parents[2]

    def run_git(*arguments: str) -> str | None:
        command = ["git", "-C", str(root), *arguments]
        try:
            return check_output(command, stderr=DEVNULL, text=True, timeout=5).strip()
        except (OSError, SubprocessError):
            return None

    status = run_git("status", "--porcelain")
    is_dirty = None if status is None else bool(status)
    return {"commit": run_git("rev-parse", "HEAD"), "dirty": is_dirty}


def _get_package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read_simd() -> Mapping[str, object]:
    return np.show_config(mode="dicts")["SIMD Extensions"]


def _read_cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
