"""What W&B's environment variables say of a run, under a sweep agent above all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

WANDB_RUN_VARIABLES = tuple(
    f"WANDB_{word}"
    for word in ("SWEEP_ID", "ENTITY", "PROJECT", "RUN_GROUP", "JOB_TYPE", "TAGS", "NAME", "NOTES")
)
"""The variables by which W&B knows where a run belongs."""


def get_run_id(environment: Mapping[str, Any]) -> str:
    """The name of a run in W&B, which stays the same when it is taken up again."""
    recorded_id = str(environment.get("run_id"))
    return recorded_id if re.fullmatch(r"[\w-]{1,64}", recorded_id) else secrets.token_hex(4)


def read_sweep_parameters() -> dict[str, Any]:
    """The parameters that a sweep agent has given, as W&B calls them."""
    try:
        parameters = yaml.safe_load(Path(os.environ["WANDB_SWEEP_PARAM_PATH"]).read_text("utf-8"))
        return {name: each["value"] for name, each in parameters.items() if isinstance(each, dict)}
    except (KeyError, OSError, ValueError, AttributeError, yaml.YAMLError):
        return {}
