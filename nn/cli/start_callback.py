"""Hydra callback that checks every configuration before Hydra creates a directory."""

from __future__ import annotations

import sys
from itertools import product
from os.path import normpath
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from nn.cli import multirun
from nn.config.aliases import is_renamed, renamed_setting_message, resolve_alias
from nn.config.compose import resolve_job_config
from nn.config.hydra_internals import FlagParser
from nn.config.messages import explain_error
from nn.config.schema import CONFIG_GROUPS, HYPERPARAMETERS, Config
from nn.errors import UserError
from nn.io.paths import agent_run_dir, check_output_dir, is_resumed_agent_run
from nn.runs.experiment import prepare, prepare_ahead
from nn.runs.reader import read_config
from nn.runs.signals import interruptible
from nn.tracking.wandb_run import report_rejected_trial


class ValidateOnStart(Callback):
    """Validates the configurations of all jobs before the first one starts.

    Hydra turns the exceptions of a callback into warnings, except SystemExit.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the configuration of a single run."""
        try:
            _refuse_wrong_dir_setting("hydra.sweep.dir", "hydra.run.dir", config)
            run_dir = Path(config.hydra.run.dir)
            run_config = resolve_job_config(config, config.hydra)
            if is_resumed_agent_run(run_dir):
                _refuse_changed_config(run_config, run_dir)
            else:
                check_output_dir(config.hydra.run.dir, "hydra.run.dir")
            with interruptible():
                prepare_ahead(run_config)
        except Exception as error:
            _exit_with_error(error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the configuration of each job of a multirun."""
        try:
            _refuse_wrong_dir_setting("hydra.run.dir", "hydra.sweep.dir", config)
            check_output_dir(config.hydra.sweep.dir, "hydra.sweep.dir")
            hydra_overrides, run_dirs = _to_unresolved_list(config.hydra.overrides.hydra), set()
            task_overrides = _to_unresolved_list(config.hydra.overrides.task)
            combinations = _expand_combinations(task_overrides)
            for job_number, overrides in enumerate(combinations):
                job_overrides = [*overrides, *hydra_overrides]
                job = compose(kwargs["config_name"], job_overrides, return_hydra_config=True)
                # as Hydra does, so that ${now:...} has the same value
                OmegaConf.copy_cache(config, job)
                if job.hydra.sweep.dir != config.hydra.sweep.dir:
                    raise UserError(
                        f"hydra.sweep.dir={job.hydra.sweep.dir}: the jobs of a multirun share one "
                        "directory; only hydra.sweep.subdir may depend on their settings."
                    )
                run_dir = Path(
                    normpath(Path(config.hydra.sweep.dir) / _get_job_subdir(job, job_number))
                )
                if (run_dir / "config.yaml").exists():
                    raise UserError(
                        f"{run_dir} already contains a run; choose another hydra.sweep.dir."
                    )
                if run_dir in run_dirs:
                    raise UserError(f"{run_dir}: hydra.sweep.subdir gives two jobs this directory.")
                run_dirs.add(run_dir)
                with interruptible():  # not ahead, since the job may run in another process
                    prepare(resolve_job_config(job, job.hydra))
            _limit_num_workers(config.hydra.launcher, len(combinations))
            multirun.register_jobs(Path(config.hydra.sweep.dir), combinations)
        except Exception as error:
            _exit_with_error(error)


def normalize_argv(argv: list[str]) -> list[str]:
    """Move all overrides next to each other, as Hydra requires, and refuse unknown flags."""
    parsed_args, unparsed = FlagParser().parse_known_args(argv)
    for flag in unparsed:
        name, _, value = flag.lstrip("-").partition("=")
        if flag.startswith("-") and is_renamed(name):
            raise UserError(f"{flag}: {renamed_setting_message(name, value).partition(': ')[2]}")
        setting = resolve_alias(name)
        if flag.startswith("-") and setting in (*HYPERPARAMETERS, *CONFIG_GROUPS):
            raise UserError(
                f"{flag}: settings are written without dashes: {setting}={value or 'VALUE'}."
            )
        if flag.startswith("-"):
            raise UserError(f"{flag}: there is no such flag; --help lists the flags.")
    if unparsed:
        end = argv.index(parsed_args.overrides[0]) + len(parsed_args.overrides)
        argv = [
            *argv[:end],
            *unparsed,
            *(argument for argument in argv[end:] if argument not in unparsed),
        ]
    return argv


def _limit_num_workers(launcher: DictConfig, num_jobs: int) -> None:
    """Let joblib start no worker that gets no job, as Ctrl-C would end it before the others."""
    if launcher.get("n_jobs"):
        from joblib import effective_n_jobs

        launcher.n_jobs = min(effective_n_jobs(launcher.n_jobs), num_jobs)


def _refuse_wrong_dir_setting(wrong_setting: str, right_setting: str, config: DictConfig) -> None:
    """Refuse the directory of a single run in a multirun, and vice versa."""
    for override in _to_unresolved_list(config.hydra.overrides.hydra):
        if override.startswith(f"{wrong_setting}="):
            raise UserError(f"{override} has no effect here; set {right_setting}.")


def _to_unresolved_list(overrides: ListConfig) -> list[str]:
    """Return overrides as strings, without resolving interpolations."""
    return [str(override) for override in OmegaConf.to_container(overrides, resolve=False) or ()]


def _refuse_changed_config(config: Config, run_dir: Path) -> None:
    """Refuse to resume a run with settings other than those it was started with."""
    saved_config = read_config(run_dir)
    for key, value in config.model_dump().items():
        if key not in ("tracking", "choices") and saved_config.get(key) != value:
            raise UserError(
                f"{run_dir}: {key} differs from the value with which the run to resume was started."
            )


def _exit_with_error(error: Exception) -> None:
    """Exit with the message of a user error, or with the traceback of a bug."""
    message = explain_error(error, sys.argv[1:])
    if message is None:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
    sys.exit(report_user_error(message))


def report_user_error(message: str) -> int:
    """Report a user error, under a sweep agent also to W&B, and return the exit status."""
    if agent_run_dir():
        report_rejected_trial(message)
    else:
        print(message, file=sys.stderr)
    return 2


def _get_job_subdir(job: DictConfig, job_number: int) -> str:
    """Return the directory of a job relative to that of its multirun, as Hydra resolves it."""
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
    """Return the overrides of each job, like Hydra's private `BasicSweeper.split_arguments`."""
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
            raise UserError(f"{override.input_line}: it has no value.")
        alternatives.append([f"{override.get_key_element()}={value}" for value in values])
    return [list(combination) for combination in product(*alternatives)]
