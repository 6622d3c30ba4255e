"""A run read back from its folder: data that may come from anyone, of which nothing is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nn.errors import UserError
from nn.config.knobs import HYPERPARAMETERS
from nn.predictions import Predictions
from nn.runs import checkpoint
from nn.io.files import read_regular_file
from nn.runs.history import read_history
from nn.io.paths import PREDICTIONS_FILE, relpath
from nn.io.serialization import to_json

RUN_FORMAT_VERSION = 2
"""The version of a run's folder, in environment.json; the first one did not name itself."""
MAX_JSON_BYTES = 2**26
"""Bytes that a summary may have."""


@dataclass(frozen=True)
class SavedRun:
    """What a run has left; a summary or predictions may not be there yet."""

    path: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> SavedRun:
        """Read all but the predictions."""
        return cls(
            path,
            read_config(path),
            read_json(path, "environment.json"),
            read_history(path),
            read_json(path, "summary.json"),
        )

    @property
    def predictions(self) -> Predictions | None:
        """What the kept weights say of the test set, if that was written."""
        try:
            return Predictions.predictions(checkpoint.load(self.path / PREDICTIONS_FILE).arrays)
        except FileNotFoundError:
            return None
        except (checkpoint.CorruptFileError, ValueError):
            raise UserError(f"{relpath(self.path / PREDICTIONS_FILE)} is damaged.") from None

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, or their numbers as far as these can be told."""
        names = self.summary.get("class_names")
        if isinstance(names, list):
            return [str(name) for name in names]
        counts = [record["val/confusion_matrix"] for record in self.history if _has_confusion_matrix(record)]
        return [str(number) for number in range(len(counts[0]) if counts else 0)]


def read_config(run_dir: Path) -> dict[str, Any]:
    """Read the configuration of a run as plain values."""
    path = run_dir / "config.yaml"
    try:
        config = yaml.load(read_regular_file(run_dir, "config.yaml", 2**20), Loader=_NoAliasLoader)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run_dir} is no folder of a run: there is no config.yaml in it.") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it cannot be read as plain YAML.") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} is damaged: it holds no settings.")
    require_run_format(run_dir)
    for key in (*HYPERPARAMETERS, "choices"):
        if key not in config:
            raise UserError(f"{path}: {key} is missing.")
    return config


def read_json(directory: Path, file_name: str) -> dict[str, Any]:
    """Read a file of a run; one that is missing or damaged says nothing."""
    try:
        content = json.loads(read_regular_file(directory, file_name, MAX_JSON_BYTES))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def require_run_format(run_dir: Path) -> None:
    """Refuse the folder of a run that another version of this program has written."""
    require_format_version(run_dir, "environment.json", RUN_FORMAT_VERSION)


def require_format_version(directory: Path, file_name: str, supported_version: int) -> None:
    """Refuse a folder in which a file does not name this version of its format."""
    version = read_json(directory, file_name).get("format_version")
    if type(version) is not int or version != supported_version:
        found = "no format version"
        if version is not None:
            found = f"format version {to_json(version)[:40]}"
        raise UserError(
            f"{relpath(directory)} has {found}; this program reads format version "
            f"{supported_version}."
        )


def find_runs(directory: Path) -> list[Path]:
    """List the runs in a folder: itself, or those of a sweep or of any folder above."""
    if (directory / "config.yaml").exists():
        return [directory]
    found = (file.parent for file in sorted(directory.rglob("config.yaml")))
    return [run for run in found if "wandb" not in run.relative_to(directory).parts]


def _has_confusion_matrix(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("val/confusion_matrix"), list)


class _NoAliasLoader(yaml.SafeLoader):
    """Takes no reference from one place to another, with which a small file becomes a huge one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("a reference")
        return super().compose_node(parent, index)
