"""What is shown of a run beside its curves, as plain tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.predictions import Predictions


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
