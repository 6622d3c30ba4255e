"""Read the configuration of a run that may come from anyone, in order to build its components.

It is plain YAML, and names classes of this library and of packages that the user trusts only.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nn.config.instantiate import get_class
from nn.config.schema import CONFIG_GROUPS, Config, validate_config
from nn.config.search_path import make_cwd_importable
from nn.data.augmentation import Augmentation
from nn.data.source import DataSource
from nn.errors import UserError
from nn.losses import Loss
from nn.models import Model
from nn.optimizers import Optimizer
from nn.runs.reader import read_config
from nn.schedules import Schedule
from nn.tracking.settings import Tracking

COMPONENT_TYPES: dict[str, type[Any]] = {
    "dataset": DataSource,
    "augmentation": Augmentation,
    "model": Model,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "loss": Loss,
    "tracking": Tracking,
}
"""The base class that the `_target_` of each group must have."""


def read_trusted_config(
    run_dir: Path, trusted_packages: str = "", trust_option: str = "trust="
) -> Config:
    """Read the configuration of a run, and refuse anything that a run would not have written.

    Args:
        run_dir: The run directory.
        trusted_packages: Comma-separated names of packages whose classes may be imported.
        trust_option: The start of the command-line argument that trusts a package, for messages.
    """
    config = parse_run_config(run_dir, read_config(run_dir))
    if trusted_packages:
        make_cwd_importable()
    _require_trusted_targets(
        config, {"nn", *filter(None, trusted_packages.split(","))}, trust_option
    )
    return config


def parse_run_config(run_dir: Path, settings: Mapping[str, Any]) -> Config:
    """Validate the names and values in the config.yaml of a run, without importing its classes."""
    path = run_dir / "config.yaml"
    expected_keys = Config.model_fields.keys()
    for key in settings:
        if key not in expected_keys:
            raise UserError(f"{path}: {key} is not a setting of a run.")
    for key in sorted(expected_keys):
        if key not in settings:
            raise UserError(f"{path}: {key} is missing.")
    for item in _iter_items(settings):
        for text in item:
            if isinstance(text, str) and "${" in text:
                raise UserError(
                    f"{path}: {text!r} is an interpolation, but a run records plain values."
                )
    choices = settings["choices"]
    if not isinstance(choices, dict) or choices.keys() != set(CONFIG_GROUPS):
        raise UserError(f"{path}: choices must name an option of {', '.join(CONFIG_GROUPS)}.")
    for group, option in choices.items():
        is_name = isinstance(option, str) and re.fullmatch(r"[\w./-]{1,100}", option)
        if option is not None and not is_name:
            raise UserError(f"{path}: {group}={option!r} is not the name of an option.")
    return validate_config(settings)


def _require_trusted_targets(config: Config, trusted_packages: set[str], trust_option: str) -> None:
    """Refuse classes of packages that are not trusted.

    The package is checked before the import, and where the class is defined after it.
    """
    for group, base_class in COMPONENT_TYPES.items():
        node = config.component_settings[group]
        target = f"{group}._target_={node.get('_target_')}"
        package = str(node.get("_target_")).partition(".")[0]
        if package in trusted_packages:
            target_class = get_class(group, node["_target_"])
            package = target_class.__module__.partition(".")[0]
        if package not in trusted_packages:
            raise UserError(
                f"{target}: {package} is not trusted to run; {trust_option}{package} allows it."
            )
        if package == "nn" and not (
            inspect.isclass(target_class) and issubclass(target_class, base_class)
        ):
            raise UserError(f"{target}: it must be a subclass of {base_class.__name__}.")
        for name, value in node.items():
            if any(key == "_target_" for key, _ in _iter_items(value)):
                raise UserError(f"{group}.{name}: a setting must not contain a _target_.")


def _iter_items(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every key and value at any depth of a configuration; list items have the key None."""
    if isinstance(value, list):
        items: list[tuple[Any, Any]] = [(None, inner) for inner in value]
    else:
        items = list(value.items()) if isinstance(value, Mapping) else []
    for key, inner in items:
        yield key, inner
        yield from _iter_items(inner)
