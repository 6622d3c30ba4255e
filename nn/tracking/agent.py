"""Read W&B's environment variables, which a sweep agent sets for its runs."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

WANDB_RUN_VARIABLES = tuple(
    f"WANDB_{name}"
    for name in ("SWEEP_ID", "ENTITY", "PROJECT", "RUN_GROUP", "JOB_TYPE", "TAGS", "NAME", "NOTES")
)
"""The variables that decide where W&B files a run; recorded so that a resumed run keeps them."""


def get_run_id(environment: Mapping[str, Any]) -> str:
    """Return the recorded W&B id of a run, which a resumed run keeps, or a new one."""
    recorded_id = str(environment.get("run_id"))
    return recorded_id if re.fullmatch(r"[\w-]{1,64}", recorded_id) else secrets.token_hex(4)


def read_sweep_parameters() -> dict[str, Any]:
    """Read the parameters that a sweep agent has chosen, by their names in W&B."""
    try:
        parameters = yaml.safe_load(Path(os.environ["WANDB_SWEEP_PARAM_PATH"]).read_text("utf-8"))
        return {name: node["value"] for name, node in parameters.items() if isinstance(node, dict)}
    except (KeyError, OSError, ValueError, AttributeError, yaml.YAMLError):
        return {}
