"""Everything is checked before Hydra makes a folder, for one run and for many."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import product
from os.path import normpath
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from nn.cli import multirun
from nn.config.aliases import canonical_name, is_renamed, renamed_setting_message
from nn.config.knobs import HYPERPARAMETERS
from nn.config.messages import explain_error
from nn.config.resolve import resolve_job_config
from nn.config.schema import CONFIG_GROUPS
from nn.errors import UserError
from nn.io.paths import agent_run_dir, check_output_dir, is_resumed_agent_run
from nn.runs.experiment import prepare
from nn.runs.reader import read_config
from nn.runs.signals import interruptible
from nn.tracking.wandb_logger import report_rejected_trial


class ValidateOnStart(Callback):
    """Hydra calls this once, before it starts any job.

    Hydra turns errors of a callback into warnings, all but an exit.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the one configuration."""
        try:
            _refuse_wrong_dir_setting("hydra.sweep.dir", "hydra.run.dir", config)
            run_dir = Path(config.hydra.run.dir)
            run_config = resolve_job_config(config, config.hydra)
            if is_resumed_agent_run(run_dir):
                _refuse_changed_config(run_config, run_dir)
            else:
                check_output_dir(config.hydra.run.dir, "hydra.run.dir")
            with interruptible():
                prepare(run_config)
        except Exception as error:
            _exit_with_error(error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check each combination of the values that were given."""
        try:
            _refuse_wrong_dir_setting("hydra.run.dir", "hydra.sweep.dir", config)
            check_output_dir(config.hydra.sweep.dir, "hydra.sweep.dir")
            hydra_overrides, run_dirs = _to_unresolved_list(config.hydra.overrides.hydra), set()
            task_overrides = _to_unresolved_list(config.hydra.overrides.task)
            combinations = _expand_combinations(task_overrides)
            for job_number, overrides in enumerate(combinations):
                job_overrides = [*overrides, *hydra_overrides]
                job = compose(kwargs["config_name"], job_overrides, return_hydra_config=True)
                OmegaConf.copy_cache(config, job)  # as Hydra does, so that ${now:...} is the same
                if job.hydra.sweep.dir != config.hydra.sweep.dir:
                    raise UserError(
                        f"hydra.sweep.dir={job.hydra.sweep.dir}: the jobs of a multirun share one "
                        "folder; hydra.sweep.subdir may depend on their settings."
                    )
                run_dir = Path(
                    normpath(Path(config.hydra.sweep.dir) / _get_job_subdir(job, job_number))
                )
                if (run_dir / "config.yaml").exists():
                    raise UserError(f"{run_dir} already holds a run; name another hydra.sweep.dir.")
                if run_dir in run_dirs:
                    raise UserError(
                        f"{run_dir}: hydra.sweep.subdir names this folder for two jobs."
                    )
                run_dirs.add(run_dir)
                with interruptible():
                    prepare(resolve_job_config(job, job.hydra))
            multirun.register_jobs(Path(config.hydra.sweep.dir), combinations)
        except Exception as error:
            _exit_with_error(error)


def normalize_argv(argv: list[str]) -> list[str]:
    """Bring settings that stand apart together, as Hydra wants them, and refuse unknown flags."""
    parser = get_args_parser()
    # Hydra makes the parser, so that there is no class of ours to say it in
    parser.error = _raise_flag_error  # type: ignore[method-assign]
    parsed_args, unparsed = parser.parse_known_args(argv)
    for flag in unparsed:
        name, _, value = flag.lstrip("-").partition("=")
        if flag.startswith("-") and is_renamed(name):
            raise UserError(f"{flag}: {renamed_setting_message(name, value).partition(': ')[2]}")
        if flag.startswith("-") and canonical_name(name) in (*HYPERPARAMETERS, *CONFIG_GROUPS):
            raise UserError(
                f"{flag}: settings have no dashes: {canonical_name(name)}={value or 'VALUE'}."
            )
        if flag.startswith("-"):
            raise UserError(f"{flag}: there is no such flag; --help shows what there is.")
    if unparsed:
        end = argv.index(parsed_args.overrides[0]) + len(parsed_args.overrides)
        argv = [
            *argv[:end],
            *unparsed,
            *(argument for argument in argv[end:] if argument not in unparsed),
        ]
    return argv


def _raise_flag_error(message: str) -> NoReturn:
    raise UserError(f"{message}; --help shows what there is.")


def _refuse_wrong_dir_setting(wrong_setting: str, right_setting: str, config: DictConfig) -> None:
    """Refuse the folder of a single run in a multirun, and the other way round."""
    for override in _to_unresolved_list(config.hydra.overrides.hydra):
        if override.startswith(f"{wrong_setting}="):
            raise UserError(f"{override} has no effect here; set {right_setting}.")


def _to_unresolved_list(overrides: ListConfig) -> list[str]:
    """List overrides with the interpolations in them left as they are."""
    return [str(override) for override in OmegaConf.to_container(overrides, resolve=False) or ()]


def _refuse_changed_config(config: Mapping[str, Any], run_dir: Path) -> None:
    """Refuse to go on with a run whose settings were others."""
    saved_config = read_config(run_dir)
    for key, value in config.items():
        if key not in ("tracking", "choices") and saved_config.get(key) != value:
            raise UserError(
                f"{run_dir}: the run that comes back here has another {key} than it began with."
            )


def _exit_with_error(error: Exception) -> None:
    """End with the user's sentence; a bug keeps its traceback."""
    message = explain_error(error)
    if message is None:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
    sys.exit(report_user_error(message))


def report_user_error(message: str) -> int:
    """Tell a mistake, to a sweep agent's server too, and give the exit status."""
    if agent_run_dir():
        report_rejected_trial(message)
    else:
        print(message, file=sys.stderr)
    return 2


def _get_job_subdir(job: DictConfig, job_number: int) -> str:
    """Name the folder of a job below that of its multirun, as Hydra will."""
    hydra_config = HydraConfig.instance()
    previous_config = hydra_config.cfg
    with open_dict(job):
        job.hydra.job.num = job.hydra.job.id = job_number
    hydra_config.set_config(job)
    try:
        return str(OmegaConf.select(job, "hydra.sweep.subdir"))
    finally:
        hydra_config.cfg = previous_config


def _expand_combinations(overrides: list[str]) -> list[list[str]]:
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    alternatives = []
    for override in parser.parse_overrides(overrides):
        if not override.is_sweep_override():
            alternatives.append([str(override.input_line)])
            continue
        try:
            values = list(override.sweep_string_iterator())
        except HydraException as error:
            raise UserError(f"{override.input_line}: {error}.") from None
        if not values:
            raise UserError(f"{override.input_line}: there is no value in it.")
        alternatives.append([f"{override.get_key_element()}={value}" for value in values])
    return [list(combination) for combination in product(*alternatives)]
