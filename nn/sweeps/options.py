"""Options of the command line, and the settings that a sweep keeps when it is resumed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, NonNegativeInt, PositiveInt

from nn.config.compose import parse_override_value
from nn.config.overrides import get_override_key
from nn.errors import UserError
from nn.io.files import read_regular_file
from nn.io.paths import relpath
from nn.runs.reader import read_json
from nn.sweeps import schema
from nn.sweeps.distributions import Constant, ParameterValue
from nn.sweeps.samplers import registry
from nn.sweeps.schema import FINAL_METRICS, SweepConfig
from nn.sweeps.storage import redact_url
from nn.sweeps.trial_record import MAX_REPLICATES
from nn.sweeps.trials import SWEEP_FORMAT_VERSION
from nn.sweeps.trials_reader import require_sweep_format
from nn.sweeps.warm_start import WARM_START_FILE


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
    warm_start: tuple[Path, ...] = ()
    replicates: int | None = None
    no_racing: bool = False
    scheduler: Literal["asha"] | None = None
    epochs_budget: int | None = None
    timeout_seconds: float | None = None


class SweepSettings(BaseModel):
    """Contents of settings.json: the options that determine a sweep's trials."""

    model_config = ConfigDict(strict=True)
    seed: NonNegativeInt
    sampler: str | None
    overrides: tuple[str, ...]
    config_dir: str | None = None
    warm_start: tuple[str, ...] = ()
    """Directories of earlier sweeps and runs, whose trials are in warm_start.json."""
    replicates: PositiveInt = 1
    """Number of seeds of each point; the study of a shared sweep may record more."""
    racing: bool = True
    """Whether only points that can still be among the best get all of their seeds."""
    scheduler: Literal["asha"] | None = None
    """How trials share the epochs, unless each is run to its end or to early termination."""
    constants: dict[str, JsonValue] = {}
    """Values of the overrides that replace parameters with a single value."""

    @property
    def other_overrides(self) -> list[str]:
        """The overrides that replace no parameter."""
        return [text for text in self.overrides if get_override_key(text) not in self.constants]

    def to_json(
        self,
        storage_url: str | None = None,
        study_name: str = "",
        max_trials: int | None = None,
    ) -> str:
        """Return the text of settings.json, with what only other commands read.

        Args:
            storage_url: Where a shared study is, which has it as `study_name`.
            max_trials: The `--count` with which the sweep was started or resumed last.
        """
        content = {"format_version": SWEEP_FORMAT_VERSION, **self.model_dump()}
        content["max_trials"] = max_trials
        if storage_url is not None:
            is_url = "://" in storage_url
            content |= {
                "storage": redact_url(storage_url) if is_url else None,
                "journal": None if is_url else str(Path(storage_url).absolute()),
                "study_name": study_name,
            }
        return json.dumps(content)


def resolve_options(
    options: SweepOptions, sweep: SweepConfig
) -> tuple[SweepSettings, SweepSettings | None]:
    """Return the settings to use, and those of the sweep directory if it exists.

    Options that are not given keep the values that they have there.

    Raises:
        UserError: The sweep directory does not suit the options, or one that cannot be edited
            differs.
    """
    sweep_dir, config_dir = options.sweep_dir, options.config_dir or sweep.config_dir
    requested_settings = SweepSettings(
        seed=options.seed or 0,
        sampler=registry.resolve_sampler_name(options.sampler, sweep.method),
        overrides=options.overrides,
        constants=parse_constants(options.overrides, sweep),
        config_dir=None if config_dir is None else relpath(config_dir),
        warm_start=tuple(map(relpath, options.warm_start)),
        replicates=options.replicates or 1,
        racing=not options.no_racing,
        scheduler=options.scheduler,
    )
    if options.warm_start:
        registry.require_warm_start(requested_settings.sampler, sweep.method)
    _check_imputation(requested_settings.sampler, sweep)
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
        check_replicates(options, requested_settings.replicates, sweep)
        check_scheduler(requested_settings.scheduler, sweep)
        return requested_settings, None
    saved_sweep = schema.read_sweep_config(sweep_dir / "sweep.yaml")
    if read_json(sweep_dir, "settings.json"):  # else it is damaged, which is reported below
        require_sweep_format(sweep_dir)
    try:
        saved_settings = SweepSettings.model_validate_json(
            read_regular_file(sweep_dir, "settings.json", 2**20)
        )
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"{relpath(sweep_dir)}/settings.json is damaged; if the sweep was started with the "
            f"options of this command, it contained {requested_settings.to_json()}."
        ) from None
    if options.seed not in (None, saved_settings.seed):
        raise UserError(
            f"--seed={options.seed}: this sweep was started with {saved_settings.seed}."
        )
    if requested_settings.config_dir not in (None, saved_settings.config_dir):
        saved_text = saved_settings.config_dir or "no --config-dir"
        raise UserError(
            f"--config-dir={config_dir}: this sweep was started with {saved_text}; --name=NAME "
            "starts a new one."
        )
    if requested_settings.warm_start not in ((), saved_settings.warm_start):
        saved_text = " ".join(saved_settings.warm_start) or "no --warm-start"
        raise UserError(
            f"--warm-start={' '.join(requested_settings.warm_start)}: this sweep was started with "
            f"{saved_text}; --name=NAME starts a new one."
        )
    overrides = merge_overrides(saved_settings.overrides, options.overrides, saved_sweep, sweep)
    sampler = options.sampler or (saved_settings.sampler if sweep.method == "bayes" else None)
    settings = saved_settings.model_copy(
        update={
            "sampler": registry.resolve_sampler_name(sampler, sweep.method),
            "overrides": overrides,
            "constants": parse_constants(overrides, sweep),
            "replicates": max(options.replicates or 1, saved_settings.replicates),
            "racing": saved_settings.racing and not options.no_racing,
        }
    )
    if (options.replicates or math.inf) < saved_settings.replicates:
        raise fewer_replicates_error(options.replicates, saved_settings.replicates)
    check_replicates(options, settings.replicates, sweep)
    if options.scheduler not in (None, settings.scheduler):
        raise UserError(
            f"--scheduler={options.scheduler}: this sweep was started without it; --name=NAME "
            "starts a new one."
        )
    check_scheduler(settings.scheduler, sweep)
    if settings.warm_start:
        registry.require_warm_start(settings.sampler, sweep.method)
    _check_imputation(settings.sampler, sweep)
    return settings, saved_settings


