"""A run as plain JSON, read incrementally from its directory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TypedDict

from nn.config.schema import HYPERPARAMETERS
from nn.errors import UserError
from nn.io.coerce import (
    MAX_CLASSES,
    flatten_settings,
    parse_time,
    sum_known,
    to_finite_float,
    to_list,
    to_mapping,
    to_text,
    to_texts,
)
from nn.io.command_line import format_command
from nn.io.files import FileStamp
from nn.io.paths import PREDICTIONS_FILE, checkpoint_path, relpath
from nn.io.serialization import JsonObject
from nn.network import LayerSummary
from nn.predictions import Predictions
from nn.report.data.images import first_layer_filters, render_filters, to_data_uri
from nn.report.data.predictions import (
    CalibrationBin,
    SampleMapRecord,
    SampleRecord,
    bin_by_confidence,
    example_records,
    sample_map_record,
)
from nn.report.paths import display_path, normalize_command, strip_folder
from nn.runs import checkpoint
from nn.runs.history import minmax_downsample
from nn.runs.reader import (
    Interval,
    SavedRun,
    modified_timestamp,
    read_predictions,
    read_sessions,
)
from nn.types import Array

NUM_CORRECT_SHOWN, NUM_WRONG_SHOWN = 16, 24
"""Correct and misclassified samples in the details."""
ENVIRONMENT_KEYS = ("python", "platform", "cpu_model", "cpu_count", "host")
"""Entries of environment.json in a record, in addition to packages and commit."""


class ClassRecord(TypedDict):
    """A class with its scores and its number of samples in the evaluation split."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    num_samples: int | None


class EnvironmentRecord(TypedDict):
    """The machine and the code version that started a run."""

    machine: dict[str, str]
    packages: dict[str, str]
    commit: str | None
    has_uncommitted_changes: bool
    weights_sha256: str | None
    dataset_sha256: str | None


class RunRecord(TypedDict):
    """A run without its curves."""

    path: str
    title: str
    name: str | None
    notes: str | None
    tags: list[str]
    group: str | None
    status: str
    """As in summary.json, or running, killed or stale before there is one."""
    started_at: float | None
    updated_at: float | None
    """When an epoch was recorded last."""
    sessions: list[Interval]
    initial_epochs: float | None
    """Planned when the run started; the run was lengthened if `planned_epochs` is larger."""
    planned_epochs: float | None
    num_epochs: int
    restores_best: bool
    selected_epoch: float | None
    """The epoch whose weights are selected: the best or the last."""
    split: str
    """The evaluation split of the classes and the confusion matrix: test or val."""
    scores: dict[str, float]
    """Of the selected weights, by their names in summary.json."""
    num_parameters: float | None
    training_seconds: float | None
    seconds_by_part: dict[str, float]
    """Where the training time went: training, validation and other."""
    classes: list[ClassRecord]
    confusion_matrix: list[list[int]] | None
    """Counts (true class, predicted class); of an unfinished run, the latest on record."""
    layers: list[LayerSummary]
    """The input followed by all layers; empty if unknown."""
    choices: JsonObject
    hyperparameters: JsonObject
    settings: JsonObject
    """All other settings, flattened to dotted keys."""
    environment: EnvironmentRecord
    command: str | None
    reproduce_command: str | None
    """Of a finished run."""
    damaged_files: list[str]
    """Those that are there but cannot be read; the predictions are not checked."""


class CurveRecord(TypedDict):
    """All columns of a run's history, None where an epoch lacks the value."""

    epochs: list[float]
    columns: dict[str, list[float | None]]


class FilterRecord(TypedDict):
    """Weights of the first layer as images."""

    images: list[str]
    """Data URIs of PNG images."""
    num_units: int


class RunDetails(TypedDict):
    """The slow part of a run: data from predictions and weights, written when the run ends."""

    predictions_error: str
    """Why the predictions cannot be read; empty if they can be, or if there are none."""
    correct: list[SampleRecord]
    misclassified: list[SampleRecord]
    calibration: list[CalibrationBin]
    sample_map: SampleMapRecord | None
    has_hidden_layer: bool
    filters: FilterRecord | None


