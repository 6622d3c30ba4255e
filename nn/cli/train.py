"""Train one network, or with --multirun several; --help tells the rest."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Do what the command line asks for, and give the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # lets errors through, to be told in our own words
    import traceback
    from contextlib import nullcontext
    from pathlib import Path

    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig

    from nn.cli import multirun
    from nn.cli.help import readable
    from nn.cli.start_callback import tidy
    from nn.config.messages import sentence
    from nn.config.resolve import of_job
    from nn.config.schema import CONF, register
    from nn.errors import Diverged, Mistake, NotSaved
    from nn.io.paths import comes_back
    from nn.runs.resume import asked, go
    from nn.runs.signals import Stopped, end_at_once, is_child

    register()
    multirun.reset()
    status = 0

    @hydra.main(config_path=str(CONF), config_name="config", version_base=None)
    def train(config: DictConfig) -> None:
        from nn.runs.runner import run

        nonlocal status
        job = HydraConfig.get()
        folder = Path(job.runtime.output_dir)
        failure: Exception | None = None
        try:
            run(of_job(config, job), folder, resumed=comes_back(Path(job.run.dir)))
        except (Diverged, Mistake, NotSaved) as error:  # to which Hydra would add a line
            status = told(error)
            failure = error
        except Stopped as stop:
            if is_child():  # else the worker would begin the next job
                end_at_once(stop.number)
            raise
        except Exception as error:
            if job.mode != RunMode.MULTIRUN:
                raise
            traceback.print_exc()  # and the other jobs run
            failure = error
        multirun.record(job, failure)

    try:
        words = asked(sys.argv[1:])
        if words:
            return go(words)
        sys.argv[1:] = tidy(sys.argv[1:])
        with readable() if {"-h", "--help"} & set(sys.argv) else nullcontext():
            train()
        if multirun.has_begun():
            return multirun.summarize()
    except (Diverged, NotSaved) as error:
        return told(error)
    except Exception as error:
        mistake = sentence(error)
        if mistake is None and multirun.has_begun():  # such as a worker that was killed
            traceback.print_exc()
            return multirun.summarize()
        if mistake is None:
            raise
        return told(Mistake(mistake))
    return status


def told(error: Exception) -> int:
    """Tell what has happened, and give the exit status."""
    from nn.cli.start_callback import refuse
    from nn.errors import Diverged, NotSaved

    if not isinstance(error, Diverged | NotSaved):
        return refuse(str(error))
    print(error, file=sys.stderr)
    if isinstance(error, NotSaved):
        return 1
    return 0 if "WANDB_SWEEP_ID" in os.environ else 3  # which an agent would take for a crash
