"""Handle `resume=RUN` and `reproduce=RUN`, which take their configuration from a run directory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nn.config.aliases import RENAMED_SETTINGS, list_options, renamed_setting_message
from nn.config.compose import parse_override_value
from nn.config.schema import require_usable_threads, validate_config
from nn.errors import UserError
from nn.io.paths import relpath
from nn.runs.reproduce import reproduce_run
from nn.runs.resume import resume_run
from nn.runs.trusted_config import read_trusted_config

ALLOWED_OVERRIDES = {
    "resume": ("epochs", "threads", "tracking", "trust"),
    "reproduce": ("threads", "tracking", "trust"),
}


@dataclass(frozen=True)
class RerunRequest:
    """A parsed `resume=` or `reproduce=` command line."""

    action: str
    run_dir: Path
    overrides: dict[str, str]


def parse_rerun_request(arguments: Iterable[str]) -> RerunRequest | None:
    """Parse `resume=RUN` or `reproduce=RUN` and its overrides; return None if there is neither."""
    arguments = list(arguments)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and (renamed := RENAMED_SETTINGS.get(name)) and renamed.name in ALLOWED_OVERRIDES:
            raise UserError(renamed_setting_message(name, value))
    prefixes = tuple(f"{action}=" for action in ALLOWED_OVERRIDES)
    action = next((arg.split("=")[0] for arg in arguments if arg.startswith(prefixes)), None)
    if action is None:
        return None
    allowed_overrides = ALLOWED_OVERRIDES[action]
    overrides: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or name not in (action, *allowed_overrides) or name in overrides:
            raise UserError(
                f"{argument}: with {action}= only {', '.join(allowed_overrides)} can be set, "
                "once each; all other settings are those of the run."
            )
        overrides[name] = value
    return RerunRequest(action, Path(overrides.pop(action)), overrides)


def rerun(request: RerunRequest) -> int:
    """Resume or reproduce the run, and return the exit status."""
    config = read_trusted_config(request.run_dir, request.overrides.get("trust", ""))
    if config.shards == 1 and config.threads != 1:
        raise UserError(
            f"{relpath(request.run_dir)}: its bits depend on threads={config.threads}, which set "
            "the threads of BLAS in an earlier version; BLAS always uses one thread now."
        )
    if "threads" in request.overrides:
        threads = parse_override_value(f"threads={request.overrides['threads']}")
        config = validate_config({**config.model_dump(), "threads": threads})
        require_usable_threads(config)
    tracking = request.overrides.get("tracking")
    if tracking is not None:
        if tracking not in list_options("tracking"):
            available = ", ".join(list_options("tracking"))
            raise UserError(
                f"tracking={tracking}: there is no such tracking; there is {available}."
            )
        config = config.model_copy(
            update={
                "tracking": {**config.tracking, "mode": tracking},
                "choices": {**config.choices, "tracking": tracking},
            }
        )
    if request.action == "resume":
        return resume_run(request.run_dir, config, request.overrides.get("epochs"))
    return reproduce_run(request.run_dir, config)
