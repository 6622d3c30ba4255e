"""The types of the settings that stand at the top of every configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from nn.io.paths import default_run_dir


@dataclass
class Config:
    """The knobs, then the groups. The values stand in conf/config.yaml."""

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


CONFIG_DIR = Path(__file__).resolve().parents[2] / "conf"
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
    """Make the schema and the resolver of conf/config.yaml known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("run_folder", default_run_dir, use_cache=True, replace=True)
