"""What a network says of samples, as a file of labels, a picture and words on the screen."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nn.data.input_spec import Inputs
from nn.predict.inputs import Given
from nn.report import formatting as fmt
from nn.report.grid import Shown, grid
from nn.report.pictures import encoded
from nn.types import Array, Labels

LISTED = 24
"""As many samples are told one by one; of more, how many there are of each class."""
PICTURED = 60
"""Images in a picture."""


@dataclass(frozen=True)
class Predicted:
    """The probabilities of the classes for each sample."""

    given: Given
    inputs: Inputs
    probabilities: Array  # samples x classes

    @cached_property
    def labels(self) -> Labels:
        """The most probable class of each sample."""
        labels: Labels = self.probabilities.argmax(axis=1)
        return labels

    def table(self, with_probabilities: bool) -> bytes:
        """Write the labels beside file names, or else as Kaggle's Digit Recognizer takes them."""
        more = self.inputs.class_names if with_probabilities else ()
        lines = [_csv_line("File" if self.given.are_files else "ImageId", "Label", *more)]
        for sample, (name, label) in enumerate(
            zip(self.given.names, self.labels.tolist(), strict=True)
        ):
            shares = self.probabilities[sample].tolist() if with_probabilities else []
            lines.append(_csv_line(name, label, *(f"{share:.6g}" for share in shares)))
        return "".join(lines).encode()

    def picture(self, start: int) -> bytes:
        """Draw a grid of images, from one of them on."""
        truth, span = self.given.labels, (self.inputs.high - self.inputs.low) or 1.0
        names, shown = self.inputs.class_names, []
        for sample in range(start, min(start + PICTURED, len(self.given))):
            levels = (self.given.images[sample] - self.inputs.low) * (255 / span)
            guess = int(self.labels[sample])
            shown.append(
                Shown(
                    np.clip(levels, 0, 255).round().astype(np.uint8),
                    names[guess],
                    float(self.probabilities[sample, guess]),
                    None if truth is None else names[truth[sample]],
                    Path(self.given.names[sample]).name,
                )
            )
        return encoded(lambda: grid(shown))

    def told(self) -> Iterator[str]:
        """Say what there is, sample by sample or class by class, and how much of it is right."""
        names, truth = self.inputs.class_names, self.given.labels
        yield from self.given.notes
        if len(self.given) <= LISTED:
            for sample, (name, guess) in enumerate(
                zip(self.given.names, self.labels.tolist(), strict=True)
            ):
                sure = fmt.confidence(float(self.probabilities[sample, guess]))
                wrong = truth is not None and truth[sample] != guess
                is_other = f", is {names[truth[sample]]}" if truth is not None and wrong else ""
                yield f"{name}: {names[guess]} ({sure}){is_other}"
        else:
            counts = np.bincount(self.labels, minlength=len(names))
            each = ", ".join(
                f"{name} {fmt.count(count)}" for name, count in zip(names, counts, strict=True)
            )
            yield f"{fmt.count(len(self.given))} samples: {each}"
        if truth is not None:
            right = int((self.labels == truth).sum())
            share = fmt.percent(right / len(truth))
            yield f"accuracy {share}: {right:,} of {fmt.count(len(truth), 'sample')}"


def _csv_line(*cells: object) -> str:
    """Write a row that ends as in Unix; either half of a Windows line end in a cell is quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"
