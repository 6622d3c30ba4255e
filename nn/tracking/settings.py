"""Tracking settings: where in Weights & Biases a run is filed, and what is sent."""

from __future__ import annotations

import netrc
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from nn.errors import UserError, require
from nn.types import OneOf, Positive, PositiveInt, Range, check_settings

MODES = ("auto", "online", "offline", "disabled")
WANDB_MODE_VALUES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline"}
"""The values of WANDB_MODE other than disabled, with the mode that each stands for."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The settings of conf/tracking/, which describes them."""

    mode: Annotated[str, OneOf(*MODES)] = "auto"
    project: str | None = None
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    confusion_every: PositiveInt | None = 10
    num_examples: Annotated[int, Range(ge=0, le=100)] = 16
    log_model: bool = True
    preemptible: bool = False
    finish_timeout: Positive = 300.0

    def __post_init__(self) -> None:
        check_settings(self)
        project = self.project
        is_valid_project = project is None or (
            len(project) <= 128 and not set(project) & set("/\\#?%:")
        )
        require(
            is_valid_project,
            "project",
            project,
            "at most 128 characters, none of them / \\ # ? % :",
        )
        are_valid_tags = all(1 <= len(tag) <= 64 for tag in self.tags)
        require(are_valid_tags, "tags", self.tags, "a list of tags of 1 to 64 characters")

    @property
    def resolved_mode(self) -> str:
        """The mode with `auto` resolved from the environment; `online` requires credentials."""
        if self.mode == "auto":
            requested_mode = os.environ.get("WANDB_MODE")
            if not requested_mode:
                is_online = "WANDB_SWEEP_ID" in os.environ or has_credentials()
                return "online" if is_online else "offline"
            if requested_mode not in (*WANDB_MODE_VALUES, "disabled"):
                raise UserError(
                    f"WANDB_MODE={requested_mode}: it must be online, offline or disabled."
                )
            return WANDB_MODE_VALUES.get(requested_mode, requested_mode)
        if self.mode == "online":
            require_credentials("tracking=online", " or choose tracking=offline")
        return self.mode

    def check(self) -> None:
        """Refuse a mode that cannot work, before anything is written."""
        _ = self.resolved_mode


def require_credentials(requested_by: str, fallback: str = "") -> None:
    """Raise `UserError` unless there are credentials.

    `requested_by` and `fallback` are the start and the end of the message.
    """
    if not has_credentials():
        raise UserError(
            f"{requested_by}: no W&B credentials found; run wandb login, "
            f"{'' if fallback else 'or '}set WANDB_API_KEY{',' if fallback else ''}{fallback}."
        )


def has_credentials() -> bool:
    """Whether an API key is where wandb looks for one; wandb itself is not imported."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, ValueError, netrc.NetrcParseError):
        return False
