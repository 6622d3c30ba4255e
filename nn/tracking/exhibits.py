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
class Picture:
    """An image, height x width or height x width x 3, and what is said of it."""

    pixels: NDArray[np.uint8]
    caption: str


def confusion_cells(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Table:
    """A row for each pair of a true and a predicted class."""
    return Table(
        ["Actual", "Predicted", "nPredictions"],
        [
            [names[truth], names[predicted], count]
            for truth, counts in enumerate(confusion)
            for predicted, count in enumerate(counts)
        ],
    )


def confusion_counts(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Table:
    """A row for each true class, a column for each predicted one."""
    rows = [[name, *counts] for name, counts in zip(names, confusion, strict=True)]
    return Table(["true class", *names], rows)


def class_scores(summary: Mapping[str, Any], names: Sequence[str]) -> Table:
    """Precision, recall and F1 of each class, and how many samples it has."""
    columns = [summary[score] for score in ("precision", "recall", "f1")]
    samples = [sum(counts) for counts in summary["confusion_matrix"]]
    rows = zip(names, *columns, samples, strict=True)
    return Table(["class", "precision", "recall", "F1", "samples"], [list(row) for row in rows])


def examples(
    predictions: Predictions, names: Sequence[str], right: bool, most: int
) -> list[Picture]:
    """Some images with the class that is predicted, how surely, and the true one if it differs."""
    pictures = []
    for image, sample in predictions.examples(right, most):
        probabilities = predictions.probabilities[sample]
        predicted, truth = probabilities.argmax(), predictions.labels[sample]
        caption = f"{names[predicted]} ({probabilities[predicted]:.1%})"
        if predicted != truth:
            caption += f", is {names[truth]}"
        pixels = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
        pictures.append(Picture(pixels, caption))
    return pictures
