"""What there is to tell of a run, read from its folder once for all that is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nn.errors import Mistake
from nn.io.paths import MODEL, PREDICTIONS, short
from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report.coerce import column, counts, known, mapping, number, numbered
from nn.report.paths import shell_line, shown, without_folder
from nn.runs import checkpoint
from nn.runs.reader import Saved, read_json
from nn.types import Array, Counts

PARTS = {"test": "test", "val": "validation", "train": "training"}
ENDS = {
    "finished": "",
    "pruned": "The sweep ended this run early, since others were ahead of it.",
    "interrupted": "This run was interrupted; train.py resume= goes on with it.",
    "diverged": "Training diverged: the loss became infinite or not a number.",
    "crashed": "This run crashed; it is drawn as far as it got.",
}


@dataclass(frozen=True)
class Finding:
    """Two classes that are taken for each other."""

    truth: int
    predicted: int
    times: int
    share: float


@dataclass(frozen=True)
class LayerSummary:
    """A layer, the shape of its output for one sample, and how many parameters it has."""

    name: str
    output: Sequence[int]
    parameters: int


class RunStory:
    """A run, told from its folder."""

    def __init__(self, path: Path) -> None:
        self.saved = Saved.read(path)
        self.path = path
        self.config, self.history = self.saved.config, self.saved.history
        self.summary, self.environment = self.saved.summary, self.saved.environment
        self.choices = mapping(self.config["choices"])

    @property
    def name(self) -> str:
        """The run's folder."""
        return shown(self.path)

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
        return numbered(self.history)

    def curve(self, key: str) -> list[float | None]:
        """One figure over the epochs."""
        return column(self.history, key)

    @property
    def began(self) -> float | None:
        """When the run began, in seconds as the system counts them."""
        try:
            return datetime.fromisoformat(str(self.environment.get("began"))).timestamp()
        except (ValueError, OverflowError):
            return None

    @property
    def planned(self) -> float | None:
        """How many epochs were asked for."""
        return number(self.config["epochs"])

    @cached_property
    def keeps_best(self) -> bool:
        """Whether the weights of the best epoch are kept, not those of the last."""
        return self.config["keep"] == "best" or self.config["patience"] is not None

    @cached_property
    def kept_epoch(self) -> float | None:
        """The epoch whose weights are kept."""
        if not self.epochs:
            return None
        best = number(self.summary.get("best/epoch"))
        if self.keeps_best and best is None:
            ranks = [
                (-accuracy, loss, epoch)
                for epoch, accuracy, loss in zip(
                    self.epochs, self.curve("val/accuracy"), self.curve("val/loss"), strict=True
                )
                if accuracy is not None and loss is not None
            ]
            best = min(ranks)[2] if ranks else None
        return best if self.keeps_best and best is not None else self.epochs[-1]

    @property
    def part(self) -> str:
        """The samples that the run is judged by: test, or val where there is no test set."""
        return "test" if number(self.summary.get("test/accuracy")) is not None else "val"

    def score(self, key: str) -> float | None:
        """A figure of the summary, or of the kept epoch where there is none yet."""
        value = number(self.summary.get(key))
        if value is None and not self.summary and self.kept_epoch is not None:
            value = self.curve(key)[self.epochs.index(self.kept_epoch)]
        return value

    @cached_property
    def confusion(self) -> Counts | None:
        """Counts by true and predicted class; of a run under way, those of the last that it has."""
        judged = counts(self.summary.get("confusion_matrix"))
        if judged is None:
            found = (
                counts(record.get("val/confusion_matrix")) for record in reversed(self.history)
            )
            judged = next((each for each in found if each is not None), None)
        return judged if judged is not None and judged.sum() else None

    @property
    def classes(self) -> int:
        """How many classes there are."""
        if self.confusion is not None:
            return len(self.confusion)
        return 0 if self.predictions is None else self.predictions.probabilities.shape[1]

    @cached_property
    def names(self) -> list[str]:
        """A name for each class."""
        given = self.saved.class_names[: self.classes]
        return given + [str(each) for each in range(len(given), self.classes)]

    def class_scores(self, key: str) -> list[float | None]:
        """Precision, recall or F1 of each class."""
        given = self.summary.get(key)
        values = given if isinstance(given, list) else []
        return [number(each) for each in [*values, *[None] * self.classes][: self.classes]]

    @cached_property
    def mistakes(self) -> list[Finding]:
        """What is taken for what, most often first."""
        if self.confusion is None:
            return []
        found, totals = [], self.confusion.sum(axis=1).tolist()
        wrong = self.confusion * (1 - np.eye(self.classes, dtype=np.int64))
        for place in np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]:
            truth, predicted = divmod(int(place), self.classes)
            times = int(wrong[truth, predicted])
            found.append(Finding(truth, predicted, times, times / totals[truth]))
        return found

    @cached_property
    def _predictions(self) -> tuple[Predictions | None, str]:
        try:
            read = self.saved.predictions
        except Mistake as mistake:
            return None, without_folder(str(mistake), self.path)
        if read is None:
            return None, f"There is no {PREDICTIONS} in the folder: it is written when a run ends."
        if self.confusion is not None and read.probabilities.shape[1] != len(self.confusion):
            return None, f"{PREDICTIONS} is damaged: it has other classes than the run."
        return read, ""

    @property
    def predictions(self) -> Predictions | None:
        """What the kept weights say of the samples, if the run came so far."""
        return self._predictions[0]

    @property
    def no_predictions(self) -> str:
        """Why there are no predictions."""
        return self._predictions[1]

    @cached_property
    def weights(self) -> dict[str, Array]:
        """The weights that are kept; none where there is no whole checkpoint."""
        try:
            return checkpoint.weights(checkpoint.kept(self.path))
        except Mistake:
            return {}

    @cached_property
    def layers(self) -> list[LayerSummary]:
        """The input and the layers; none where they were not recorded or the file is damaged."""
        try:
            model = read_json(self.path, MODEL)
        except Mistake:
            return []
        given = model.get("layers")
        inputs = {"layer": "input", "output": model.get("input"), "parameters": 0}
        read = [_layer(each) for each in [inputs, *(given if isinstance(given, list) else [])]]
        whole = [layer for layer in read if layer is not None]
        return whole if len(whole) == len(read) > 1 else []

    @property
    def hidden(self) -> bool:
        """Whether there is a hidden layer, as far as can be told."""
        return sum(name.endswith(".weight") for name in self.weights) != 1

    @property
    def seconds(self) -> float | None:
        """How long the training took."""
        total = number(self.summary.get("seconds"))
        return total if total is not None else sum(known(self.curve("seconds"))) or None

    @property
    def repeat(self) -> str:
        """The command that repeats the run."""
        command = ["python", "scripts/train.py", f"repeat={short(self.path)}"]
        foreign = sorted(_packages(self.config) - {"nn"})
        return shell_line([*command, *([f"trust={','.join(foreign)}"] if foreign else [])])

    @property
    def lead(self) -> str:
        """The run in two sentences."""
        size = number(self.summary.get("parameters"))
        what = f"A network of {size:,.0f} parameters" if size else "A network"
        accuracy = self.score(f"{self.part}/accuracy")
        spent = f"in {fmt.count(len(self.epochs), 'epoch')}"
        if self.seconds is not None:
            spent += f" and {fmt.duration(self.seconds)}"
        if accuracy is None:
            return f"{what} was trained {spent}."
        reached = f"{what} came to {fmt.percent(accuracy)} {PARTS[self.part]} accuracy {spent}."
        if self.kept_epoch is None or not self.keeps_best:
            return reached
        return f"{reached} The weights of epoch {self.kept_epoch:,.0f} were kept."

    @property
    def notices(self) -> list[str]:
        """What a reader should know before the figures."""
        said = [ENDS.get(self.status, "") if self.summary else self._under_way()]
        if not self.history and _holds(self.path / "history.jsonl"):
            said.append("history.jsonl is damaged: there are no curves.")
        if not self.summary and _holds(self.path / "summary.json"):
            said.append("summary.json is damaged: scores are those of the history.")
        if "is damaged" in self.no_predictions:
            said.append(self.no_predictions)
        return [sentence for sentence in said if sentence]

    def _under_way(self) -> str:
        done = f"{len(self.epochs):,} of {fmt.figure(self.planned)} epochs"
        sentence = f"This run has no result yet; it is drawn as far as it got, {done}."
        try:
            when = datetime.fromtimestamp((self.path / "history.jsonl").stat().st_mtime)
        except OSError:
            return sentence
        return f"{sentence} Its history was last written at {when:%Y-%m-%d %H:%M:%S}."

    @property
    def confusing(self) -> str:
        """What is confused most, in a sentence or two."""
        if self.confusion is None:
            return ""
        total, wrong = int(self.confusion.sum()), sum(each.times for each in self.mistakes)
        if not wrong:
            return f"All {total:,} samples are right."
        first = self.mistakes[0]
        return (
            f"{wrong:,} of {total:,} samples are wrong. Most often {self.names[first.truth]} is "
            f"taken for {self.names[first.predicted]}: {fmt.count(first.times, 'time')}, "
            f"{fmt.percent(first.share, 1)} of its samples."
        )

    @property
    def learning(self) -> str:
        """How the training went, in a sentence or two."""
        losses = self.curve("val/loss")
        if len(known(losses)) < 2:
            return ""
        low = min(known(losses))
        when, last = self.epochs[losses.index(low)], known(losses)[-1]
        if last <= low * 1.02:
            return "Validation loss was still at its lowest when training ended."
        return (
            f"Validation loss was lowest in epoch {when:,.0f}, at {fmt.figure(low)}, "
            f"and ended at {fmt.figure(last)}."
        )


def _layer(given: Any) -> LayerSummary | None:
    """Take a layer as model.json describes it."""
    about = mapping(given)
    output, parameters = about.get("output"), about.get("parameters")
    if not isinstance(output, list) or not isinstance(parameters, int):
        return None
    if any(type(each) is not int or not 0 <= each < 2**53 for each in (*output, parameters)):
        return None
    return LayerSummary(str(about.get("layer")), output, parameters)


def _packages(config: Mapping[str, Any]) -> set[str]:
    """Name the packages whose classes a configuration asks for."""
    targets = (mapping(each).get("_target_") for each in config.values())
    return {str(target).partition(".")[0] for target in targets if target is not None}


def _holds(file: Path) -> bool:
    """Whether there is anything in a file."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def same_title(stories: Sequence[RunStory]) -> str | None:
    """Give the title that all of some runs have."""
    titles = {story.title for story in stories}
    return titles.pop() if len(titles) == 1 else None
