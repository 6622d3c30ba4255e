"""Resolve a composed configuration into plain values; settings without effect become null."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from nn.config.aliases import (
    is_renamed,
    list_options,
    renamed_setting_message,
    unknown_setting_message,
)
from nn.config.instantiate import accepts_setting, get_class
from nn.config.schema import CONFIG_DIR, CONFIG_GROUPS, Config
from nn.errors import UserError, format_value

CONSUMER_GROUPS = {
    "depth": "model",
    "width": "model",
    "dropout": "model",
    "weight_decay": "optimizer",
}
"""Hyperparameters that act only where a component refers to them, such as `depth: ${depth}` in
conf/model/mlp.yaml, and the config group of that component."""


def resolve_config(
    composed_config: DictConfig, hydra_choices: Mapping[str, Any], overrides: Iterable[str]
) -> dict[str, Any]:
    """Resolve interpolations, and null every setting that has no effect.

    Args:
        composed_config: The config that Hydra composed.
        hydra_choices: The chosen option of each config group.
        overrides: The overrides that led to it; a setting without effect among them is refused.

    Returns:
        The configuration to run and record, with the chosen options under `choices`.
    """
    config = OmegaConf.masked_copy(
        composed_config, [str(key) for key in composed_config if key != "hydra"]
    )
    OmegaConf.set_struct(config, value=False)
    choices = {group: hydra_choices.get(group) for group in CONFIG_GROUPS}
    for group in CONFIG_GROUPS:
        if group in Config.__annotations__ and not isinstance(choices[group], str):
            available = ", ".join(list_options(group))
            raise UserError(
                f"{group}: choose one option with {group}=NAME; available: {available}."
            )
    overridden_keys = {override.split("=", 1)[0].lstrip("+") for override in overrides}
    defaults = _load_defaults()
    settings = _to_container(config, resolve=True)
    for key in settings:
        if key not in Config.__annotations__:
            raise UserError(unknown_setting_message(key, format_value(settings[key])))
    _refuse_renamed_settings(settings)
    for hyperparameter, group in CONSUMER_GROUPS.items():
        if f"{group}.{hyperparameter}" in overridden_keys:
            value = format_value(OmegaConf.select(config, f"{group}.{hyperparameter}"))
            raise UserError(
                f"{group}.{hyperparameter}={value}: this is a top-level setting; "
                f"set {hyperparameter}={value}."
            )
    for key, reason in _find_inactive_settings(
        settings, _to_container(config, resolve=False), choices
    ).items():
        value = OmegaConf.select(config, key)
        is_changed = key in CONSUMER_GROUPS and value != OmegaConf.select(defaults, key)
        if value is not None and (key in overridden_keys or is_changed):
            remedy = (
                "leave it out" if key in overridden_keys else f"a preset sets it: add {key}=null"
            )
            raise UserError(f"{key}={format_value(value)} has no effect {reason}; {remedy}.")
        OmegaConf.update(config, key, None)
    if config.patience is not None:
        if "restore_best" in overridden_keys and not config.restore_best:
            raise UserError(f"restore_best=false has no effect with patience={config.patience}.")
        config.restore_best = True
    return {**_to_container(config, resolve=True), "choices": choices}


def _refuse_renamed_settings(settings: Mapping[str, Any]) -> None:
    """Refuse names of earlier versions in presets and after a `+`, where Hydra accepts any name."""
    for group, node in settings.items():
        if not isinstance(node, dict) or "_target_" not in node:
            continue
        for name, value in node.items():
            if is_renamed(f"{group}.{name}", node):
                target_setting = f"{group}._target_={node['_target_']}"
                if not accepts_setting(get_class(group, node["_target_"]), name, target_setting):
                    raise UserError(renamed_setting_message(f"{group}.{name}", format_value(value)))


@lru_cache(maxsize=1)
def _load_defaults() -> Any:
    return OmegaConf.load(CONFIG_DIR / "config.yaml")


def resolve_job_config(
    composed_config: DictConfig, hydra_config: DictConfig | HydraConf
) -> dict[str, Any]:
    """Resolve the configuration of a Hydra job."""
    return resolve_config(
        composed_config, hydra_config.runtime.choices, hydra_config.overrides.task
    )


def _to_container(config: DictConfig, resolve: bool) -> dict[str, Any]:
    container = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _find_inactive_settings(
    settings: dict[str, Any], unresolved_settings: dict[str, Any], choices: dict[str, str | None]
) -> dict[str, str]:
    """Return the reason why a setting has no effect, by the dotted name of each such setting.

    The unresolved settings still contain interpolations: `${depth}` marks a component's setting
    that takes its value from the hyperparameter `depth`.
    """
    inactive = {
        hyperparameter: f"with {group}={choices[group]}"
        for hyperparameter, group in CONSUMER_GROUPS.items()
    }
    for group in CONFIG_GROUPS:
        node = settings.get(group)
        if not isinstance(node, dict) or "_target_" not in node:
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
