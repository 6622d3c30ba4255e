"""Predictions as a CSV file, an image grid and a text summary."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nn.data.input_spec import InputSpec
from nn.predict.inputs import InputBatch
from nn.report import formatting as fmt
from nn.types import Array, Labels

MAX_LISTED_SAMPLES = 24
"""Samples up to which the summary lists each; above, it counts them by class."""
MAX_GRID_IMAGES = 60
"""Images in one grid."""


@dataclass(frozen=True)
class PredictionResults:
    """Predicted class probabilities of a batch of inputs."""

    batch: InputBatch
    input_spec: InputSpec
    probabilities: Array  # samples x classes

    @cached_property
    def predicted_labels(self) -> Labels:
        """Most probable class of each sample."""
        labels: Labels = self.probabilities.argmax(axis=1)
        return labels

    def to_csv(self, with_probabilities: bool) -> bytes:
        """Format as CSV: labels by file name, or else as Kaggle's Digit Recognizer expects them."""
        name_column = "File" if self.batch.has_file_names else "ImageId"
        class_columns = self.input_spec.class_names if with_probabilities else ()
        lines = [_format_csv_row([name_column, "Label", *class_columns])]
        probabilities = self.probabilities[:, : len(class_columns)].tolist()
        for name, label, row in zip(
            self.batch.names, self.predicted_labels.tolist(), probabilities, strict=True
        ):
            cells = [f"{probability:.6g}" for probability in row]
            lines.append(_format_csv_row([name, str(label), *cells]))
        return "".join(lines).encode()

    def to_png(self, start: int) -> bytes:
        """Draw a grid of images with their predictions, from index `start`."""
        from nn.report.png import GridImage, render_image_grid  # slow: Matplotlib

        spec, names, labels = self.input_spec, self.input_spec.class_names, self.batch.labels
        scale, grid_images = 255 / ((spec.high - spec.low) or 1.0), []
        for sample in range(start, min(start + MAX_GRID_IMAGES, len(self.batch))):
            gray_levels = (self.batch.samples[sample] - spec.low) * scale
            predicted = int(self.predicted_labels[sample])
            grid_images.append(
                GridImage(
                    np.clip(gray_levels, 0, 255).round().astype(np.uint8),
                    names[predicted],
                    float(self.probabilities[sample, predicted]),
                    None if labels is None else names[labels[sample]],
                    Path(self.batch.names[sample]).name,
                )
            )
        return render_image_grid(grid_images)

    def summary_lines(self) -> Iterator[str]:
        """Yield the notes, the predictions by sample or by class, and the accuracy if known."""
        names, true_labels = self.input_spec.class_names, self.batch.labels
        yield from self.batch.notes
        if len(self.batch) <= MAX_LISTED_SAMPLES:
            for sample, predicted in enumerate(self.predicted_labels.tolist()):
                confidence = fmt.confidence(float(self.probabilities[sample, predicted]))
                label = predicted if true_labels is None else true_labels[sample]
                correction = "" if label == predicted else f", is {names[label]}"
                yield f"{self.batch.names[sample]}: {names[predicted]} ({confidence}){correction}"
        else:
            counts = np.bincount(self.predicted_labels, minlength=len(names))
            class_counts = ", ".join(
                f"{name} {fmt.count(count)}" for name, count in zip(names, counts, strict=True)
            )
            yield f"{fmt.count(len(self.batch))} samples: {class_counts}"
        if true_labels is not None:
            num_correct = int((self.predicted_labels == true_labels).sum())
            accuracy = fmt.percent(num_correct / len(true_labels))
            yield f"accuracy {accuracy}: {num_correct:,} of {fmt.count(len(true_labels), 'sample')}"


def _format_csv_row(cells: Sequence[str]) -> str:
    """Format a row with a Unix line end, and quote cells that contain a part of a Windows one.

    The writer is given the Windows line end because it quotes the characters of its terminator.
    """
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"
