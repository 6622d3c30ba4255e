"""Data and text of a run's report, read from its directory once for pages, figures and W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from nn.errors import UserError
from nn.io.command_line import format_command
from nn.io.paths import MODEL_FILE, PREDICTIONS_FILE, relpath
from nn.io.serialization import JsonObject
from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report.coerce import (
    drop_none,
    epoch_numbers,
    extract_column,
    to_confusion_matrix,
    to_finite_float,
    to_mapping,
)
from nn.report.paths import display_path, normalize_command, strip_folder
from nn.runs import checkpoint
from nn.runs.reader import SavedRun, read_json
from nn.types import Array, IntArray

SPLITS = {"test": "test", "val": "validation", "train": "training"}
STATUS_NOTICES = {
    "finished": "",
    "pruned": "The sweep pruned this run: other trials performed better.",
    "interrupted": "This run was interrupted; resume= continues it.",
    "diverged": "Training diverged: the loss became infinite or NaN.",
    "crashed": "This run crashed; the report covers the epochs that were recorded.",
}


@dataclass(frozen=True)
class ClassConfusion:
    """How often samples of one class are predicted as another."""

    true_class: int
    predicted_class: int
    count: int
    fraction: float  # of the samples of the true class


@dataclass(frozen=True)
class LayerSummary:
    """A layer with the shape of its output for one sample and its number of parameters."""

    name: str
    output_shape: Sequence[int]
    num_parameters: int


class RunData:
    """The records of a run and the sentences that describe it, lazily computed."""

    def __init__(self, path: Path) -> None:
        self.saved_run = SavedRun.read(path)
        self.path = path
        self.config, self.history = self.saved_run.config, self.saved_run.history
        self.summary, self.environment = self.saved_run.summary, self.saved_run.environment
        self.choices = to_mapping(self.config["choices"])

    @property
    def display_name(self) -> str:
        """The run directory, shortened for display."""
        return display_path(self.path)

    @property
    def title(self) -> str:
        """`MODEL on DATASET`, or the directory's name where neither option is recorded."""
        options = (self.choices.get(group) for group in ("model", "dataset"))
        return " on ".join(str(option) for option in options if option) or self.path.name

    @property
    def status(self) -> str:
        """How the run ended, or `unfinished`."""
        return str(self.summary.get("status", "unfinished"))

    @cached_property
    def epochs(self) -> list[float]:
        """Epoch numbers, one per history record."""
        return epoch_numbers(self.history)

    def curve(self, key: str) -> list[float | None]:
        """Return a history column, None where an epoch lacks the value."""
        return extract_column(self.history, key)

    @property
    def start_timestamp(self) -> float | None:
        """Start of the run as a POSIX timestamp."""
        try:
            return datetime.fromisoformat(str(self.environment.get("started_at"))).timestamp()
        except (ValueError, OverflowError):
            return None

    @property
    def planned_epochs(self) -> float | None:
        """The number of epochs in the configuration."""
        return to_finite_float(self.config["epochs"])

    @cached_property
    def restores_best(self) -> bool:
        """Whether the best epoch's weights are restored at the end, as opposed to the last's."""
        return self.config["restore_best"] is True or self.config["patience"] is not None

    @cached_property
    def selected_epoch(self) -> float | None:
        """The epoch whose weights are selected: the best or the last.

        The best has the highest validation accuracy, on a tie the lowest validation loss.
        """
        if not self.epochs:
            return None
        best = to_finite_float(self.summary.get("best/epoch"))
        if self.restores_best and best is None:
            ranks = [
                (-accuracy, loss, epoch)
                for epoch, accuracy, loss in zip(
                    self.epochs, self.curve("val/accuracy"), self.curve("val/loss"), strict=True
                )
                if accuracy is not None and loss is not None
            ]
            best = min(ranks)[2] if ranks else None
        return best if self.restores_best and best is not None else self.epochs[-1]

    @property
    def split(self) -> str:
        """The evaluation split: `test`, or `val` if there is no test score."""
        return "test" if to_finite_float(self.summary.get("test/accuracy")) is not None else "val"

    def score(self, key: str) -> float | None:
        """Return a score from the summary, or from the selected epoch while there is no summary."""
        value = to_finite_float(self.summary.get(key))
        if value is None and not self.summary and self.selected_epoch is not None:
            value = self.curve(key)[self.epochs.index(self.selected_epoch)]
        return value

    @cached_property
    def confusion_matrix(self) -> IntArray | None:
        """Counts (true class, predicted class); of an unfinished run, the latest on record."""
        matrix = to_confusion_matrix(self.summary.get("confusion_matrix"))
        if matrix is None:
            recorded = (
                to_confusion_matrix(record.get("val/confusion_matrix"))
                for record in reversed(self.history)
            )
            matrix = next((latest for latest in recorded if latest is not None), None)
        return matrix if matrix is not None and matrix.sum() else None

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 if neither a confusion matrix nor predictions are available."""
        if self.confusion_matrix is not None:
            return len(self.confusion_matrix)
        return 0 if self.predictions is None else self.predictions.probabilities.shape[1]

    @cached_property
    def class_names(self) -> list[str]:
        """Class names; a class without one is named by its index."""
        names = self.saved_run.class_names[: self.num_classes]
        return names + [str(index) for index in range(len(names), self.num_classes)]

    def class_scores(self, key: str) -> list[float | None]:
        """Return `precision`, `recall` or `f1` per class, None where unknown."""
        recorded = self.summary.get(key)
        scores = recorded if isinstance(recorded, list) else []
        padded = [*scores, *[None] * self.num_classes]
        return [to_finite_float(score) for score in padded[: self.num_classes]]

    @cached_property
    def class_confusions(self) -> list[ClassConfusion]:
        """Off-diagonal cells of the confusion matrix, largest count first."""
        if self.confusion_matrix is None:
            return []
        confusions, totals = [], self.confusion_matrix.sum(axis=1).tolist()
        errors = self.confusion_matrix * (1 - np.eye(self.num_classes, dtype=np.int64))
        for cell in np.argsort(-errors, axis=None, kind="stable")[: np.count_nonzero(errors)]:
            truth, predicted = divmod(int(cell), self.num_classes)
            count = int(errors[truth, predicted])
            confusions.append(ClassConfusion(truth, predicted, count, count / totals[truth]))
        return confusions

    @cached_property
    def _predictions_or_error(self) -> tuple[Predictions | None, str]:
        try:
            predictions = self.saved_run.predictions
        except UserError as error:
            return None, strip_folder(str(error), self.path)
        if predictions is None or self.confusion_matrix is None:
            return predictions, ""
        num_predicted, num_classes = predictions.probabilities.shape[1], len(self.confusion_matrix)
        if num_predicted != num_classes:
            classes = f"{num_predicted} classes, but the run has {num_classes}"
            return None, f"{PREDICTIONS_FILE} is damaged: it has {classes}."
        return predictions, ""

    @property
    def predictions(self) -> Predictions | None:
        """Predictions of the selected weights; None before the run ended or if damaged."""
        return self._predictions_or_error[0]

    @cached_property
    def weights(self) -> dict[str, Array]:
        """The selected weights by name; empty without an intact checkpoint."""
        try:
            return checkpoint.extract_weights(checkpoint.load_best_or_last(self.path))
        except UserError:
            return {}

    @cached_property
    def layers(self) -> list[LayerSummary]:
        """The input followed by all layers; empty if model.json is missing or damaged."""
        try:
            model = read_json(self.path, MODEL_FILE)
        except UserError:
            return []
        recorded = model.get("layers")
        inputs: JsonObject = {"name": "input", "num_parameters": 0}
        inputs["output_shape"] = model.get("input_shape")
        records = [inputs, *(recorded if isinstance(recorded, list) else [])]
        layers = [layer for layer in map(_parse_layer, records) if layer is not None]
        return layers if len(layers) == len(records) > 1 else []

    @property
    def has_hidden_layer(self) -> bool:
        """Whether the network has a hidden layer; True if the weights are not available."""
        return sum(name.endswith(".weight") for name in self.weights) != 1

    @property
    def training_seconds(self) -> float | None:
        """Total training time in seconds, summed over the history if there is no summary."""
        total = to_finite_float(self.summary.get("seconds"))
        return total if total is not None else sum(drop_none(self.curve("seconds"))) or None

    @property
    def reproduce_command(self) -> str | None:
        """The shell command that repeats the run, or None if it has not finished."""
        if self.status != "finished":
            return None
        return format_reproduce_command(self.path, self.config)

    @property
    def summary_text(self) -> str:
        """One or two sentences: size, accuracy, duration and selected epoch."""
        size = to_finite_float(self.summary.get("num_parameters"))
        network = f"A network with {size:,.0f} parameters" if size else "A network"
        accuracy = self.score(f"{self.split}/accuracy")
        epochs = fmt.count(len(self.epochs), "epoch")
        if self.training_seconds is not None:
            epochs += f" ({fmt.duration(self.training_seconds)})"
        if accuracy is None:
            return f"{network} was trained for {epochs}."
        score = f"{fmt.percent(accuracy)} {SPLITS[self.split]} accuracy"
        result = f"{network} reached {score} in {epochs}."
        if self.selected_epoch is None or not self.restores_best:
            return result
        return f"{result} Its weights are those of the best epoch, {self.selected_epoch:,.0f}."

    @property
    def notices(self) -> list[str]:
        """Warnings shown above the report: an abnormal end, missing or damaged files."""
        notices = [
            STATUS_NOTICES.get(self.status, "") if self.summary else self._unfinished_notice()
        ]
        if not self.history and _is_nonempty(self.path / "history.jsonl"):
            notices.append("history.jsonl is damaged; learning curves are not available.")
        if not self.summary and _is_nonempty(self.path / "summary.json"):
            notices.append("summary.json is damaged; scores are taken from the history.")
        notices.append(self._predictions_or_error[1])
        return [notice for notice in notices if notice]

    def _unfinished_notice(self) -> str:
        progress = f"{len(self.epochs):,} of {fmt.number(self.planned_epochs)} epochs"
        notice = f"This run is unfinished; the report covers {progress}."
        try:
            modified = datetime.fromtimestamp((self.path / "history.jsonl").stat().st_mtime)
        except OSError:
            return notice
        return f"{notice} history.jsonl was last updated at {modified:%Y-%m-%d %H:%M:%S}."

    @property
    def confusion_text(self) -> str:
        """The number of errors and the most frequent one; empty without a confusion matrix."""
        if self.confusion_matrix is None:
            return ""
        num_samples = int(self.confusion_matrix.sum())
        num_errors = sum(confusion.count for confusion in self.class_confusions)
        if not num_errors:
            return f"All {num_samples:,} samples are classified correctly."
        most = self.class_confusions[0]
        truth, predicted = self.class_names[most.true_class], self.class_names[most.predicted_class]
        return (
            f"{num_errors:,} of {num_samples:,} samples are misclassified. "
            f"Most frequent error: {truth} predicted as {predicted} "
            f"({fmt.count(most.count, 'time')}, {fmt.percent(most.fraction, 1)} of class {truth})."
        )

    @property
    def learning_text(self) -> str:
        """How the validation loss developed; empty if it has fewer than two values."""
        losses = self.curve("val/loss")
        if len(drop_none(losses)) < 2:
            return ""
        lowest = min(drop_none(losses))
        epoch, last = self.epochs[losses.index(lowest)], drop_none(losses)[-1]
        if last <= lowest * 1.02:
            return "The validation loss ended at or near its minimum."
        return (
            f"The validation loss reached its minimum of {fmt.number(lowest)} in epoch "
            f"{epoch:,.0f} and ended at {fmt.number(last)}."
        )


def _parse_layer(value: JsonValue) -> LayerSummary | None:
    """Parse a layer record of model.json; None if it is malformed."""
    record = to_mapping(value)
    output, parameters = record.get("output_shape"), record.get("num_parameters")
    if not isinstance(output, list):
        return None
    sizes = [n for n in (*output, parameters) if type(n) is int and 0 <= n < 2**53]
    if len(sizes) != len(output) + 1:
        return None
    return LayerSummary(str(record.get("name")), sizes[:-1], sizes[-1])


def format_reproduce_command(run_dir: Path, config: Mapping[str, Any]) -> str:
    """Return the shell command that repeats a run, including the `trust=` that it needs."""
    targets = (to_mapping(group).get("_target_") for group in config.values())
    packages = {str(target).partition(".")[0] for target in targets if target is not None}
    foreign = sorted(packages - {"nn"})
    trust = [f"trust={','.join(foreign)}"] if foreign else []
    return normalize_command(format_command("train", f"reproduce={relpath(run_dir)}", *trust))


def _is_nonempty(file: Path) -> bool:
    """Whether a file exists and holds data."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False
