"""Tables and example images of a run, which are logged to W&B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from nn.io.records import Summary
from nn.predictions import Predictions


@dataclass(frozen=True)
class Table:
    """Rows of plain values under named columns."""

    columns: list[str]
    rows: list[list[JsonValue]]


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
    rows: list[list[JsonValue]] = [
        [name, *counts] for name, counts in zip(class_names, confusion_matrix, strict=True)
    ]
    return Table(["true class", *class_names], rows)


def classification_report(summary: Summary, class_names: Sequence[str]) -> Table:
    """Return precision, recall, F1 and number of samples of each class."""
    precision, recall, f1 = summary["precision"], summary["recall"], summary["f1"]
    num_samples = [sum(counts) for counts in summary["confusion_matrix"] or ()]
    columns = zip(class_names, precision, recall, f1, num_samples, strict=True)
    rows: list[list[JsonValue]] = [[name, p, r, f, n] for name, p, r, f, n in columns]
    return Table(["class", "precision", "recall", "F1", "samples"], rows)


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
