"""Compose a configuration from overrides, exactly as the command line does."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, get_type_hints

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict

from nn.config.instantiate import get_class
from nn.config.knobs import HYPERPARAMETERS
from nn.config.messages import explain_error
from nn.config.resolve import resolve_config
from nn.config.schema import CONFIG_DIR, CONFIG_GROUPS, register_with_hydra
from nn.config.search_path import searchpath_overrides
from nn.errors import UserError


def compose_config(overrides: Iterable[str]) -> dict[str, Any]:
    """Compose and resolve a configuration.

    Composing the config groups is slow, so the result is cached by the chosen options; the other
    overrides are applied to a copy.

    Raises:
        UserError: An override is invalid; the message names its key and value.
    """
    overrides = list(overrides)
    try:
        parsed_overrides = OverridesParser.create().parse_overrides(overrides)
        for override in parsed_overrides:
            if override.is_sweep_override():
                raise UserError(f"{override.input_line}: several values; write a list as [1,2].")
        group_overrides = tuple(
            str(override.input_line)
            for override in parsed_overrides
            if override.key_or_group in CONFIG_GROUPS
        )
        search_path = searchpath_overrides(parsed_overrides)
        base_config, choices = _compose_groups((*search_path, *group_overrides))
        config = copy.deepcopy(base_config)
        value_overrides = [
            override
            for override in parsed_overrides
            if override.key_or_group not in (*CONFIG_GROUPS, "hydra.searchpath")
        ]
        ConfigLoaderImpl._apply_overrides_to_config(value_overrides, config)
        return resolve_config(config, choices, overrides)
    except UserError:
        raise
    except Exception as error:
        message = explain_error(error)
        if message is None:
            raise
        raise UserError(message) from None


@lru_cache(maxsize=256)
def _compose_groups(group_overrides: tuple[str, ...]) -> tuple[DictConfig, dict[str, Any]]:
    """Return the config composed from the chosen options, and the option of each group."""
    register_with_hydra()
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        config = compose("config", list(group_overrides), return_hydra_config=True)
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    return config, choices


def get_setting_type(name: str, config: dict[str, Any]) -> Any:
    """Return the annotated type of a setting given by its dotted name; `Any` if unknown."""
    if name in HYPERPARAMETERS:
        return HYPERPARAMETERS[name].annotation
    group, _, setting = name.partition(".")
    node = config.get(group)
    if not isinstance(node, dict) or "_target_" not in node:
        return Any
    return get_type_hints(get_class(group, node["_target_"]).__init__).get(setting, Any)
