"""The pictures of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report import images
from nn.report.axes import NAMED
from nn.report.coerce import known
from nn.report.confusion import WRITTEN
from nn.report.grid import Shown, grid
from nn.report.pictures import BLUE, GREY, INK, MUTED, ORANGE, new_figure
from nn.report.run_data import RunStory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = 24
"""Predictions that are shown, half of them wrong if there are so many."""


def of_run(story: RunStory) -> Iterator[tuple[str, Figure]]:
    """Draw what there is of a run."""
    if known(story.curve("train/loss")):
        yield "curves", _curves(story)
    if story.confusion is not None:
        yield "confusion", _confusion(story)
    if story.predictions is not None and story.predictions.drawable:
        yield "predictions", _predictions(story)


def _curves(story: RunStory) -> Figure:
    """Loss and accuracy side by side, the kept epoch marked."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = new_figure(7.2, 2.6)
    for place, (plot, what) in enumerate(
        zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True)
    ):
        for part, ink in (("train", GREY), ("val", BLUE)):
            values = story.curve(f"{part}/{what}")
            if known(values):
                drawn = [np.nan if value is None else value for value in values]
                called = {"train": "training", "val": "validation"}[part]
                mark = "o" if len(drawn) == 1 else None
                plot.plot(story.epochs, drawn, color=ink, linewidth=1.6, label=called, marker=mark)
        if story.kept_epoch is not None and len(story.epochs) > 1:
            plot.axvline(story.kept_epoch, color=MUTED, linestyle=":", linewidth=1)
        plot.set(title=what.capitalize(), xlabel="epoch")
        plot.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if place:
            plot.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
            plot.legend(loc="lower right")
    return figure


def _confusion(story: RunStory) -> Figure:
    """Right ones on the diagonal in blue, mistakes in orange, both by share of the row."""
    from matplotlib.colors import LinearSegmentedColormap

    assert story.confusion is not None
    matrix, names = story.confusion, [fmt.clipped(name, 14) for name in story.names]
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
    if len(matrix) <= WRITTEN:
        for (truth, predicted), count in np.ndenumerate(matrix):
            if count:
                right = truth == predicted
                dark = (
                    shares[truth, predicted] > 0.55
                    if right
                    else wrong[truth, predicted] > 0.6 * most
                )
                ink = "white" if dark else INK
                plot.text(
                    predicted, truth, f"{count:,}", ha="center", va="center", color=ink, size=7
                )
    every = -(-len(names) // NAMED)
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


def _predictions(story: RunStory) -> Figure:
    """The most confidently wrong samples, and right ones."""
    read = story.predictions
    assert read is not None
    wrong = read.examples(right=False, most=GRID // 2)
    examples = [*wrong, *read.examples(right=True, most=GRID - len(wrong))]
    return grid([_shown(read, story.names, image, sample) for image, sample in examples])


def _shown(read: Predictions, names: Sequence[str], image: images.Pixels, sample: int) -> Shown:
    probabilities = read.probabilities[sample]
    guess = int(probabilities.argmax())
    return Shown(image, names[guess], float(probabilities[guess]), names[read.labels[sample]])