class RunReader(SavedRun):
    """Reads a run's directory, and with each update only what is new in it."""

    def __init__(self, path: Path) -> None:
        self._details_stamps: list[FileStamp | None] = []
        super().__init__(path)

    @property
    def is_running(self) -> bool:
        """Whether its process is running."""
        return self.status == "running"

    def record(self) -> RunRecord:
        """Return the run without its curves."""
        config, summary, environment = self.config, self.summary, self.environment
        tracking, column = to_mapping(config.get("tracking")), self.metrics.column
        choices = to_mapping(config["choices"])
        title = " on ".join(filter(None, (to_text(choices.get(k)) for k in ("model", "dataset"))))
        command = normalize_command(to_text(environment.get("command")) or "")
        matrix, scores = self.confusion_matrix, self.scores
        training, validation = (sum_known(column(k)) for k in ("seconds", "seconds/validation"))
        total = to_finite_float(summary.get("seconds"))
        training_seconds = total if total is not None else training or None
        other = (training_seconds or 0.0) - training - validation
        parts = {"training": training, "validation": validation, "other": other}
        nested = {k: v for k, v in config.items() if k not in (*HYPERPARAMETERS, "choices")}
        contents = {"history.jsonl": self.metrics.epochs, "summary.json": summary}
        return {
            "path": display_path(self.path),
            "title": title or self.path.name,
            "name": to_text(tracking.get("name")),
            "notes": to_text(tracking.get("notes")),
            "tags": to_texts(tracking.get("tags")),
            "group": to_text(tracking.get("group")),
            "status": self.status,
            "started_at": parse_time(environment.get("started_at")),
            "updated_at": modified_timestamp(self.path, "history.jsonl") or None,
            "sessions": read_sessions(summary),
            "initial_epochs": to_finite_float(environment.get("initial_epochs")),
            "planned_epochs": to_finite_float(config["epochs"]),
            "num_epochs": len(self.metrics.epochs),
            "restores_best": self.restores_best,
            "selected_epoch": self.selected_epoch,
            "split": "test" if "test/accuracy" in scores else "val",
            "scores": scores,
            "num_parameters": to_finite_float(summary.get("num_parameters")),
            "training_seconds": training_seconds,
            "seconds_by_part": {part: seconds for part, seconds in parts.items() if seconds > 0},
            "classes": self._class_records(),
            "confusion_matrix": None if matrix is None else matrix.tolist(),
            "layers": self.layers,
            "choices": {key: value for key, value in choices.items() if value is not None},
            "hyperparameters": {k: config[k] for k in HYPERPARAMETERS if config[k] is not None},
            "settings": flatten_settings(nested),
            "environment": _environment_record(environment, summary),
            "command": command or None,
            "reproduce_command": format_reproduce_command(self.path, config)
            if self.status == "finished"
            else None,
            "damaged_files": [
                name
                for name, content in contents.items()
                if not content and (stamp := FileStamp.of(self.path / name)) and stamp.size
            ],
        }

    def curves(self) -> CurveRecord:
        """Return the numeric columns of the history."""
        columns = {key: self.metrics.column(key) for key in self.metrics.columns}
        return {"epochs": self.metrics.epochs, "columns": columns}

    def details(self) -> RunDetails:
        """Return what depends on predictions and weights; computing the t-SNE map takes seconds."""
        files = [self.path / PREDICTIONS_FILE, self.path / "summary.json"]
        files += [checkpoint_path(self.path, name) for name in ("best", "last")]
        stamps = [FileStamp.of(file) for file in files]
        if stamps != self._details_stamps:
            self._details = self._read_details()
            self._details_stamps = stamps
        return self._details

    @property
    def predictions(self) -> Predictions | None:
        """Predictions of the selected weights; None before the run ended or if damaged."""
        return self._predictions_or_error[0]

    @cached_property
    def _predictions_or_error(self) -> tuple[Predictions | None, str]:
        try:
            predictions = read_predictions(self.path)
        except UserError as error:
            return None, strip_folder(str(error), self.path)
        num_classes = len(self.class_names)
        num_predicted = num_classes if predictions is None else predictions.probabilities.shape[1]
        if num_classes and num_predicted != num_classes:
            classes = f"{num_predicted} classes, but the run has {num_classes}"
            return None, f"{PREDICTIONS_FILE} is damaged: it has {classes}."
        return predictions, ""

    def _class_records(self) -> list[ClassRecord]:
        names, matrix = self.class_names[:MAX_CLASSES], self.confusion_matrix
        if not names and self.predictions is not None:
            names = [str(index) for index in range(self.predictions.probabilities.shape[1])]
        unknown: list[None] = [None] * len(names)
        precision, recall, f1 = (
            [*map(to_finite_float, to_list(self.summary.get(key))), *unknown]
            for key in ("precision", "recall", "f1")
        )
        totals = unknown if matrix is None else matrix.sum(axis=1).tolist()
        return [
            {"name": name, "precision": p, "recall": r, "f1": f, "num_samples": total}
            for name, p, r, f, total in zip(names, precision, recall, f1, totals, strict=False)
        ]

    def _read_details(self) -> RunDetails:
        predictions = self.predictions
        weights: dict[str, Array] = {}
        with suppress(UserError):  # no checkpoint, or a corrupt one
            weights = checkpoint.extract_weights(checkpoint.load_best_or_last(self.path))
        units = first_layer_filters(weights, predictions.images.shape[1:] if predictions else None)
        filters: FilterRecord | None = None
        if units is not None:
            filter_images = [to_data_uri(pixels) for pixels in render_filters(units)]
            filters = {"images": filter_images, "num_units": len(units)}
        details: RunDetails = {
            "predictions_error": self._predictions_or_error[1],
            "correct": [],
            "misclassified": [],
            "calibration": [],
            "sample_map": None,
            "has_hidden_layer": sum(name.endswith(".weight") for name in weights) != 1,
            "filters": filters,
        }
        if predictions is not None:
            details["correct"] = example_records(predictions, True, NUM_CORRECT_SHOWN)
            details["misclassified"] = example_records(predictions, False, NUM_WRONG_SHOWN)
            details["calibration"] = bin_by_confidence(predictions)
            if details["has_hidden_layer"]:
                details["sample_map"] = sample_map_record(self.path, predictions)
        return details


