"""Options of the command line, and the settings that a sweep keeps when it is resumed."""

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


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Options of `scripts/sweep.py`."""

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
    config_dir: Path | None = None


class SweepSettings(BaseModel):
    """Contents of settings.json: the options that determine a sweep's trials."""

    model_config = ConfigDict(strict=True)
    seed: NonNegativeInt
    sampler: str | None
    overrides: tuple[str, ...]
    config_dir: str | None = None

    def to_json(
        self, journal: str | None = None, study_name: str = "", max_trials: int | None = None
    ) -> str:
        """Return the text of settings.json, with what only reports read.

        Args:
            journal: File of a shared study, which has it as `study_name`.
            max_trials: The `--count` with which the sweep was started or resumed last.
        """
        content = {"format_version": SWEEP_FORMAT_VERSION, **self.model_dump()}
        content["max_trials"] = max_trials
        if journal is not None:
            content |= {"journal": str(Path(journal).absolute()), "study_name": study_name}
        return json.dumps(content)


def resolve_options(options: SweepOptions, sweep: SweepConfig) -> SweepSettings:
    """Return the settings of a new sweep, or those with which the sweep to resume was started.

    Raises:
        UserError: The sweep directory does not suit the options, or the sweep file or an option has
            changed since the sweep was started.
    """
    sweep_dir, config_dir = options.sweep_dir, options.config_dir or sweep.config_dir
    requested_settings = SweepSettings(
        seed=options.seed or 0,
        sampler=registry.resolve_sampler_name(options.sampler, sweep.method),
        overrides=options.overrides,
        config_dir=None if config_dir is None else relpath(config_dir),
    )
    sweep_exists = (sweep_dir / "sweep.yaml").exists()
    if options.resume and not sweep_exists and (sweep_dir / "trials").is_dir():
        raise UserError(
            f"{relpath(sweep_dir)}/sweep.yaml is missing; copy the file that the sweep was started "
            "with there, so that --resume can continue it."
        )
    if options.resume and not sweep_exists:
        raise UserError(f"{relpath(sweep_dir)}: there is no sweep to resume.")
    if not options.resume and not options.storage and _is_sweep_dir_used(sweep_dir):
        raise UserError(
            f"{relpath(sweep_dir)} exists; --resume continues that sweep, --name=NAME starts a new "
            "one."
        )
    if not sweep_exists:
        return requested_settings
    if read_json(sweep_dir, "settings.json"):  # else it is damaged, which is reported below
        require_sweep_format(sweep_dir)
    saved_sweep = schema.read_sweep_config(sweep_dir / "sweep.yaml")
    for change in schema.describe_changes(saved_sweep, sweep):
        raise UserError(
            f"{options.sweep_file}: {change} since the sweep was started; --name=NAME starts a new "
            "one."
        )
    try:
        saved_settings = SweepSettings.model_validate_json(
            read_regular_file(sweep_dir, "settings.json", 2**20)
        )
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"{relpath(sweep_dir)}/settings.json is damaged; if the sweep was started with the "
            f"options of this command, it contained {requested_settings.to_json()}."
        ) from None
    seed, overrides = saved_settings.seed, saved_settings.overrides
    saved_sampler = registry.resolve_sampler_name(saved_settings.sampler, sweep.method)
    if options.seed not in (None, seed):
        raise UserError(f"--seed={options.seed}: this sweep was started with {seed}.")
    if options.sampler not in (None, saved_sampler):
        raise UserError(
            f"--sampler={options.sampler}: this sweep was started with {saved_sampler}."
        )
    if options.overrides and options.overrides != overrides:
        saved_text = " ".join(overrides) or "no overrides"
        raise UserError(f"{' '.join(options.overrides)}: this sweep was started with {saved_text}.")
    if requested_settings.config_dir not in (None, saved_settings.config_dir):
        saved_text = saved_settings.config_dir or "no --config-dir"
        raise UserError(
            f"--config-dir={config_dir}: this sweep was started with {saved_text}; --name=NAME "
            "starts a new one."
        )
    return saved_settings.model_copy(update={"sampler": saved_sampler})


def _is_sweep_dir_used(sweep_dir: Path) -> bool:
    """Return whether a path holds more than a sweep that was killed before it started leaves."""
    if not sweep_dir.is_dir():
        return sweep_dir.exists()
    return any(not path.name.startswith((".", "settings.json")) for path in sweep_dir.iterdir())
