"""A configuration from overrides, as the command line composes it, without a command line."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, get_type_hints

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict

from nn.config.instantiate import locate
from nn.config.knobs import KNOBS
from nn.config.messages import sentence
from nn.config.resolve import resolve
from nn.config.schema import CONF, GROUPS, register
from nn.errors import Mistake


def configuration(words: Iterable[str]) -> dict[str, Any]:
    """Compose and resolve; what is wrong is a `Mistake`.

    Choosing options is the slow part of it, which is done once for each choice.
    """
    words = list(words)
    try:
        parsed = OverridesParser.create().parse_overrides(words)
        for each in parsed:
            if each.is_sweep_override():
                raise Mistake(f"{each.input_line}: several values; a list is in brackets.")
        chosen = tuple(str(each.input_line) for each in parsed if each.key_or_group in GROUPS)
        base, choices = _composed(chosen)
        config = copy.deepcopy(base)
        settings = [each for each in parsed if each.key_or_group not in GROUPS]
        ConfigLoaderImpl._apply_overrides_to_config(settings, config)
        return resolve(config, choices, words)
    except Mistake:
        raise
    except Exception as error:
        told = sentence(error)
        if told is None:
            raise
        raise Mistake(told) from None


@lru_cache(maxsize=256)
def _composed(chosen: tuple[str, ...]) -> tuple[DictConfig, dict[str, Any]]:
    """Compose the options that are chosen, and name them."""
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        composed = compose("config", list(chosen), return_hydra_config=True)
    choices = dict(composed.hydra.runtime.choices)
    with open_dict(composed):
        del composed["hydra"]
    return composed, choices


def annotation(name: str, config: dict[str, Any]) -> Any:
    """Find the type of a setting by its dotted name, as far as it is known."""
    if name in KNOBS:
        return KNOBS[name].kind
    group, _, setting = name.partition(".")
    node = config.get(group)
    if not isinstance(node, dict) or "_target_" not in node:
        return Any
    return get_type_hints(locate(group, node["_target_"]).__init__).get(setting, Any)
