"""Setting names, their aliases in other libraries, and suggestions for unknown names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nn.config.instantiate import get_closest_match
from nn.config.schema import CONFIG_GROUPS, HYPERPARAMETERS
from nn.config.search_path import list_config_dirs

ALIASES = {
    "lr": "learning_rate learningrate alpha eta step_size rate base_lr lr_rate",
    "batch_size": "batch bs batchsize minibatch mini_batch minibatch_size mini_batch_size",
    "depth": "layers n_layers num_layers hidden_layers n_hidden num_hidden_layers",
    "width": "units n_units hidden_size hidden_units hidden_dim neurons num_units",
    "epochs": "epoch n_epochs num_epochs max_epochs iterations max_iter",
    "seed": "random_seed random_state rng manual_seed",
    "shards": "num_shards n_shards",
    "threads": "num_threads n_threads n_jobs",
    "weight_decay": "l2 wd decay l2_reg reg regularization lambda weightdecay",
    "dropout": "dropout_rate drop dropout_p",
    "augmentation": "augment aug augmentations transforms transform",
    "dataset": "data datasets data_set",
    "model": "net network arch architecture",
    "optimizer": "opt optim optimiser solver",
    "schedule": "scheduler lr_schedule lr_scheduler",
    "loss": "criterion objective cost loss_fn",
    "tracking": "wandb logger logging tracker log",
    "experiment": "preset exp",
}
"""Names that other libraries use for the same settings, separated by spaces."""


@dataclass(frozen=True)
class RenamedSetting:
    """The present name of a setting, and its present values if they were renamed as well."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)


RENAMED_SETTINGS = {
    "keep": RenamedSetting("restore_best", {"last": "false", "best": "true"}),
    "draws": RenamedSetting("samples_per_epoch"),
    "checkpoint": RenamedSetting("checkpoint_every"),
    "repeat": RenamedSetting("reproduce"),
    "dataset.limit": RenamedSetting("dataset.max_samples"),
    "dataset.homes": RenamedSetting("dataset.mirrors"),
    "model.kernel": RenamedSetting("model.kernel_size"),
    "model.pool": RenamedSetting("model.pooling"),
    "optimizer.clip": RenamedSetting("optimizer.max_grad_norm"),
    "optimizer.decoupled": RenamedSetting("optimizer.decoupled_weight_decay"),
    "schedule.warmup": RenamedSetting("schedule.warmup_epochs"),
    "schedule.every": RenamedSetting("schedule.step_size"),
    "schedule.rise": RenamedSetting("schedule.pct_start"),
    "schedule.start": RenamedSetting("schedule.div_factor"),
    "schedule.end": RenamedSetting("schedule.final_div_factor"),
    "schedule.final": RenamedSetting("schedule.final_factor"),
    "schedule.decay": RenamedSetting("schedule.decay_rate"),
    "schedule.gamma": RenamedSetting("schedule.factor"),
    "schedule.least": RenamedSetting("schedule.min_factor"),
    "loss.of": RenamedSetting("loss.apply_softmax", {"softmax": "true", "logits": "false"}),
    "tracking.every": RenamedSetting("tracking.confusion_every"),
    "tracking.images": RenamedSetting("tracking.num_examples"),
    "tracking.artifacts": RenamedSetting("tracking.log_model"),
    "tracking.wait": RenamedSetting("tracking.finish_timeout"),
}
"""Setting names of earlier versions; they are refused with the new name as a suggestion."""
_NAME_BY_ALIAS = {alias: name for name, aliases in ALIASES.items() for alias in aliases.split()}


def resolve_alias(name: str) -> str:
    """Return the name of the setting that an alias stands for, or else the name itself."""
    normalized = name.replace("-", "_").lower()
    return (
        normalized
        if normalized in (*HYPERPARAMETERS, *CONFIG_GROUPS)
        else _NAME_BY_ALIAS.get(normalized, name)
    )


def is_renamed(name: str, siblings: Collection[Any] = ()) -> bool:
    """Return whether an unknown setting name is that of an earlier version.

    A name that another option of its group still has counts only if the new one is among the
    siblings, the settings of the chosen option.
    """
    if name not in RENAMED_SETTINGS:
        return False
    new_leaf = RENAMED_SETTINGS[name].name.rpartition(".")[2]
    return name not in _list_setting_names(list_config_dirs()) or new_leaf in siblings


def renamed_setting_message(name: str, value: str | None = None) -> str:
    """Return the message for a setting name of an earlier version, with the new name."""
    renamed = RENAMED_SETTINGS[name]
    if value is None:
        return f"{name} was renamed; use {renamed.name}."
    new_values = [renamed.values[value]] if value in renamed.values else renamed.values.values()
    hint = " or ".join(f"{renamed.name}={new_value}" for new_value in new_values or [value])
    return f"{name}={value}: {name} was renamed; use {hint}."


def unknown_setting_message(name: str, value: str, siblings: Collection[Any] = ()) -> str:
    """Return the message for an unknown setting, with a suggestion if a known name is close.

    The siblings are the settings of the chosen option.
    """
    if is_renamed(name, siblings):
        return renamed_setting_message(name, value)
    if name in CONFIG_GROUPS:
        available = ", ".join(list_options(name))
        return f"{name}={value}: choose one option by its name; available: {available}."
    known_names = _list_setting_names(list_config_dirs())
    message = f"{name}={value}: there is no setting {name}"
    group, _, leaf = name.rpartition(".")
    if name in known_names:
        return f"{message} with the chosen option of {group}; leave it out."
    candidates = (
        [candidate for candidate in known_names if candidate.startswith(f"{group}.")]
        if group
        else known_names
    )
    canonical = resolve_alias(leaf)
    suggestion = (
        canonical
        if canonical in (*HYPERPARAMETERS, *CONFIG_GROUPS)
        else get_closest_match(name, candidates)
    )
    return f"{message}; did you mean {suggestion}?" if suggestion else f"{message}; see --help."


def list_options(group: str) -> list[str]:
    """Return the names of the options of a config group, sorted."""
    return sorted({path.stem for path in _list_option_files(group, list_config_dirs())})


@cache
def _list_setting_names(config_dirs: tuple[Path, ...]) -> list[str]:
    names = [*HYPERPARAMETERS, *CONFIG_GROUPS, "hydra.run.dir", "hydra.sweep.dir"]
    for group in CONFIG_GROUPS[:-1]:
        for path in _list_option_files(group, config_dirs):
            try:
                option_config = OmegaConf.load(path)
                group_config = OmegaConf.select(option_config, group) or option_config
            except (OSError, ValueError, YAMLError, OmegaConfBaseException):
                continue  # a damaged file of the user's, which is reported if it is chosen
            names += [
                f"{group}.{key!s}" for key in group_config if key not in ("defaults", "_target_")
            ]
    return names


def _list_option_files(group: str, config_dirs: Iterable[Path]) -> list[Path]:
    return [path for config_dir in config_dirs for path in config_dir.glob(f"{group}/*.yaml")]
