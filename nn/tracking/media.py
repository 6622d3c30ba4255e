"""A run's tables, pictures and model as W&B shows them, with the client that it is handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.predictions import Predictions


class MediaBuilder:
    """Makes what W&B shows of a run beside its curves."""

    def __init__(self, wandb: Any, class_names: Sequence[str]) -> None:
        self.wandb, self.class_names = wandb, class_names

    def build_history_row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """An epoch's line of history, with its confusion matrix as a chart."""
        row = {key: value for key, value in record.items() if value is not None}
        confusion_matrix = row.pop("val/confusion_matrix", None)
        if confusion_matrix:
            row["val/confusion_matrix"] = self._confusion_chart("val", confusion_matrix)
        return row

    def build_result_media(
        self, summary: Mapping[str, Any], predictions: Predictions | None, num_examples: int
    ) -> dict[str, Any]:
        """What there is to show at the end of a run."""
        media: dict[str, Any] = {}
        if "precision" in summary:
            split = "test" if summary["test/accuracy"] is not None else "val"
            confusion_matrix = summary["confusion_matrix"]
            counts_table = wide_confusion_table(confusion_matrix, self.class_names)
            report_table = classification_report(summary, self.class_names)
            media[f"{split}/confusion_matrix"] = self._confusion_chart(split, confusion_matrix)
            media[f"{split}/confusion_counts"] = self._wandb_table(counts_table)
            media[f"{split}/classes"] = self._wandb_table(report_table)
        if predictions and predictions.has_images:
            for name in ("right", "wrong"):
                examples = select_example_images(
                    predictions, self.class_names, name == "right", num_examples
                )
                images = [self.wandb.Image(each.pixels, caption=each.caption) for each in examples]
                if images:
                    media[f"examples/{name}"] = images
        return media

    def build_model_artifact(
        self, name: str, checkpoint_path: Path, metadata: Mapping[str, Any]
    ) -> Any:
        """The checkpoint of the kept weights as an artifact."""
        artifact = self.wandb.Artifact(name, "model", metadata=dict(metadata))
        artifact.add_file(
            str(checkpoint_path), "model.safetensors", skip_cache=True, policy="mutable"
        )
        return artifact

    def _confusion_chart(self, split: str, confusion_matrix: Sequence[Sequence[int]]) -> Any:
        """W&B's own confusion matrix, of counts."""
        cells = long_confusion_table(confusion_matrix, self.class_names)
        return self.wandb.plot_table(
            "wandb/confusion_matrix/v1",
            self._wandb_table(cells),
            {column: column for column in cells.columns},
            {"title": f"Confusion matrix ({split})"},
        )

    def _wandb_table(self, table: Table) -> Any:
        return self.wandb.Table(columns=table.columns, data=table.rows)


@dataclass(frozen=True)
class Table:
    """Rows of plain values under named columns."""

    columns: list[str]
    rows: list[list[Any]]


@dataclass(frozen=True)
class CaptionedImage:
    """An image, height x width or height x width x 3, and what is said of it."""

    pixels: NDArray[np.uint8]
    caption: str


def long_confusion_table(
    confusion_matrix: Sequence[Sequence[int]], class_names: Sequence[str]
) -> Table:
    """A row for each pair of a true and a predicted class."""
    return Table(
        ["Actual", "Predicted", "nPredictions"],
        [
            [class_names[truth], class_names[predicted], count]
            for truth, counts in enumerate(confusion_matrix)
            for predicted, count in enumerate(counts)
        ],
    )


def wide_confusion_table(
    confusion_matrix: Sequence[Sequence[int]], class_names: Sequence[str]
) -> Table:
    """A row for each true class, a column for each predicted one."""
    rows = [[name, *counts] for name, counts in zip(class_names, confusion_matrix, strict=True)]
    return Table(["true class", *class_names], rows)


def classification_report(summary: Mapping[str, Any], class_names: Sequence[str]) -> Table:
    """Precision, recall and F1 of each class, and how many samples it has."""
    metric_columns = [summary[score] for score in ("precision", "recall", "f1")]
    samples = [sum(counts) for counts in summary["confusion_matrix"]]
    rows = zip(class_names, *metric_columns, samples, strict=True)
    return Table(["class", "precision", "recall", "F1", "samples"], [list(row) for row in rows])


def select_example_images(
    predictions: Predictions, class_names: Sequence[str], correct: bool, max_images: int
) -> list[CaptionedImage]:
    """Some images with the class that is predicted, how surely, and the true one if it differs."""
    images = []
    for image, sample in predictions.examples(correct, max_images):
        probabilities = predictions.probabilities[sample]
        predicted_class, true_class = probabilities.argmax(), predictions.labels[sample]
        caption = f"{class_names[predicted_class]} ({probabilities[predicted_class]:.1%})"
        if predicted_class != true_class:
            caption += f", is {class_names[true_class]}"
        pixels = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
        images.append(CaptionedImage(pixels, caption))
    return images
