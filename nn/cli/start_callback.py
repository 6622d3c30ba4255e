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
from nn.config.aliases import meant
from nn.config.knobs import KNOBS
from nn.config.messages import sentence
from nn.config.resolve import of_job
from nn.config.schema import GROUPS
from nn.errors import Mistake
from nn.io.paths import comes_back, folder_of_agent, refuse_unusable
from nn.runs.experiment import prepare
from nn.runs.reader import read_config
from nn.runs.signals import interruptible
from nn.tracking.wandb_logger import report_refusal


class CheckBeforeStart(Callback):
    """Hydra calls this once, before it starts any job.

    Hydra turns errors of a callback into warnings, all but an exit.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the one configuration."""
        try:
            _refuse_the_other("hydra.sweep.dir", "hydra.run.dir", config)
            folder = Path(config.hydra.run.dir)
            checked = of_job(config, config.hydra)
            if comes_back(folder):
                _refuse_another(checked, folder)
            else:
                refuse_unusable(config.hydra.run.dir, "hydra.run.dir")
            with interruptible():
                prepare(checked)
        except Exception as error:
            _leave(error)

    def on_multirun_start(self, config: DictConfig, **start: Any) -> None:
        """Check each combination of the values that were given."""
        try:
            _refuse_the_other("hydra.run.dir", "hydra.sweep.dir", config)
            refuse_unusable(config.hydra.sweep.dir, "hydra.sweep.dir")
            common, folders = _as_written(config.hydra.overrides.hydra), set()
            task = _as_written(config.hydra.overrides.task)
            combinations = _combinations(task)
            for number, overrides in enumerate(combinations):
                words = [*overrides, *common]
                job = compose(start["config_name"], words, return_hydra_config=True)
                OmegaConf.copy_cache(config, job)  # as Hydra does, so that ${now:...} is the same
                if job.hydra.sweep.dir != config.hydra.sweep.dir:
                    raise Mistake(
                        f"hydra.sweep.dir={job.hydra.sweep.dir}: the jobs of a multirun share one "
                        "folder; hydra.sweep.subdir may depend on their settings."
                    )
                folder = Path(normpath(Path(config.hydra.sweep.dir) / _subfolder(job, number)))
                if (folder / "config.yaml").exists():
                    raise Mistake(f"{folder} already holds a run; name another hydra.sweep.dir.")
                if folder in folders:
                    raise Mistake(f"{folder}: hydra.sweep.subdir names this folder for two jobs.")
                folders.add(folder)
                with interruptible():
                    prepare(of_job(job, job.hydra))
            multirun.begin(Path(config.hydra.sweep.dir), combinations)
        except Exception as error:
            _leave(error)


def tidy(words: list[str]) -> list[str]:
    """Bring settings that stand apart together, as Hydra wants them, and refuse unknown flags."""
    parser = get_args_parser()
    # Hydra makes the parser, so that there is no class of ours to say it in
    parser.error = _refuse_flags  # type: ignore[method-assign]
    parsed, apart = parser.parse_known_args(words)
    for flag in apart:
        name, _, value = flag.lstrip("-").partition("=")
        if flag.startswith("-") and meant(name) in (*KNOBS, *GROUPS):
            raise Mistake(f"{flag}: settings have no dashes: {meant(name)}={value or 'VALUE'}.")
        if flag.startswith("-"):
            raise Mistake(f"{flag}: there is no such flag; --help shows what there is.")
    if apart:
        end = words.index(parsed.overrides[0]) + len(parsed.overrides)
        words = [*words[:end], *apart, *(word for word in words[end:] if word not in apart)]
    return words


def _refuse_flags(message: str) -> NoReturn:
    raise Mistake(f"{message}; --help shows what there is.")


def _refuse_the_other(setting: str, right: str, config: DictConfig) -> None:
    """Refuse the folder of a single run in a multirun, and the other way round."""
    for override in _as_written(config.hydra.overrides.hydra):
        if override.startswith(f"{setting}="):
            raise Mistake(f"{override} has no effect here; set {right}.")


def _as_written(overrides: ListConfig) -> list[str]:
    """List overrides with the interpolations in them left as they are."""
    return [str(each) for each in OmegaConf.to_container(overrides, resolve=False) or ()]


def _refuse_another(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run whose settings were others."""
    begun = read_config(folder)
    for key, value in config.items():
        if key not in ("tracking", "choices") and begun.get(key) != value:
            raise Mistake(
                f"{folder}: the run that comes back here has another {key} than it began with."
            )


def _leave(error: Exception) -> None:
    """End with the user's sentence; a bug keeps its traceback."""
    told = sentence(error)
    if told is None:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
    sys.exit(refuse(told))


def refuse(told: str) -> int:
    """Tell a mistake, to a sweep agent's server too, and give the exit status."""
    if folder_of_agent():
        report_refusal(told)
    else:
        print(told, file=sys.stderr)
    return 2


def _subfolder(job: DictConfig, number: int) -> str:
    """Name the folder of a job below that of its multirun, as Hydra will."""
    known = HydraConfig.instance()
    before = known.cfg
    with open_dict(job):
        job.hydra.job.num = job.hydra.job.id = number
    known.set_config(job)
    try:
        return str(OmegaConf.select(job, "hydra.sweep.subdir"))
    finally:
        known.cfg = before


def _combinations(overrides: list[str]) -> list[list[str]]:
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    alternatives = []
    for each in parser.parse_overrides(overrides):
        if not each.is_sweep_override():
            alternatives.append([str(each.input_line)])
            continue
        try:
            values = list(each.sweep_string_iterator())
        except HydraException as error:
            raise Mistake(f"{each.input_line}: {error}.") from None
        if not values:
            raise Mistake(f"{each.input_line}: there is no value in it.")
        alternatives.append([f"{each.get_key_element()}={value}" for value in values])
    return [list(combination) for combination in product(*alternatives)]
