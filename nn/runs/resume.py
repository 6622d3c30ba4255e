"""Resume a run: continue training in its directory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nn.config.schema import HYPERPARAMETERS, Config
from nn.errors import SettingError, UserError, format_value
from nn.io.paths import relpath
from nn.runs.reader import read_json
from nn.runs.runner import run


def resume_run(run_dir: Path, config: Config, epochs_override: str | None = None) -> int:
    """Continue a run to its end, or to a later one if `epochs_override` is given; return 0."""
    original_epochs = config.epochs
    if epochs_override is not None:
        value = (
            int(epochs_override) if re.fullmatch(r"\d{1,9}", epochs_override) else epochs_override
        )
        if not isinstance(value, int) or not HYPERPARAMETERS["epochs"].accepts(value):
            raise SettingError("epochs", epochs_override, str(HYPERPARAMETERS["epochs"]))
        if value < original_epochs:
            raise UserError(
                f"epochs={value}: the run has {original_epochs}; it can only be made longer."
            )
        config = config.model_copy(update={"epochs": value})
    summary = read_json(run_dir, "summary.json")
    if summary.get("status") == "finished" and config.epochs == original_epochs:
        print(f"{relpath(run_dir)} is finished: {_format_result(summary)}.")
        return 0
    run(config, run_dir, resume=True)
    return 0


def _format_result(summary: Mapping[str, Any]) -> str:
    for split in ("test", "val"):
        value = summary.get(f"{split}/accuracy")
        if isinstance(value, float):
            return (
                f"{split} accuracy {value:.4f} after {format_value(summary.get('epochs'))} epochs"
            )
    return f"{format_value(summary.get('epochs'))} epochs"
