"""The part of environment.json that decides where W&B files a run."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import yaml

from nn.io.serialization import JsonObject

WANDB_RUN_VARIABLES = tuple(
    f"WANDB_{name}"
    for name in ("SWEEP_ID", "ENTITY", "PROJECT", "RUN_GROUP", "JOB_TYPE", "TAGS", "NAME", "NOTES")
)
"""The variables that decide where W&B files a run; recorded so that a resumed run keeps them."""


@dataclass(frozen=True)
class WandbIds:
    """The id of a run in W&B, its sweep with the parameters that this chose, and its commit."""

    run_id: str
    variables: Mapping[str, str]
    sweep_parameters: JsonObject
    commit: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, object]) -> Self:
        """Read the recorded environment of a run; one without a valid id gets a new one."""
        run_id, git = str(environment.get("run_id")), environment.get("git")
        recorded, parameters = environment.get("wandb_env"), environment.get("sweep_parameters")
        variables = recorded if isinstance(recorded, dict) else {}
        return cls(
            run_id if re.fullmatch(r"[\w-]{1,64}", run_id) else secrets.token_hex(4),
            {name: str(variables[name]) for name in WANDB_RUN_VARIABLES if name in variables},
            parameters if isinstance(parameters, dict) else {},
            git.get("commit") if isinstance(git, dict) else None,
        )

    @property
    def is_agent_run(self) -> bool:
        """Whether a W&B sweep agent started the run."""
        return "WANDB_SWEEP_ID" in self.variables


def read_sweep_parameters() -> JsonObject:
    """Read the parameters that a sweep agent has chosen, by their names in W&B."""
    try:
        parameters = yaml.safe_load(Path(os.environ["WANDB_SWEEP_PARAM_PATH"]).read_text("utf-8"))
        return {name: node["value"] for name, node in parameters.items() if isinstance(node, dict)}
    except (KeyError, OSError, ValueError, AttributeError, yaml.YAMLError):
        return {}
