"""W&B media of a run: charts, tables, example images and the model artifact.

The wandb module is passed in, so that only one file imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.predictions import Predictions


class MediaBuilder:
    """Builds the W&B objects of a run other than plain metrics."""

    def __init__(self, wandb: Any, class_names: Sequence[str]) -> None:
        self.wandb, self.class_names = wandb, class_names

    def build_history_row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return an epoch's record for `Run.log`, with its confusion matrix as a chart."""
        row = {key: value for key, value in record.items() if value is not None}
        confusion_matrix = row.pop("val/confusion_matrix", None)
        if confusion_matrix:
            row["val/confusion_matrix"] = self._confusion_chart("val", confusion_matrix)
        return row

    def build_result_media(
        self, summary: Mapping[str, Any], predictions: Predictions | None, num_examples: int
    ) -> dict[str, Any]:
        """Return the charts, tables and images of the result, by their keys in W&B."""
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
                images = [
                    self.wandb.Image(image.pixels, caption=image.caption) for image in examples
                ]
                if images:
                    media[f"examples/{name}"] = images
        return media

    def build_model_artifact(
        self, name: str, checkpoint_path: Path, metadata: Mapping[str, Any]
    ) -> Any:
        """Return an artifact that contains the checkpoint of the selected weights."""
        artifact = self.wandb.Artifact(name, "model", metadata=dict(metadata))
        artifact.add_file(
            str(checkpoint_path), "model.safetensors", skip_cache=True, policy="mutable"
        )
        return artifact

    def _confusion_chart(self, split: str, confusion_matrix: Sequence[Sequence[int]]) -> Any:
        """Return a chart of W&B's preset for confusion matrices."""
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
    """An image, height x width or height x width x 3, with a caption."""

    pixels: NDArray[np.uint8]
    caption: str


def long_confusion_table(
    confusion_matrix: Sequence[Sequence[int]], class_names: Sequence[str]
) -> Table:
    """Return a row per pair of true and predicted class, under the column names of W&B's preset."""
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
    """Return a row per true class with a column per predicted class."""
    rows = [[name, *counts] for name, counts in zip(class_names, confusion_matrix, strict=True)]
    return Table(["true class", *class_names], rows)


def classification_report(summary: Mapping[str, Any], class_names: Sequence[str]) -> Table:
    """Return precision, recall, F1 and number of samples of each class."""
    metric_columns = [summary[metric] for metric in ("precision", "recall", "f1")]
    num_samples = [sum(counts) for counts in summary["confusion_matrix"]]
    rows = zip(class_names, *metric_columns, num_samples, strict=True)
    return Table(["class", "precision", "recall", "F1", "samples"], [list(row) for row in rows])


def select_example_images(
    predictions: Predictions, class_names: Sequence[str], correct: bool, max_images: int
) -> list[CaptionedImage]:
    """Select the most confident correct or incorrect predictions.

    The caption names the predicted class with its probability, and the true class if it differs.
    """
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
