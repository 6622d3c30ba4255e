"""A composed configuration becomes plain values, of which each one has an effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from nn.config.aliases import options, unknown
from nn.config.instantiate import locate
from nn.config.schema import CONF, GROUPS, Config
from nn.errors import Mistake, as_typed

PASSED_ON = {"depth": "model", "width": "model", "dropout": "model", "weight_decay": "optimizer"}
"""The knobs that act only where a component refers to them, and the group that may do so."""


def resolve(
    composed: DictConfig, chosen: Mapping[str, Any], words: Iterable[str]
) -> dict[str, Any]:
    """Turn what Hydra composed into a configuration to be run, recorded and read back.

    Beside it stand the options that were chosen, and the overrides that led to it.

    A setting without effect is refused where someone has set it, and null where nobody has.
    """
    config = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    OmegaConf.set_struct(config, value=False)
    choices = {group: chosen.get(group) for group in GROUPS}
    for group in GROUPS:
        if group in Config.__annotations__ and not isinstance(choices[group], str):
            one_of = ", ".join(options(group))
            raise Mistake(f"{group}: choose one option with {group}=NAME; there is {one_of}.")
    overrides = {override.split("=", 1)[0].lstrip("+") for override in words}
    defaults = _defaults()
    settings = _plain(config, resolve=True)
    for key in settings:
        if key not in Config.__annotations__:
            raise Mistake(unknown(key, as_typed(settings[key])))
    for knob, group in PASSED_ON.items():
        if f"{group}.{knob}" in overrides:
            value = as_typed(OmegaConf.select(config, f"{group}.{knob}"))
            raise Mistake(f"{group}.{knob}={value}: this is a knob; set {knob}={value}.")
    for key, reason in _idle(settings, _plain(config, resolve=False), choices).items():
        value = OmegaConf.select(config, key)
        changed = key in PASSED_ON and value != OmegaConf.select(defaults, key)
        if value is not None and (key in overrides or changed):
            remedy = "leave it out" if key in overrides else f"a preset sets it: add {key}=null"
            raise Mistake(f"{key}={as_typed(value)} has no effect {reason}; {remedy}.")
        OmegaConf.update(config, key, None)
    if config.patience is not None:
        if "keep" in overrides and config.keep != "best":
            raise Mistake(f"keep={config.keep} has no effect beside patience={config.patience}.")
        config.keep = "best"
    return {**_plain(config, resolve=True), "choices": choices}


@lru_cache(maxsize=1)
def _defaults() -> Any:
    return OmegaConf.load(CONF / "config.yaml")


def of_job(composed: DictConfig, hydra: DictConfig | HydraConf) -> dict[str, Any]:
    """Resolve the configuration of one of Hydra's jobs."""
    return resolve(composed, hydra.runtime.choices, hydra.overrides.task)


def _plain(config: DictConfig, resolve: bool) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _idle(
    settings: dict[str, Any], written: dict[str, Any], choices: dict[str, str | None]
) -> dict[str, str]:
    """Name the settings without effect, each with the reason.

    The settings are given as values and as they are written, where `${depth}` shows what takes
    its value from a knob.
    """
    idle = {knob: f"with {group}={choices[group]}" for knob, group in PASSED_ON.items()}
    for group in GROUPS:
        node = settings.get(group)
        if not isinstance(node, dict) or "_target_" not in node:
            continue
        judge = getattr(locate(group, node["_target_"]), "without_effect", None)
        silent = judge(node) if judge else {}
        for name, value in written[group].items():
            knobs = [knob for knob in PASSED_ON if f"${{{knob}}}" in str(value)]
            if name in silent:
                other = silent[name]
                reason = f"beside {_key(group, other)}={as_typed(node[other])}"
                idle |= dict.fromkeys(knobs or [f"{group}.{name}"], reason)
            else:
                for knob in knobs:
                    idle.pop(knob, None)
    return idle


def _key(group: str, name: str) -> str:
    """Name a setting as a person sets it."""
    return name if name in PASSED_ON else f"{group}.{name}"
