"""Train one network, or several with --multirun."""

from __future__ import annotations

import io
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

MAX_HELP_WIDTH = 100


def main() -> int:
    """Train, resume or reproduce, and return the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raises errors, so that they are reported here
    import traceback
    from pathlib import Path

    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig

    from nn.cli import multirun
    from nn.cli.rerun import parse_rerun_request, rerun
    from nn.cli.start_callback import normalize_argv
    from nn.config.compose import resolve_job_config
    from nn.config.messages import explain_error
    from nn.config.overrides import rewrite_agent_overrides
    from nn.config.schema import CONFIG_DIR, register_resolvers
    from nn.config.search_path import make_cwd_importable, set_config_dir, split_config_dir
    from nn.errors import DivergedError, SaveError, UserError
    from nn.io.paths import is_resumed_agent_run
    from nn.tracking.wandb_ids import read_sweep_parameters

    register_resolvers()
    multirun.reset()
    status = 0

    @hydra.main(config_path=str(CONFIG_DIR), config_name="config", version_base=None)
    def train(config: DictConfig) -> None:
        from nn.runs.runner import run

        nonlocal status
        hydra_config = HydraConfig.get()
        run_dir = Path(hydra_config.runtime.output_dir)
        try:
            with multirun.recorded_job(hydra_config):
                run(
                    resolve_job_config(config, hydra_config),
                    run_dir,
                    resume=is_resumed_agent_run(Path(hydra_config.run.dir)),
                )
        except (DivergedError, UserError, SaveError) as error:
            status = report_error(error)  # Hydra would add a line of its own
        except Exception:
            if hydra_config.mode != RunMode.MULTIRUN:
                raise
            traceback.print_exc()  # the other jobs run nonetheless

    try:
        config_dir, arguments = split_config_dir(sys.argv[1:])
        set_config_dir(config_dir)
        request = parse_rerun_request(arguments)
        if request:
            return rerun(request)
        make_cwd_importable()
        sys.argv[1:] = normalize_argv(
            rewrite_agent_overrides(sys.argv[1:], read_sweep_parameters())
        )
        with wrap_long_lines() if {"-h", "--help"} & set(sys.argv) else nullcontext():
            train()
        if multirun.is_started():
            return multirun.print_summary()
    except (DivergedError, SaveError) as error:
        return report_error(error)
    except Exception as error:
        message = explain_error(error, sys.argv[1:])
        if message is None and multirun.is_started():  # for example, a worker was killed
            traceback.print_exc()
            return multirun.print_summary()
        if message is None:
            raise
        return report_error(UserError(message))
    return status


def report_error(error: Exception) -> int:
    """Report an error that is not a bug, and return the exit status."""
    from nn.cli.start_callback import report_user_error
    from nn.errors import DivergedError, SaveError

    if not isinstance(error, DivergedError | SaveError):
        return report_user_error(str(error))
    print(error, file=sys.stderr)
    if isinstance(error, SaveError):
        return 1
    return 0 if "WANDB_SWEEP_ID" in os.environ else 3  # an agent would take 3 for a crash


@contextmanager
def wrap_long_lines() -> Iterator[None]:
    """Wrap the lines of what is printed, as Hydra lists all options of a group in one line."""
    buffer = io.StringIO()
    try:
        with redirect_stdout(buffer):
            yield
    finally:
        for line in buffer.getvalue().splitlines():
            if len(line) > MAX_HELP_WIDTH:
                line = textwrap.fill(line, MAX_HELP_WIDTH, subsequent_indent="  ")
            print(line)
