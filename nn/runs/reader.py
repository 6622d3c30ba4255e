"""Read runs back from their directories, as data that may come from anyone: no code is run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from nn.config.schema import HYPERPARAMETERS
from nn.errors import UserError
from nn.io.files import read_regular_file
from nn.io.paths import PREDICTIONS_FILE, relpath
from nn.io.serialization import JsonObject, to_json
from nn.predictions import Predictions
from nn.runs import checkpoint
from nn.runs.history import read_history

RUN_FORMAT_VERSION = 2
"""Format version of a run directory, in environment.json; version 1 did not record it."""
MAX_JSON_BYTES = 2**26
"""Larger files are not read."""


@dataclass(frozen=True)
class SavedRun:
    """A run on disk; before it ends, the summary is empty and there are no predictions."""

    path: Path
    config: JsonObject
    environment: JsonObject
    history: list[JsonObject]
    summary: JsonObject

    @classmethod
    def read(cls, path: Path) -> SavedRun:
        """Read the files of a run, except the predictions, which are read when asked for."""
        return cls(
            path,
            read_config(path),
            read_json(path, "environment.json"),
            read_history(path),
            read_json(path, "summary.json"),
        )

    @property
    def predictions(self) -> Predictions | None:
        """The predictions of the selected weights, or None if they have not been written."""
        try:
            return Predictions.from_arrays(checkpoint.load(self.path / PREDICTIONS_FILE).arrays)
        except FileNotFoundError:
            return None
        except (checkpoint.CorruptFileError, ValueError):
            raise UserError(f"{relpath(self.path / PREDICTIONS_FILE)} is damaged.") from None

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, or their indices if only the confusion matrices are known."""
        names = self.summary.get("class_names")
        if isinstance(names, list):
            return [str(name) for name in names]
        for record in self.history:
            confusion_matrix = record.get("val/confusion_matrix")
            if isinstance(confusion_matrix, list):
                return [str(index) for index in range(len(confusion_matrix))]
        return []


def read_config(run_dir: Path) -> JsonObject:
    """Read the configuration of a run as plain values.

    Raises:
        UserError: The file is missing, damaged or lacks a hyperparameter, or the format of the run
            directory is that of another version.
    """
    path = run_dir / "config.yaml"
    try:
        config = yaml.load(read_regular_file(run_dir, "config.yaml", 2**20), Loader=_NoAliasLoader)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run_dir} is not a run directory: it has no config.yaml.") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it cannot be read as plain YAML.") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} is damaged: it must be a mapping of settings.")
    require_run_format(run_dir)
    for key in (*HYPERPARAMETERS, "choices"):
        if key not in config:
            raise UserError(f"{path}: {key} is missing.")
    return config


def read_json(directory: Path, file_name: str) -> JsonObject:
    """Read a JSON object; a file that is missing or damaged counts as empty."""
    try:
        content = json.loads(read_regular_file(directory, file_name, MAX_JSON_BYTES))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def require_run_format(run_dir: Path) -> None:
    """Refuse a run directory of another format version."""
    require_format_version(run_dir, "environment.json", RUN_FORMAT_VERSION)


def require_format_version(directory: Path, file_name: str, supported_version: int) -> None:
    """Refuse a directory whose JSON file does not record the supported format version."""
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
    """List the run directories at or below a directory, such as that of a sweep."""
    if (directory / "config.yaml").exists():
        return [directory]
    run_dirs = (file.parent for file in sorted(directory.rglob("config.yaml")))
    # wandb's own directories, which lie in those of the runs, have a config.yaml as well
    return [path for path in run_dirs if "wandb" not in path.relative_to(directory).parts]


class _NoAliasLoader(yaml.SafeLoader):
    """Refuses YAML aliases, with which a small file can expand to a huge one.

    PyYAML has no public hook for aliases, so this overrides `Composer.compose_node`.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)