def check_replicates(options: SweepOptions, num_replicates: int, sweep: SweepConfig) -> None:
    """Raise `UserError` if points cannot be replicated."""
    if num_replicates == 1:
        if options.no_racing:
            raise UserError(
                "--no-racing: has no effect with one seed per point; add --replicates=3."
            )
        return
    option = f"--replicates={num_replicates}"
    if num_replicates > MAX_REPLICATES:
        raise UserError(f"{option}: there can be {MAX_REPLICATES} at most.")
    if sweep.metric is None:
        raise UserError(f"{option}: points need a metric to be compared by; add one to the file.")
    if "seed" in sweep.parameters:
        raise UserError(
            f"{option}: seed is a parameter of the sweep file, too; remove it there, and write "
            "seed=5 after the file if the first seed is to be 5."
        )


def check_scheduler(scheduler: str | None, sweep: SweepConfig) -> None:
    """Raise `UserError` if trials cannot pause at rungs."""
    if scheduler is None:
        return
    option, epochs = f"--scheduler={scheduler}", sweep.parameters.get("epochs")
    if sweep.metric is None:
        raise UserError(f"{option}: trials need a metric to be compared by; add one to the file.")
    if sweep.metric.name in FINAL_METRICS:
        raise UserError(
            f"{option}: {sweep.metric.name} is logged once, at the end of a run, so that trials "
            "cannot be compared before; choose a metric that is logged every epoch."
        )
    if epochs is not None and not isinstance(epochs, Constant):
        raise UserError(
            f"{option}: epochs is a parameter of the sweep file, too, and the scheduler chooses "
            "them; write epochs: {value: 30} there."
        )


def fewer_replicates_error(requested: int | None, recorded: int) -> UserError:
    """Return the error of a request for fewer seeds than a sweep has already."""
    return UserError(
        f"--replicates={requested}: this sweep was started with {recorded}; give {recorded} or "
        "more, or start a new one with --name=NAME."
    )


def _check_imputation(sampler: str | None, sweep: SweepConfig) -> None:
    """Raise `UserError` if a metric imputes values for a sampler that does not."""
    if sampler not in (None, registry.GP) and sweep.metric and sweep.metric.has_imputation:
        raise UserError(
            f"--sampler={sampler}: metric.impute and metric.impute_while_running need the "
            "sampler gp; leave them out."
        )


def merge_overrides(
    saved: Sequence[str], requested: Sequence[str], saved_sweep: SweepConfig, sweep: SweepConfig
) -> tuple[str, ...]:
    """Replace saved overrides by those of the command line and by parameters new in the file."""
    replaced_keys = {get_override_key(override) for override in requested}
    replaced_keys |= {
        name
        for name, distribution in sweep.parameters.items()
        if saved_sweep.parameters.get(name) != distribution
    }
    kept = [override for override in saved if get_override_key(override) not in replaced_keys]
    return (*kept, *requested)


def parse_constants(overrides: Sequence[str], sweep: SweepConfig) -> dict[str, ParameterValue]:
    """Return the values of the overrides that replace parameters with a single value."""
    return {
        name: parse_override_value(override)
        for override in overrides
        if isinstance(sweep.parameters.get(name := get_override_key(override)), Constant)
    }


def _is_sweep_dir_used(sweep_dir: Path) -> bool:
    """Return whether a path holds more than a sweep that was killed before it started leaves."""
    if not sweep_dir.is_dir():
        return sweep_dir.exists()
    first_files = (".", "settings.json", WARM_START_FILE)
    return any(not path.name.startswith(first_files) for path in sweep_dir.iterdir())
