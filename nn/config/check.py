"""Everything is checked before Hydra makes a folder, for one run and for many."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

from hydra import compose
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from nn.config.names import meant
from nn.config.resolve import resolve
from nn.config.schema import GROUPS
from nn.config.sentences import sentence
from nn.errors import Mistake
from nn.experiment import prepare
from nn.knobs import KNOBS
from nn.tracking.run_folder import refuse_unusable


class CheckBeforeStart(Callback):
    """Hydra calls this once, before it starts any job.

    Hydra turns errors of a callback into warnings, all but an exit.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the one configuration."""
        try:
            refuse_unusable(config.hydra.run.dir, "hydra.run.dir")
            prepare(resolve(config, config.hydra))
        except Exception as error:
            _leave(error)

    def on_multirun_start(self, config: DictConfig, **start: Any) -> None:
        """Check each combination of the values that were given."""
        try:
            refuse_unusable(config.hydra.sweep.dir, "hydra.sweep.dir")
            for overrides in _combinations(list(config.hydra.overrides.task)):
                job = compose(start["config_name"], overrides, return_hydra_config=True)
                prepare(resolve(job, job.hydra))
        except Exception as error:
            _leave(error)


def tidy(words: list[str]) -> list[str]:
    """Bring settings that stand apart together, as Hydra wants them, and refuse unknown flags."""
    parsed, apart = get_args_parser().parse_known_args(words)
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


def _leave(error: Exception) -> None:
    """End with the user's sentence; a bug keeps its traceback."""
    told = sentence(error)
    if told is None:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
    print(told, file=sys.stderr)
    sys.exit(2)


def _combinations(overrides: list[str]) -> list[list[str]]:
    parsed = OverridesParser.create().parse_overrides(overrides)
    alternatives = [
        [f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()]
        if each.is_sweep_override()
        else [str(each.input_line)]
        for each in parsed
    ]
    return [list(combination) for combination in product(*alternatives)]
