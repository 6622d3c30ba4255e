"""Compose a configuration from overrides, and resolve it into plain, validated values."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from pydantic import JsonValue

from nn.config.aliases import (
    is_renamed,
    list_options,
    renamed_setting_message,
    unknown_setting_message,
)
from nn.config.instantiate import get_class
from nn.config.messages import explain_error, invalid_override_message
from nn.config.schema import (
    COMPONENT_GROUPS,
    CONFIG_DIR,
    CONFIG_GROUPS,
    HYPERPARAMETERS,
    Config,
    load_defaults,
    register_resolvers,
    require_usable_threads,
    validate_config,
)
from nn.config.search_path import merge_searchpath_overrides
from nn.config.validate import SettingType, get_signature
from nn.errors import UserError, format_value

CONSUMER_GROUPS = {
    "depth": "model",
    "width": "model",
    "dropout": "model",
    "weight_decay": "optimizer",
}
"""Hyperparameters that act only where a component refers to them, such as `depth: ${depth}` in
conf/model/mlp.yaml, and the config group of that component."""


def compose_config(overrides: Iterable[str]) -> Config:
    """Compose and resolve a configuration, exactly as the command line does.

    Composing the config groups is slow, so the result is cached by the chosen options; overrides
    of values are applied to a copy.

    Raises:
        UserError: An override is invalid; the message names its key and value.
    """
    overrides = list(overrides)
    try:
        parsed_overrides = _parse_overrides(overrides)
        base_config, choices = _compose_with_hydra(
            (
                *merge_searchpath_overrides(parsed_overrides),
                *(str(item.input_line) for item in parsed_overrides if _selects_options(item)),
            )
        )
        config = copy.deepcopy(base_config)
        for override in filter(_changes_value, parsed_overrides):
            try:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            except OmegaConfBaseException as error:
                raise UserError(invalid_override_message(str(override.input_line), error)) from None
        return resolve_config(config, choices, overrides)
    except UserError:
        raise
    except Exception as error:
        message = explain_error(error, overrides)
        if message is None:
            raise
        raise UserError(message) from None


def parse_override_value(override: str) -> JsonValue:
    """Return the value of an override, and raise `UserError` if it cannot be parsed."""
    try:
        value = _parse_overrides([override])[0].value()
    except HydraException as error:
        raise UserError(explain_error(error, [override])) from None
    assert not isinstance(value, Sweep)  # which is refused above
    return value


def _parse_overrides(overrides: list[str]) -> list[Override]:
    """Parse overrides, and refuse those that only train.py takes."""
    parsed_overrides = [*map(_parse_override, overrides)]
    for override in parsed_overrides:
        if override.is_sweep_override():
            raise UserError(f"{override.input_line}: several values; write a list as [1,2].")
        if _is_hydra_setting(override) and override.key_or_group != "hydra.searchpath":
            raise UserError(
                f"{override.input_line}: Hydra's own settings can only be set on the command line "
                "of train.py; leave it out."
            )
    return parsed_overrides


@lru_cache(maxsize=256)
def _parse_override(override: str) -> Override:
    """Parse one override; most of those of a sweep are the same in all its trials."""
    return OverridesParser.create().parse_overrides([override])[0]


def _changes_value(override: Override) -> bool:
    """Return whether an override only changes a value, whatever options are chosen."""
    return (
        override.type is OverrideType.CHANGE
        and override.package is None
        and override.key_or_group not in CONFIG_GROUPS
        and not _is_hydra_setting(override)
    )


def _selects_options(override: Override) -> bool:
    """Return whether Hydra must compose again for an override; it takes the search path apart."""
    return not _changes_value(override) and override.key_or_group != "hydra.searchpath"


def _is_hydra_setting(override: Override) -> bool:
    return override.key_or_group.replace("/", ".").split(".")[0] == "hydra"


@lru_cache(maxsize=256)
def _compose_with_hydra(overrides: tuple[str, ...]) -> tuple[DictConfig, dict[str, Any]]:
    """Return the config composed by Hydra, and the chosen option of each group."""
    register_resolvers()
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        config = compose("config", list(overrides), return_hydra_config=True)
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    return config, choices


def resolve_job_config(composed_config: DictConfig, hydra_config: DictConfig | HydraConf) -> Config:
    """Resolve the configuration of a Hydra job."""
    config = OmegaConf.masked_copy(
        composed_config, [str(key) for key in composed_config if key != "hydra"]
    )
    return resolve_config(config, hydra_config.runtime.choices, hydra_config.overrides.task)


def resolve_config(
    config: DictConfig, hydra_choices: Mapping[str, Any], overrides: Iterable[str]
) -> Config:
    """Resolve interpolations, null every setting that has no effect, and validate the result.

    Args:
        config: The config that Hydra composed, without Hydra's own settings; it is changed.
        hydra_choices: The chosen option of each config group.
        overrides: The overrides that led to it; a setting without effect among them is refused.

    Returns:
        The configuration to run and record.
    """
    overrides = list(overrides)
    OmegaConf.set_struct(config, value=False)
    choices = {group: hydra_choices.get(group) for group in CONFIG_GROUPS}
    for group in COMPONENT_GROUPS:
        if not isinstance(choices[group], str):
            available = ", ".join(list_options(group))
            raise UserError(
                f"{group}: choose one option with {group}=NAME; available: {available}."
            )
    overridden_keys = {override.split("=", 1)[0].lstrip("+") for override in overrides}
    settings = _to_container(config, resolve=True)
    for key in settings:
        if key not in (*HYPERPARAMETERS, *COMPONENT_GROUPS):
            raise UserError(unknown_setting_message(key, format_value(settings[key])))
    _refuse_renamed_settings(settings)
    for hyperparameter, group in CONSUMER_GROUPS.items():
        if f"{group}.{hyperparameter}" in overridden_keys:
            value = format_value(OmegaConf.select(config, f"{group}.{hyperparameter}"))
            raise UserError(
                f"{group}.{hyperparameter}={value}: this is a top-level setting; "
                f"set {hyperparameter}={value}."
            )
    validated_config = validate_config({**settings, "choices": choices}, overrides)
    for name in HYPERPARAMETERS:  # before components refer to them: 1 has become 1.0
        config[name] = getattr(validated_config, name)
    _null_inactive_settings(config, settings, choices, overridden_keys)
    if config.patience is not None:
        if "restore_best" in overridden_keys and not config.restore_best:
            raise UserError(f"restore_best=false has no effect with patience={config.patience}.")
        config.restore_best = True
    if config.shards == 1:
        if "shards" not in overridden_keys:
            require_usable_threads(validated_config)
        config.threads = 1
    return validate_config({**_to_container(config, resolve=True), "choices": choices})


def _refuse_renamed_settings(settings: Mapping[str, Any]) -> None:
    """Refuse names of earlier versions in presets and after a `+`, where Hydra accepts any name."""
    for group, node in settings.items():
        if not isinstance(node, dict) or "_target_" not in node:
            continue
        for name, value in node.items():
            if is_renamed(f"{group}.{name}", node):
                target_setting = f"{group}._target_={node['_target_']}"
                signature = get_signature(get_class(group, node["_target_"]), target_setting)
                if name not in signature.setting_types and not signature.accepts_any_name:
                    raise UserError(renamed_setting_message(f"{group}.{name}", format_value(value)))


def _null_inactive_settings(
    config: DictConfig,
    settings: Mapping[str, Any],
    choices: Mapping[str, str | None],
    overridden_keys: set[str],
) -> None:
    """Set every setting without effect to null, or refuse it if the user has set it."""
    for key, reason in _find_inactive_settings(config, settings, choices).items():
        value = OmegaConf.select(config, key)
        is_changed = key in CONSUMER_GROUPS and value != load_defaults()[key]
        if value is not None and (key in overridden_keys or is_changed):
            remedy = (
                "leave it out" if key in overridden_keys else f"a preset sets it: add {key}=null"
            )
            raise UserError(f"{key}={format_value(value)} has no effect {reason}; {remedy}.")
        OmegaConf.update(config, key, None)


def _find_inactive_settings(
    config: DictConfig, settings: Mapping[str, Any], choices: Mapping[str, str | None]
) -> dict[str, str]:
    """Return the reason why a setting has no effect, by the dotted name of each such setting.

    An interpolation such as `${depth}` marks a component's setting that takes its value from the
    hyperparameter `depth`.
    """
    unresolved_settings = _to_container(config, resolve=False)
    inactive = {
        hyperparameter: f"with {group}={choices[group]}"
        for hyperparameter, group in CONSUMER_GROUPS.items()
    }
    for group in COMPONENT_GROUPS:
        node = settings[group]
        if "_target_" not in node:
            continue
        find_inactive = getattr(get_class(group, node["_target_"]), "inactive_settings", None)
        causes = find_inactive(node) if find_inactive else {}
        for name, value in unresolved_settings[group].items():
            interpolated = [
                hyperparameter
                for hyperparameter in CONSUMER_GROUPS
                if f"${{{hyperparameter}}}" in str(value)
            ]
            if name in causes:
                cause = causes[name]
                reason = f"with {_setting_key(group, cause)}={format_value(node[cause])}"
                inactive |= dict.fromkeys(interpolated or [f"{group}.{name}"], reason)
            else:
                for hyperparameter in interpolated:
                    inactive.pop(hyperparameter, None)
    return inactive


def _setting_key(group: str, name: str) -> str:
    """Return the key by which a user sets a component's setting: `depth`, not `model.depth`."""
    return name if name in CONSUMER_GROUPS else f"{group}.{name}"


def _to_container(config: DictConfig, resolve: bool) -> dict[str, Any]:
    container = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def get_setting_type(name: str, config: Config) -> SettingType | None:
    """Return the type of a setting given by its dotted name, or None if it is not known."""
    if name in HYPERPARAMETERS:
        return HYPERPARAMETERS[name]
    group, _, setting = name.partition(".")
    node = config.component_settings.get(group, {})
    if "_target_" not in node:
        return None
    target_setting = f"{group}._target_={node['_target_']}"
    signature = get_signature(get_class(group, node["_target_"]), target_setting)
    return signature.setting_types.get(setting)
