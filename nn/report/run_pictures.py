"""The pictures of a run."""

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
from nn.report.run_data import RunData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_GRID_IMAGES = 24
"""Predictions that are shown, half of them wrong if there are so many."""


def draw_run_figures(run: RunData) -> Iterator[tuple[str, Figure]]:
    """Draw what there is of a run."""
    if drop_none(run.curve("train/loss")):
        yield "curves", _draw_learning_curves(run)
    if run.confusion_matrix is not None:
        yield "confusion", _draw_confusion_matrix(run)
    if run.predictions is not None and run.predictions.has_images:
        yield "predictions", _draw_predictions(run)


def _draw_learning_curves(run: RunData) -> Figure:
    """Loss and accuracy side by side, the kept epoch marked."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = new_figure(7.2, 2.6)
    for place, (plot, what) in enumerate(
        zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True)
    ):
        for part, ink in (("train", GRAY), ("val", BLUE)):
            values = run.curve(f"{part}/{what}")
            if drop_none(values):
                drawn = [np.nan if value is None else value for value in values]
                called = {"train": "training", "val": "validation"}[part]
                mark = "o" if len(drawn) == 1 else None
                plot.plot(run.epochs, drawn, color=ink, linewidth=1.6, label=called, marker=mark)
        if run.selected_epoch is not None and len(run.epochs) > 1:
            plot.axvline(run.selected_epoch, color=MUTED_COLOR, linestyle=":", linewidth=1)
        plot.set(title=what.capitalize(), xlabel="epoch")
        plot.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if place:
            plot.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
            plot.legend(loc="lower right")
    return figure


def _draw_confusion_matrix(run: RunData) -> Figure:
    """Right ones on the diagonal in blue, mistakes in orange, both by share of the row."""
    from matplotlib.colors import LinearSegmentedColormap

    assert run.confusion_matrix is not None
    matrix, names = run.confusion_matrix, [fmt.truncate(name, 14) for name in run.class_names]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(matrix), dtype=bool)
    side = float(np.clip(0.42 * len(matrix) + 1.2, 3.2, 8.0))
    figure = new_figure(side, side)
    plot = figure.subplots()
    wrong = np.sqrt(shares)
    most = wrong[~diagonal].max(initial=0.0) or 1.0
    for hidden, values, top, ink in (
        (~diagonal, shares, 1.0, BLUE),
        (diagonal, wrong, most, ORANGE),
    ):
        colours = LinearSegmentedColormap.from_list("", ["#f4f0e8", ink])
        plot.imshow(np.ma.masked_where(hidden, values), cmap=colours, vmin=0, vmax=top)
    if len(matrix) <= MAX_ANNOTATED_CLASSES:
        for (truth, predicted), count in np.ndenumerate(matrix):
            if count:
                right = truth == predicted
                dark = (
                    shares[truth, predicted] > 0.55
                    if right
                    else wrong[truth, predicted] > 0.6 * most
                )
                ink = "white" if dark else TEXT_COLOR
                plot.text(
                    predicted, truth, f"{count:,}", ha="center", va="center", color=ink, size=7
                )
    every = -(-len(names) // MAX_NAMED_CLASSES)
    places, long = range(0, len(names), every), max(map(len, names)) > 3
    plot.set_xticks(
        places, names[::every], rotation=45 if long else 0, ha="right" if long else "center"
    )
    plot.set_yticks(places, names[::every])
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
    """The most confidently wrong samples, and right ones."""
    read = run.predictions
    assert read is not None
    wrong = read.examples(correct=False, max_examples=NUM_GRID_IMAGES // 2)
    examples = [*wrong, *read.examples(correct=True, max_examples=NUM_GRID_IMAGES - len(wrong))]
    return draw_image_grid(
        [_to_grid_image(read, run.class_names, image, sample) for image, sample in examples]
    )


def _to_grid_image(
    predictions: Predictions, names: Sequence[str], image: images.Pixels, sample: int
) -> GridImage:
    probabilities = predictions.probabilities[sample]
    guess = int(probabilities.argmax())
    return GridImage(
        image, names[guess], float(probabilities[guess]), names[predictions.labels[sample]]
    )
