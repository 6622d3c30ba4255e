"""Matplotlib figures of a run, for papers and READMEs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report import images
from nn.report.axes import MAX_NAMED_CLASSES
from nn.report.coerce import drop_none
from nn.report.confusion import MAX_ANNOTATED_CLASSES
from nn.report.grid import GridImage, draw_image_grid
from nn.report.pictures import BLUE, GRAY, MUTED_COLOR, ORANGE, TEXT_COLOR, new_figure
from nn.report.run_data import SPLITS, RunData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_GRID_IMAGES = 24
"""Predictions in the image grid, up to half of them misclassified."""


def draw_run_figures(run: RunData) -> Iterator[tuple[str, Figure]]:
    """Yield each available figure with its file name: curves, confusion, predictions."""
    if drop_none(run.curve("train/loss")):
        yield "curves", _draw_learning_curves(run)
    if run.confusion_matrix is not None:
        yield "confusion", _draw_confusion_matrix(run)
    if run.predictions is not None and run.predictions.has_images:
        yield "predictions", _draw_predictions(run)


def _draw_learning_curves(run: RunData) -> Figure:
    """Draw loss and accuracy side by side, with the selected epoch marked."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = new_figure(7.2, 2.6)
    for plot, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, color in (("train", GRAY), ("val", BLUE)):
            values = run.curve(f"{split}/{metric}")
            if drop_none(values):
                y = [np.nan if value is None else value for value in values]
                marker = "o" if len(y) == 1 else None
                label = SPLITS[split]
                plot.plot(run.epochs, y, color=color, linewidth=1.6, label=label, marker=marker)
        if run.selected_epoch is not None and len(run.epochs) > 1:
            plot.axvline(run.selected_epoch, color=MUTED_COLOR, linestyle=":", linewidth=1)
        plot.set(title=metric.capitalize(), xlabel="epoch")
        plot.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if metric == "accuracy":
            plot.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
            plot.legend(loc="lower right")
    return figure


def _draw_confusion_matrix(run: RunData) -> Figure:
    """Draw counts, colored by their fraction of the row: blue on the diagonal, orange off it."""
    from matplotlib.colors import LinearSegmentedColormap

    assert run.confusion_matrix is not None
    matrix, names = run.confusion_matrix, [fmt.truncate(name, 14) for name in run.class_names]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(matrix), dtype=bool)
    side = float(np.clip(0.42 * len(matrix) + 1.2, 3.2, 8.0))
    figure = new_figure(side, side)
    plot = figure.subplots()
    errors = np.sqrt(shares)  # the square root tells small fractions apart
    max_error = errors[~diagonal].max(initial=0.0) or 1.0
    for hidden, values, vmax, color in (
        (~diagonal, shares, 1.0, BLUE),
        (diagonal, errors, max_error, ORANGE),
    ):
        cmap = LinearSegmentedColormap.from_list("", ["#f4f0e8", color])
        plot.imshow(np.ma.masked_where(hidden, values), cmap=cmap, vmin=0, vmax=vmax)
    if len(matrix) <= MAX_ANNOTATED_CLASSES:
        for (truth, predicted), count in np.ndenumerate(matrix):
            if count:
                is_dark = (
                    shares[truth, predicted] > 0.55
                    if truth == predicted
                    else errors[truth, predicted] > 0.6 * max_error
                )
                color = "white" if is_dark else TEXT_COLOR
                plot.text(
                    predicted, truth, f"{count:,}", ha="center", va="center", color=color, size=7
                )
    step = -(-len(names) // MAX_NAMED_CLASSES)
    ticks, is_long = range(0, len(names), step), max(map(len, names)) > 3
    plot.set_xticks(
        ticks, names[::step], rotation=45 if is_long else 0, ha="right" if is_long else "center"
    )
    plot.set_yticks(ticks, names[::step])
    plot.set(xlabel="predicted", ylabel="true")
    plot.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    plot.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    plot.grid(visible=False)
    plot.grid(which="minor", axis="both", color="white", linewidth=1)
    plot.tick_params(which="minor", length=0)
    for spine in plot.spines.values():
        spine.set_visible(False)
    return figure


def _draw_predictions(run: RunData) -> Figure:
    """Draw the most confident errors followed by correctly classified samples."""
    predictions = run.predictions
    assert predictions is not None
    wrong = predictions.examples(correct=False, max_examples=NUM_GRID_IMAGES // 2)
    correct = predictions.examples(correct=True, max_examples=NUM_GRID_IMAGES - len(wrong))
    return draw_image_grid(
        [
            _to_grid_image(predictions, run.class_names, image, sample)
            for image, sample in [*wrong, *correct]
        ]
    )


def _to_grid_image(
    predictions: Predictions, names: Sequence[str], image: images.Pixels, sample: int
) -> GridImage:
    probabilities = predictions.probabilities[sample]
    predicted = int(probabilities.argmax())
    return GridImage(
        image, names[predicted], float(probabilities[predicted]), names[predictions.labels[sample]]
    )
