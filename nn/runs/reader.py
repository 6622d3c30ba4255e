"""Read runs back from their directories, as data that may come from anyone: no code is run."""

from __future__ import annotations

import json
import platform
import time
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import yaml
from pydantic import JsonValue

from nn.config.schema import ADDED_SETTINGS, HYPERPARAMETERS
from nn.errors import UserError
from nn.io.coerce import (
    drop_none,
    is_count,
    to_confusion_matrix,
    to_finite_float,
    to_list,
    to_mapping,
    to_text,
    to_timestamp,
)
from nn.io.files import FileStamp, is_locked, read_regular_file
from nn.io.paths import MODEL_FILE, PREDICTIONS_FILE, relpath
from nn.io.serialization import JsonObject, parse_json, to_json
from nn.network import LayerSummary
from nn.predictions import Predictions
from nn.runs import checkpoint
from nn.runs.history import HistoryReader, read_history
from nn.types import IntArray

RUN_FORMAT_VERSION = 2
"""Format version of a run directory, in environment.json; version 1 did not record it."""
MAX_JSON_BYTES = 2**26
"""Larger files are not read."""
SCORES = ("accuracy", "loss", "top3", "calibration_error")
"""Scores of the selected weights on each split."""
WATCHED_FILES = ("config.yaml", "environment.json", "summary.json", MODEL_FILE, PREDICTIONS_FILE)
"""Files whose changes count as changes of the run, along with its history."""
MIN_STALE_SECONDS = 300.0
"""Seconds without a new epoch after which a run on another machine counts as stale."""
STALE_EPOCHS = 5.0
"""The same, as a multiple of the longest epoch."""
ACTIVE_FILES = ("history.jsonl", "study.log", "config.yaml", "sweep.yaml", "trial.json")
"""Files by whose modification a process on another machine counts as running."""

Interval: TypeAlias = tuple[float, float]
"""Start and end as POSIX timestamps."""


class IncrementalReader:
    """Keeps its cached properties until its data change."""

    def _clear_cache(self) -> None:
        for name in list(vars(self)):
            if isinstance(getattr(type(self), name, None), cached_property):
                del vars(self)[name]


