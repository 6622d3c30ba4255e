"""Types of the top-level settings, the config groups and their registration with Hydra."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from nn.io.command_line import format_command
from nn.io.paths import default_run_dir


@dataclass
class Config:
    """Hyperparameters, then config groups; the default values are in conf/config.yaml."""

    lr: float = MISSING
    batch_size: Any = MISSING
    depth: Optional[int] = MISSING
    width: Optional[int] = MISSING
    epochs: int = MISSING
    seed: int = MISSING
    threads: int = MISSING
    weight_decay: Optional[float] = MISSING
    dropout: Optional[float] = MISSING

    restore_best: bool = MISSING
    patience: Optional[int] = MISSING
    samples_per_epoch: Optional[int] = MISSING
    checkpoint_every: Optional[float] = MISSING
    init_from: Optional[str] = MISSING
    profile: bool = MISSING

    dataset: Any = MISSING
    augmentation: Any = MISSING
    model: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    loss: Any = MISSING
    tracking: Any = MISSING


PACKAGE = Path(__file__).resolve().parents[1]
CONFIG_DIR = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())
"""The configuration's files: in an installed package within it, in a clone beside it."""
CONFIG_GROUPS = (
    "dataset",
    "augmentation",
    "model",
    "optimizer",
    "schedule",
    "loss",
    "tracking",
    "experiment",
    "debug",
)


def register_with_hydra() -> None:
    """Register the schema and the resolvers that conf/ uses."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("run_folder", default_run_dir, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("command", format_command, replace=True)
