"""What there is to tell of a run, read from its folder once for all that is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nn.errors import UserError
from nn.io.paths import MODEL_FILE, PREDICTIONS_FILE, relpath
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
from nn.report.paths import display_path, join_command, strip_folder
from nn.runs import checkpoint
from nn.runs.reader import SavedRun, read_json
from nn.types import Array, IntArray

SPLITS = {"test": "test", "val": "validation", "train": "training"}
STATUS_NOTICES = {
    "finished": "",
    "pruned": "The sweep ended this run early, since others were ahead of it.",
    "interrupted": "This run was interrupted; train.py resume= goes on with it.",
    "diverged": "Training diverged: the loss became infinite or not a number.",
    "crashed": "This run crashed; it is drawn as far as it got.",
}


@dataclass(frozen=True)
class ClassConfusion:
    """Two classes that are taken for each other."""

    true_class: int
    predicted_class: int
    count: int
    fraction: float


@dataclass(frozen=True)
class LayerSummary:
    """A layer, the shape of its output for one sample, and how many parameters it has."""

    name: str
    output_shape: Sequence[int]
    num_parameters: int


class RunData:
    """A run, told from its folder."""

    def __init__(self, path: Path) -> None:
        self.saved_run = SavedRun.read(path)
        self.path = path
        self.config, self.history = self.saved_run.config, self.saved_run.history
        self.summary, self.environment = self.saved_run.summary, self.saved_run.environment
        self.choices = to_mapping(self.config["choices"])

    @property
    def display_name(self) -> str:
        """The run's folder."""
        return display_path(self.path)

    @property
    def title(self) -> str:
        """What was trained on what."""
        chosen = (self.choices.get(group) for group in ("model", "dataset"))
        return " on ".join(str(option) for option in chosen if option) or self.path.name

    @property
    def status(self) -> str:
        """How the run has ended, if it has."""
        return str(self.summary.get("status", "unfinished"))

    @cached_property
    def epochs(self) -> list[float]:
        """The number of each epoch."""
        return epoch_numbers(self.history)

    def curve(self, key: str) -> list[float | None]:
        """One figure over the epochs."""
        return extract_column(self.history, key)

    @property
    def start_timestamp(self) -> float | None:
        """When the run began, in seconds as the system counts them."""
        try:
            return datetime.fromisoformat(str(self.environment.get("started_at"))).timestamp()
        except (ValueError, OverflowError):
            return None

    @property
    def planned_epochs(self) -> float | None:
        """How many epochs were asked for."""
        return to_finite_float(self.config["epochs"])

    @cached_property
    def restores_best(self) -> bool:
        """Whether the weights of the best epoch are kept, not those of the last."""
        return self.config["restore_best"] is True or self.config["patience"] is not None

    @cached_property
    def selected_epoch(self) -> float | None:
        """The epoch whose weights are kept."""
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
        """The samples that the run is judged by: test, or val where there is no test set."""
        return "test" if to_finite_float(self.summary.get("test/accuracy")) is not None else "val"

    def score(self, key: str) -> float | None:
        """A figure of the summary, or of the kept epoch where there is none yet."""
        value = to_finite_float(self.summary.get(key))
        if value is None and not self.summary and self.selected_epoch is not None:
            value = self.curve(key)[self.epochs.index(self.selected_epoch)]
        return value

    @cached_property
    def confusion_matrix(self) -> IntArray | None:
        """Counts by true and predicted class; of a run under way, those of the last that it has."""
        judged = to_confusion_matrix(self.summary.get("confusion_matrix"))
        if judged is None:
            found = (
                to_confusion_matrix(record.get("val/confusion_matrix"))
                for record in reversed(self.history)
            )
            judged = next((each for each in found if each is not None), None)
        return judged if judged is not None and judged.sum() else None

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        if self.confusion_matrix is not None:
            return len(self.confusion_matrix)
        return 0 if self.predictions is None else self.predictions.probabilities.shape[1]

    @cached_property
    def class_names(self) -> list[str]:
        """A name for each class."""
        given = self.saved_run.class_names[: self.num_classes]
        return given + [str(each) for each in range(len(given), self.num_classes)]

    def class_scores(self, key: str) -> list[float | None]:
        """Precision, recall or F1 of each class."""
        given = self.summary.get(key)
        values = given if isinstance(given, list) else []
        return [
            to_finite_float(each)
            for each in [*values, *[None] * self.num_classes][: self.num_classes]
        ]

    @cached_property
    def class_confusions(self) -> list[ClassConfusion]:
        """What is taken for what, most often first."""
        if self.confusion_matrix is None:
            return []
        found, totals = [], self.confusion_matrix.sum(axis=1).tolist()
        wrong = self.confusion_matrix * (1 - np.eye(self.num_classes, dtype=np.int64))
        for place in np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]:
            truth, predicted = divmod(int(place), self.num_classes)
            times = int(wrong[truth, predicted])
            found.append(ClassConfusion(truth, predicted, times, times / totals[truth]))
        return found

    @cached_property
    def _predictions_or_reason(self) -> tuple[Predictions | None, str]:
        try:
            read = self.saved_run.predictions
        except UserError as mistake:
            return None, strip_folder(str(mistake), self.path)
        if read is None:
            return (
                None,
                f"There is no {PREDICTIONS_FILE} in the folder: it is written when a run ends.",
            )
        if self.confusion_matrix is not None and read.probabilities.shape[1] != len(
            self.confusion_matrix
        ):
            return None, f"{PREDICTIONS_FILE} is damaged: it has other classes than the run."
        return read, ""

    @property
    def predictions(self) -> Predictions | None:
        """What the kept weights say of the samples, if the run came so far."""
        return self._predictions_or_reason[0]

    @property
    def missing_predictions_reason(self) -> str:
        """Why there are no predictions."""
        return self._predictions_or_reason[1]

    @cached_property
    def weights(self) -> dict[str, Array]:
        """The weights that are kept; none where there is no whole checkpoint."""
        try:
            return checkpoint.extract_weights(checkpoint.load_best_or_last(self.path))
        except UserError:
            return {}

    @cached_property
    def layers(self) -> list[LayerSummary]:
        """The input and the layers; none where they were not recorded or the file is damaged."""
        try:
            model = read_json(self.path, MODEL_FILE)
        except UserError:
            return []
        given = model.get("layers")
        inputs = {"name": "input", "output_shape": model.get("input_shape"), "num_parameters": 0}
        read = [
            _parse_layer(each) for each in [inputs, *(given if isinstance(given, list) else [])]
        ]
        whole = [layer for layer in read if layer is not None]
        return whole if len(whole) == len(read) > 1 else []

    @property
    def has_hidden_layer(self) -> bool:
        """Whether there is a hidden layer, as far as can be told."""
        return sum(name.endswith(".weight") for name in self.weights) != 1

    @property
    def training_seconds(self) -> float | None:
        """How long the training took."""
        total = to_finite_float(self.summary.get("seconds"))
        return total if total is not None else sum(drop_none(self.curve("seconds"))) or None

    @property
    def reproduce_command(self) -> str:
        """The command that repeats the run."""
        command = ["python", "scripts/train.py", f"reproduce={relpath(self.path)}"]
        foreign = sorted(_target_packages(self.config) - {"nn"})
        return join_command([*command, *([f"trust={','.join(foreign)}"] if foreign else [])])

    @property
    def summary_text(self) -> str:
        """The run in two sentences."""
        size = to_finite_float(self.summary.get("num_parameters"))
        what = f"A network of {size:,.0f} parameters" if size else "A network"
        accuracy = self.score(f"{self.split}/accuracy")
        spent = f"in {fmt.count(len(self.epochs), 'epoch')}"
        if self.training_seconds is not None:
            spent += f" and {fmt.duration(self.training_seconds)}"
        if accuracy is None:
            return f"{what} was trained {spent}."
        reached = f"{what} came to {fmt.percent(accuracy)} {SPLITS[self.split]} accuracy {spent}."
        if self.selected_epoch is None or not self.restores_best:
            return reached
        return f"{reached} The weights of epoch {self.selected_epoch:,.0f} were kept."

    @property
    def notices(self) -> list[str]:
        """What a reader should know before the figures."""
        said = [STATUS_NOTICES.get(self.status, "") if self.summary else self._unfinished_notice()]
        if not self.history and _is_nonempty(self.path / "history.jsonl"):
            said.append("history.jsonl is damaged: there are no curves.")
        if not self.summary and _is_nonempty(self.path / "summary.json"):
            said.append("summary.json is damaged: scores are those of the history.")
        if "is damaged" in self.missing_predictions_reason:
            said.append(self.missing_predictions_reason)
        return [sentence for sentence in said if sentence]

    def _unfinished_notice(self) -> str:
        done = f"{len(self.epochs):,} of {fmt.number(self.planned_epochs)} epochs"
        sentence = f"This run has no result yet; it is drawn as far as it got, {done}."
        try:
            when = datetime.fromtimestamp((self.path / "history.jsonl").stat().st_mtime)
        except OSError:
            return sentence
        return f"{sentence} Its history was last written at {when:%Y-%m-%d %H:%M:%S}."

    @property
    def confusion_text(self) -> str:
        """What is confused most, in a sentence or two."""
        if self.confusion_matrix is None:
            return ""
        total, wrong = (
            int(self.confusion_matrix.sum()),
            sum(each.count for each in self.class_confusions),
        )
        if not wrong:
            return f"All {total:,} samples are right."
        first = self.class_confusions[0]
        return (
            f"{wrong:,} of {total:,} samples are wrong. "
            f"Most often {self.class_names[first.true_class]} is "
            f"taken for {self.class_names[first.predicted_class]}: "
            f"{fmt.count(first.count, 'time')}, "
            f"{fmt.percent(first.fraction, 1)} of its samples."
        )

    @property
    def learning_text(self) -> str:
        """How the training went, in a sentence or two."""
        losses = self.curve("val/loss")
        if len(drop_none(losses)) < 2:
            return ""
        low = min(drop_none(losses))
        when, last = self.epochs[losses.index(low)], drop_none(losses)[-1]
        if last <= low * 1.02:
            return "Validation loss was still at its lowest when training ended."
        return (
            f"Validation loss was lowest in epoch {when:,.0f}, at {fmt.number(low)}, "
            f"and ended at {fmt.number(last)}."
        )


def _parse_layer(value: Any) -> LayerSummary | None:
    """Take a layer as model.json describes it."""
    about = to_mapping(value)
    output, parameters = about.get("output_shape"), about.get("num_parameters")
    if not isinstance(output, list) or not isinstance(parameters, int):
        return None
    if any(type(each) is not int or not 0 <= each < 2**53 for each in (*output, parameters)):
        return None
    return LayerSummary(str(about.get("name")), output, parameters)


def _target_packages(config: Mapping[str, Any]) -> set[str]:
    """Name the packages whose classes a configuration asks for."""
    targets = (to_mapping(each).get("_target_") for each in config.values())
    return {str(target).partition(".")[0] for target in targets if target is not None}


def _is_nonempty(file: Path) -> bool:
    """Whether there is anything in a file."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False
