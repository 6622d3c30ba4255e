"""What the command line asks for, and what a sweep that has begun keeps to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from nn.errors import Mistake
from nn.io.files import read_plain
from nn.io.paths import short
from nn.sweeps import schema
from nn.sweeps.samplers import registry
from nn.sweeps.schema import Sweep


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    file: Path
    count: int | None
    workers: int
    seed: int | None
    sampler: str | None
    name: str
    folder: Path
    resume: bool
    storage: str | None
    grace: float
    overrides: tuple[str, ...]


class Settings(BaseModel):
    """What settings.json holds."""

    model_config = ConfigDict(strict=True)
    seed: NonNegativeInt
    sampler: str | None
    overrides: tuple[str, ...]


def _is_used(folder: Path) -> bool:
    """Whether there is more in a folder than a sweep leaves that was killed before it began."""
    if not folder.is_dir():
        return folder.exists()
    return any(not each.name.startswith((".", "settings.json")) for each in folder.iterdir())


def agreed(wanted: Wanted, sweep: Sweep) -> tuple[int, str | None, tuple[str, ...]]:
    """Settle seed, sampler and overrides, which stay as they are if a sweep is gone on with."""
    sampler = registry.checked(wanted.sampler, sweep.method)
    folder, exists = wanted.folder, (wanted.folder / "sweep.yaml").exists()
    if wanted.resume and not exists and (folder / "trials").is_dir():
        raise Mistake(
            f"{short(folder)}/sweep.yaml is missing; a copy there of the file that the sweep began "
            "with lets --resume continue it."
        )
    if wanted.resume and not exists:
        raise Mistake(f"{short(folder)}: there is no sweep to resume.")
    if not wanted.resume and not wanted.storage and _is_used(folder):
        raise Mistake(
            f"{short(folder)} exists: --resume continues that sweep, --name=NAME begins another."
        )
    if not exists:
        return wanted.seed or 0, sampler, wanted.overrides
    for change in schema.changes(schema.read(folder / "sweep.yaml"), sweep):
        raise Mistake(f"{wanted.file}: {change} since the sweep began; --name=NAME begins another.")
    try:
        saved = Settings.model_validate_json(read_plain(folder, "settings.json", 2**20))
    except (FileNotFoundError, ValueError):
        likely = {"seed": wanted.seed or 0, "sampler": sampler, "overrides": wanted.overrides}
        raise Mistake(
            f"{short(folder)}/settings.json is damaged; if the sweep began with the options of "
            f"this command, it held {json.dumps(likely)}."
        ) from None
    seed, overrides = saved.seed, saved.overrides
    began = registry.checked(saved.sampler, sweep.method)
    if wanted.seed not in (None, seed):
        raise Mistake(f"--seed={wanted.seed}: this sweep began with {seed}.")
    if wanted.sampler not in (None, began):
        raise Mistake(f"--sampler={wanted.sampler}: this sweep began with {began}.")
    if wanted.overrides and wanted.overrides != overrides:
        began_with = " ".join(overrides) or "no overrides"
        raise Mistake(f"{' '.join(wanted.overrides)}: this sweep began with {began_with}.")
    return seed, began, overrides