class SavedRun(IncrementalReader):
    """A run on disk; until it ends, the summary is empty and `predictions` is None.

    Raises:
        UserError: The directory is not that of a run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: JsonObject = {}
        self.environment: JsonObject = {}
        self.summary: JsonObject = {}
        self.metrics = HistoryReader(path)
        self.status = ""
        """As in the summary, or running, killed or stale before there is one."""
        self._stamps: dict[str, FileStamp | None] = {}
        self.update()

    def update(self) -> bool:
        """Read what is new and return whether anything has changed.

        Raises:
            UserError: The directory is not that of a run any more.
        """
        # before the summary, which is written while the lock is held
        is_lock_held = None if self.summary else is_locked(self.path / ".lock")
        stamps = {name: FileStamp.of(self.path / name) for name in WATCHED_FILES}
        changed_files = {name for name in stamps if stamps[name] != self._stamps.get(name)}
        if not self._stamps or changed_files & {"config.yaml", "environment.json"}:
            self.config = read_config(self.path)
            self.environment = read_json(self.path, "environment.json")
        if "summary.json" in changed_files:
            self.summary = read_json(self.path, "summary.json")
        has_changed = self.metrics.update() or bool(changed_files)
        self._stamps = stamps
        status = to_text(self.summary.get("status")) or "killed"
        if not self.summary:
            host = to_text(self.environment.get("host"))
            last_epoch = self.metrics.column("seconds", len(self.metrics.epochs) - 1)
            seconds = max(drop_none(last_epoch), default=0.0)
            status = process_status(is_lock_held, self.path, host, seconds)
        has_changed |= status != self.status
        self.status = status
        if has_changed:
            self._clear_cache()
        return has_changed

    @cached_property
    def history(self) -> list[JsonObject]:
        """All records of the history, of which `metrics` has the numbers."""
        return read_history(self.path)

    @property
    def predictions(self) -> Predictions | None:
        """The predictions of the selected weights, or None if they have not been written."""
        return read_predictions(self.path)

    @property
    def restores_best(self) -> bool:
        """Whether the weights of the best epoch are selected, not those of the last one."""
        return self.config["restore_best"] is True or self.config["patience"] is not None

    @cached_property
    def selected_epoch(self) -> float | None:
        """The best epoch by validation accuracy, on a tie by loss, or the last one."""
        epochs, column = self.metrics.epochs, self.metrics.column
        if not epochs:
            return None
        if not self.restores_best:
            return epochs[-1]
        best = to_finite_float(self.summary.get("best/epoch"))
        if best is not None:
            return best
        val = zip(column("val/accuracy"), column("val/loss"), epochs, strict=True)
        ranks = [(-a, loss, epoch) for a, loss, epoch in val if a is not None and loss is not None]
        return min(ranks)[2] if ranks else epochs[-1]

    @property
    def scores(self) -> dict[str, float]:
        """The scores in the summary, or those of the selected epoch without a summary."""
        scores, epochs, selected = {}, self.metrics.epochs, self.selected_epoch
        for name in [f"{split}/{score}" for split in ("test", "val") for score in SCORES]:
            value = to_finite_float(self.summary.get(name))
            if not self.summary and selected in epochs:
                value = self.metrics.column(name)[epochs.index(selected)]
            if value is not None:
                scores[name] = value
        return scores

    @cached_property
    def layers(self) -> list[LayerSummary]:
        """The input and all layers, from model.json; empty if it is missing or damaged."""
        try:
            model = read_json(self.path, MODEL_FILE)
        except UserError:  # it is a link
            return []
        inputs: JsonValue = {"name": "input", "output_shape": model.get("input_shape")}
        layers: list[LayerSummary] = []
        for layer in map(to_mapping, [inputs, *to_list(model.get("layers"))]):
            name, shape = layer.get("name"), to_list(layer.get("output_shape"))
            sizes = [n for n in (*shape, layer.get("num_parameters", 0)) if is_count(n)]
            if not (isinstance(name, str) and shape and len(sizes) > len(shape)):
                return []
            layers.append({"name": name, "output_shape": sizes[:-1], "num_parameters": sizes[-1]})
        return layers if len(layers) > 1 else []

    @cached_property
    def confusion_matrix(self) -> IntArray | None:
        """Counts (true class, predicted class); of an unfinished run, the latest on record."""
        matrix = to_confusion_matrix(self.summary.get("confusion_matrix"))
        matrix = self.metrics.confusion_matrix if matrix is None else matrix
        return matrix if matrix is not None and matrix.sum() else None

    @property
    def class_names(self) -> list[str]:
        """The names of the classes; one without a name is named by its index."""
        names = list(map(str, to_list(self.summary.get("class_names"))))
        if self.confusion_matrix is None:
            return names
        num_classes = len(self.confusion_matrix)
        return [*names[:num_classes], *map(str, range(len(names), num_classes))]


def read_config(run_dir: Path) -> JsonObject:
    """Read the configuration of a run as plain values.

    Raises:
        UserError: The file is missing, damaged or lacks a hyperparameter, or the format of the run
            directory is that of another version.
    """
    path = run_dir / "config.yaml"
    try:
        content = read_regular_file(run_dir, "config.yaml", 2**20)
        # aliases need anchors; without them, the eight times faster C loader is safe
        loaded = yaml.load(content, Loader=_NoAliasLoader if b"&" in content else _FastLoader)
        config = parse_json(json.dumps(loaded, default=str))  # YAML also has dates, sets and bytes
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run_dir} is not a run directory: it has no config.yaml.") from None
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it cannot be read as plain YAML.") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} is damaged: it must be a mapping of settings.")
    require_run_format(run_dir)
    config = ADDED_SETTINGS | config
    for key in (*HYPERPARAMETERS, "choices"):
        if key not in config:
            raise UserError(f"{path}: {key} is missing.")
    return config


def read_predictions(run_dir: Path) -> Predictions | None:
    """Read the predictions of the selected weights; None if they have not been written."""
    try:
        return Predictions.from_arrays(checkpoint.load(run_dir / PREDICTIONS_FILE).arrays)
    except FileNotFoundError:
        return None
    except (checkpoint.CorruptFileError, ValueError):
        raise UserError(f"{relpath(run_dir / PREDICTIONS_FILE)} is damaged.") from None


def read_json(directory: Path, file_name: str) -> JsonObject:
    """Read a JSON object; a file that is missing or damaged counts as empty."""
    try:
        content = parse_json(read_regular_file(directory, file_name, MAX_JSON_BYTES))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_sessions(summary: JsonObject) -> list[Interval]:
    """Return (start, end) of each session of a run; empty if one of them is damaged.

    Their time zone is dropped, since Optuna's times have none.
    """
    intervals = []
    for session in to_list(summary.get("sessions")):
        try:
            times = [datetime.fromisoformat(str(time)) for time in to_list(session)]
            start, end = drop_none([to_timestamp(time.replace(tzinfo=None)) for time in times])
        except ValueError:
            return []
        intervals.append((start, end))
    return intervals


def require_run_format(run_dir: Path) -> None:
    """Refuse a run directory of another format version."""
    require_format_version(run_dir, "environment.json", RUN_FORMAT_VERSION)


def require_format_version(directory: Path, file_name: str, *supported_versions: int) -> None:
    """Refuse a directory whose JSON file does not record a supported format version."""
    version = read_json(directory, file_name).get("format_version")
    if type(version) is not int or version not in supported_versions:
        found = "no format version"
        if version is not None:
            found = f"format version {to_json(version)[:40]}"
        raise UserError(
            f"{relpath(directory)} has {found}; this program reads format version "
            f"{' or '.join(map(str, supported_versions))}."
        )


def process_status(
    is_lock_held: bool | None, directory: Path, host: str | None, longest_epoch: float = 0.0
) -> str:
    """Return whether the process that writes a directory is running, killed or stale.

    On this machine, the lock decides. Locks of other machines may be invisible; a process there
    counts as running as long as the directory's files change, and as stale afterwards.

    Args:
        is_lock_held: What `is_locked` returned before the result was found to be missing.
        directory: The directory of a run or a sweep.
        host: The machine that writes it, if known.
        longest_epoch: Seconds between two changes that are normal.
    """
    if is_lock_held:
        return "running"
    if is_lock_held is False and host == platform.node():
        return "killed"
    limit = max(MIN_STALE_SECONDS, STALE_EPOCHS * longest_epoch)
    age = time.time() - modified_timestamp(directory, *ACTIVE_FILES)
    return "running" if age < limit else "stale"


def modified_timestamp(directory: Path, *names: str) -> float:
    """Return when the latest of these files was modified, as a POSIX timestamp; 0 without any."""
    stamps = [FileStamp.of(directory / name) for name in names]
    return max((stamp.mtime_ns / 1e9 for stamp in stamps if stamp), default=0.0)


def find_runs(directory: Path) -> list[Path]:
    """List the run directories at or below a directory, such as that of a sweep."""
    if (directory / "config.yaml").exists():
        return [directory]
    run_dirs = (file.parent for file in sorted(directory.rglob("config.yaml")))
    # wandb's own directories, which lie in those of the runs, have a config.yaml as well
    return [path for path in run_dirs if "wandb" not in path.relative_to(directory).parts]


_FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # missing if built without libyaml


class _NoAliasLoader(yaml.SafeLoader):
    """Refuses YAML aliases, with which a small file can expand to a huge one.

    PyYAML has no public hook for aliases, so this overrides `Composer.compose_node`.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)
