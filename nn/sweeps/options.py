"""What the command line asks for, and what a sweep that has begun keeps to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from nn.errors import UserError
from nn.io.files import read_regular_file
from nn.io.paths import relpath
from nn.runs.reader import read_json
from nn.sweeps import schema
from nn.sweeps.samplers import registry
from nn.sweeps.schema import SweepConfig
from nn.sweeps.trials import SWEEP_FORMAT_VERSION, require_sweep_format


@dataclass(frozen=True)
class SweepOptions:
    """What the command line asks for."""

    sweep_file: Path
    max_trials: int | None
    num_workers: int
    seed: int | None
    sampler: str | None
    name: str
    sweep_dir: Path
    resume: bool
    storage: str | None
    grace_seconds: float
    overrides: tuple[str, ...]


class SweepSettings(BaseModel):
    """What settings.json holds."""

    model_config = ConfigDict(strict=True)
    seed: NonNegativeInt
    sampler: str | None
    overrides: tuple[str, ...]


def _is_sweep_dir_used(sweep_dir: Path) -> bool:
    """Whether there is more in a folder than a sweep leaves that was killed before it began."""
    if not sweep_dir.is_dir():
        return sweep_dir.exists()
    return any(not each.name.startswith((".", "settings.json")) for each in sweep_dir.iterdir())


def resolve_options(
    options: SweepOptions, sweep: SweepConfig
) -> tuple[int, str | None, tuple[str, ...]]:
    """Settle seed, sampler and overrides, which stay as they are if a sweep is gone on with."""
    sampler = registry.resolve_sampler_name(options.sampler, sweep.method)
    folder, sweep_exists = options.sweep_dir, (options.sweep_dir / "sweep.yaml").exists()
    if options.resume and not sweep_exists and (folder / "trials").is_dir():
        raise UserError(
            f"{relpath(folder)}/sweep.yaml is missing; "
            "a copy there of the file that the sweep began "
            "with lets --resume continue it."
        )
    if options.resume and not sweep_exists:
        raise UserError(f"{relpath(folder)}: there is no sweep to resume.")
    if not options.resume and not options.storage and _is_sweep_dir_used(folder):
        raise UserError(
            f"{relpath(folder)} exists: --resume continues that sweep, --name=NAME begins another."
        )
    if not sweep_exists:
        return options.seed or 0, sampler, options.overrides
    if read_json(folder, "settings.json"):  # else it is damaged, which is told below
        require_sweep_format(folder)
    for change in schema.describe_changes(schema.read_sweep_config(folder / "sweep.yaml"), sweep):
        raise UserError(
            f"{options.sweep_file}: {change} since the sweep began; --name=NAME begins another."
        )
    try:
        saved_settings = SweepSettings.model_validate_json(
            read_regular_file(folder, "settings.json", 2**20)
        )
    except (FileNotFoundError, ValueError):
        expected_settings = {
            "format_version": SWEEP_FORMAT_VERSION,
            "seed": options.seed or 0,
            "sampler": sampler,
            "overrides": options.overrides,
        }
        raise UserError(
            f"{relpath(folder)}/settings.json is damaged; if the sweep began with the options of "
            f"this command, it held {json.dumps(expected_settings)}."
        ) from None
    seed, overrides = saved_settings.seed, saved_settings.overrides
    saved_sampler = registry.resolve_sampler_name(saved_settings.sampler, sweep.method)
    if options.seed not in (None, seed):
        raise UserError(f"--seed={options.seed}: this sweep began with {seed}.")
    if options.sampler not in (None, saved_sampler):
        raise UserError(f"--sampler={options.sampler}: this sweep began with {saved_sampler}.")
    if options.overrides and options.overrides != overrides:
        saved_text = " ".join(overrides) or "no overrides"
        raise UserError(f"{' '.join(options.overrides)}: this sweep began with {saved_text}.")
    return seed, saved_sampler, overrides