def progress_axes(curves: CurveRecord) -> dict[str, list[float]]:
    """Return the seconds and samples of training until the end of each epoch, where recorded."""
    seconds, rates = (
        [value or 0.0 for value in curves["columns"].get(key, [])]
        for key in ("seconds", "samples_per_second")
    )
    samples = [duration * rate for duration, rate in zip(seconds, rates, strict=False)]
    axes = {"seconds": seconds, "samples": samples}
    return {name: list(accumulate(steps)) for name, steps in axes.items() if any(steps)}


def thin_curves(
    curves: CurveRecord, keys: Iterable[str], max_points: int
) -> tuple[dict[str, list[float]], dict[str, list[float | None]]]:
    """Return the x axes and those of the columns that are recorded, downsampled together."""
    columns = {key: curves["columns"][key] for key in keys if key in curves["columns"]}
    kept = minmax_downsample([*columns.values()], max_points)
    axes = {"epoch": curves["epochs"], **progress_axes(curves)}
    return (
        {name: [values[index] for index in kept] for name, values in axes.items()},
        {key: [values[index] for index in kept] for key, values in columns.items()},
    )


def _environment_record(environment: JsonObject, summary: JsonObject) -> EnvironmentRecord:
    git = to_mapping(environment.get("git"))
    packages = to_mapping(environment.get("packages"))
    texts = {key: to_text(environment.get(key)) for key in ENVIRONMENT_KEYS}
    versions = {name: to_text(version) for name, version in packages.items()}
    return {
        "machine": {key: text for key, text in texts.items() if text is not None},
        "packages": {name: version for name, version in versions.items() if version},
        "commit": to_text(git.get("commit")),
        "has_uncommitted_changes": git.get("dirty") is True,
        "weights_sha256": to_text(summary.get("weights/sha256")),
        "dataset_sha256": to_text(summary.get("dataset/sha256")),
    }


def format_reproduce_command(run_dir: Path, config: JsonObject) -> str:
    """Return the shell command that repeats a run, including the `trust=` that it needs."""
    targets = (to_mapping(group).get("_target_") for group in config.values())
    packages = {str(target).partition(".")[0] for target in targets if target is not None}
    foreign = sorted(packages - {"nn"})
    trust = [f"trust={','.join(foreign)}"] if foreign else []
    return normalize_command(format_command("train", f"reproduce={relpath(run_dir)}", *trust))
