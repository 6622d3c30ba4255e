"""A run once more, from its folder: taken up where it ended, or repeated in a new one.

What a folder says is data that may come from anyone. Its configuration is plain YAML, and names
no classes but this library's and those of packages that the user trusts.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nn.config.instantiate import matches_type, get_class
from nn.config.aliases import RENAMED_SETTINGS, list_options, renamed_setting_message
from nn.config.schema import CONFIG_GROUPS, Config
from nn.data.augmentation import Augmentation
from nn.data.source import DataSource
from nn.errors import UserError, SettingError, format_value
from nn.runs.experiment import prepare
from nn.config.knobs import HYPERPARAMETERS
from nn.losses import Loss
from nn.models import Model
from nn.optimizers import Optimizer
from nn.runs.runner import run
from nn.schedules import Schedule
from nn.runs.environment import collect_environment
from nn.runs.history import read_history
from nn.io.paths import default_run_dir, relpath
from nn.runs.reader import read_config, read_json
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
ALLOWED_OVERRIDES = {
    "resume": ("epochs", "tracking", "trust"),
    "reproduce": ("tracking", "trust"),
}


@dataclass(frozen=True)
class RerunRequest:
    """What the command line asks for."""

    action: str
    run_dir: Path
    overrides: dict[str, str]


def parse_rerun_request(arguments: Iterable[str]) -> RerunRequest | None:
    """Read resume=FOLDER or reproduce=FOLDER, and what may stand beside it."""
    arguments = list(arguments)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and (renamed := RENAMED_SETTINGS.get(name)) and renamed.name in ALLOWED_OVERRIDES:
            raise UserError(renamed_setting_message(name, value))
    prefixes = tuple(f"{action}=" for action in ALLOWED_OVERRIDES)
    action = next((w.split("=")[0] for w in arguments if w.startswith(prefixes)), None)
    if action is None:
        return None
    overrides: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or name not in (action, *ALLOWED_OVERRIDES[action]) or name in overrides:
            raise UserError(
                f"{argument}: beside {action}= there may be {', '.join(ALLOWED_OVERRIDES[action])}, once each; "
                "all else is as the run has it."
            )
        overrides[name] = value
    return RerunRequest(action, Path(overrides.pop(action)), overrides)


def rerun(request: RerunRequest) -> int:
    """Do it, and give the exit status."""
    config = read_trusted_config(request.run_dir, request.overrides.get("trust", ""))
    tracking = request.overrides.get("tracking")
    if tracking is not None:
        if tracking not in list_options("tracking"):
            available = ", ".join(list_options("tracking"))
            raise UserError(f"tracking={tracking}: there is no such tracking; there is {available}.")
        config["tracking"] = {**config["tracking"], "mode": tracking}
        config["choices"] = {**config["choices"], "tracking": tracking}
    return resume_run(request, config) if request.action == "resume" else reproduce_run(request.run_dir, config)


def read_trusted_config(run_dir: Path, trusted_packages: str = "", trust_option: str = "trust=") -> dict[str, Any]:
    """Read the configuration of a run, and refuse whatever a run would not have written.

    Packages are trusted by a word on the command line, which begins like this.
    """
    path, config = run_dir / "config.yaml", read_config(run_dir)
    expected_keys = {*Config.__annotations__, "choices"}
    for key in config:
        if key not in expected_keys:
            raise UserError(f"{path}: {key} is no setting of a run.")
    for key in sorted(expected_keys):
        if key not in config:
            raise UserError(f"{path}: {key} is missing.")
    for value in _iter_strings(config):
        if "${" in value:
            raise UserError(f"{path}: {value!r} is no plain value.")
    choices = config["choices"]
    if not isinstance(choices, dict) or choices.keys() != set(CONFIG_GROUPS):
        raise UserError(f"{path}: choices must name an option of {', '.join(CONFIG_GROUPS)}.")
    for group, option in choices.items():
        if option is not None and not re.fullmatch(r"[\w./-]{1,100}", str(option)):
            raise UserError(f"{path}: {group}={option!r} is no name of an option.")
    _require_trusted_targets(config, {"nn", *filter(None, trusted_packages.split(","))}, trust_option)
    return config


def _require_trusted_targets(config: Mapping[str, Any], trusted_packages: set[str], trust_option: str) -> None:
    """Refuse a class of a package that nobody trusts, before and after it is looked up."""
    for group, base_class in COMPONENT_TYPES.items():
        node = config[group]
        if not isinstance(node, Mapping):
            raise UserError(f"{group}={format_value(node)}: these are no settings.")
        target = f"{group}._target_={node.get('_target_')}"
        package = str(node.get("_target_")).partition(".")[0]
        if package in trusted_packages:
            target_class = get_class(group, node["_target_"])
            package = target_class.__module__.partition(".")[0]
        if package not in trusted_packages:
            raise UserError(f"{target}: {package} is not trusted to run; {trust_option}{package} allows it.")
        if package == "nn" and not (inspect.isclass(target_class) and issubclass(target_class, base_class)):
            raise UserError(f"{target}: this is no {group}.")
        for name, value in node.items():
            if any(text == "_target_" for text in _iter_keys(value)):
                raise UserError(f"{group}.{name}: there can be no _target_ within a setting.")


def resume_run(request: RerunRequest, config: dict[str, Any]) -> int:
    """Go on with a run until its end."""
    epochs_override = request.overrides.get("epochs")
    original_epochs = config["epochs"]
    if epochs_override is not None:
        value = int(epochs_override) if re.fullmatch(r"\d{1,9}", epochs_override) else epochs_override
        if not matches_type(value, HYPERPARAMETERS["epochs"].annotation) or not isinstance(value, int):
            raise SettingError("epochs", epochs_override, HYPERPARAMETERS["epochs"].expected)
        if value < original_epochs:
            raise UserError(f"epochs={value}: the run has {original_epochs}; it can only be made longer.")
        config["epochs"] = value
    summary = read_json(request.run_dir, "summary.json")
    if summary.get("status") == "finished" and config["epochs"] == original_epochs:
        print(f"{relpath(request.run_dir)} is finished: {_format_result(summary)}.")
        return 0
    run(config, request.run_dir, resume=True)
    return 0


def reproduce_run(run_dir: Path, config: dict[str, Any]) -> int:
    """Run the same configuration in a new folder, and hold the results against each other."""
    dataset_sha256 = read_json(run_dir, "summary.json").get("dataset/sha256")
    if dataset_sha256 is not None and prepare(config).dataset.sha256 != dataset_sha256:
        raise UserError(f"{relpath(run_dir)}: the dataset is not the one that this run was trained on.")
    new_run_dir = Path(default_run_dir())
    original_summary, original_history = read_json(run_dir, "summary.json"), _read_history_without_durations(run_dir)
    original_environment = read_json(run_dir, "environment.json")
    run(config, new_run_dir)
    differences = [
        *_differing_keys(original_summary, read_json(new_run_dir, "summary.json")),
        *(["history"] if original_history != _read_history_without_durations(new_run_dir) else []),
    ]
    if not differences:
        print("The same bits: history, summary and weights are those of the run repeated.")
        return 0
    print(f"Not the same bits: {', '.join(differences)}.", file=sys.stderr)
    current_environment = json.loads(json.dumps(collect_environment()))
    for key in ("git", "python", "packages", "platform", "cpu_model", "blas", "simd"):
        if original_environment.get(key) != current_environment[key]:
            there, here = json.dumps(original_environment.get(key)), json.dumps(current_environment[key])
            print(f"{key}: {there} there, {here} here", file=sys.stderr)
    return 1


def _differing_keys(original: Mapping[str, Any], reproduced: Mapping[str, Any]) -> list[str]:
    """Name the figures of two summaries that differ, all but durations."""
    keys = [key for key in {**original, **reproduced} if "second" not in key and key != "sessions"]
    return [key for key in keys if original.get(key) != reproduced.get(key)]


def _read_history_without_durations(run_dir: Path) -> list[dict[str, Any]]:
    """Read the lines of a history without their durations."""
    return [
        {key: value for key, value in record.items() if "second" not in key}
        for record in read_history(run_dir)
    ]


def _format_result(summary: Mapping[str, Any]) -> str:
    for split in ("test", "val"):
        value = summary.get(f"{split}/accuracy")
        if isinstance(value, float):
            return f"{split} accuracy {value:.4f} after {format_value(summary.get('epochs'))} epochs"
    return f"{format_value(summary.get('epochs'))} epochs"


def _iter_strings(value: Any) -> Iterator[str]:
    """Go through all texts in a configuration, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (*_iter_strings(key), *_iter_strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _iter_strings(inner)


def _iter_keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (str(key), *_iter_keys(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _iter_keys(inner)
