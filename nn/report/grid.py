"""A picture of images with what is predicted of each, and how surely; wrong ones are marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nn.report import formatting as fmt
from nn.report import images
from nn.report.pictures import ORANGE, TEXT_COLOR, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_COLUMNS = 12


@dataclass(frozen=True)
class GridImage:
    """An image (channels, height, width) and what is said of it."""

    image: images.Pixels
    predicted_class: str
    confidence: float
    true_class: str | None
    name: str = ""


def draw_image_grid(grid_images: Sequence[GridImage]) -> Figure:
    """Draw all of them in rows."""
    rows = -(-len(grid_images) // NUM_COLUMNS)
    named = any(each.name for each in grid_images)
    figure = new_figure(7.2, (1.06 if named else 0.98) * rows + 0.05)
    plots = np.atleast_1d(figure.subplots(rows, NUM_COLUMNS)).ravel()
    for plot in plots:
        plot.set(xticks=[], yticks=[])
        plot.spines[:].set_visible(False)
    for plot, each in zip(plots, grid_images, strict=False):
        text, wrong = (
            fmt.truncate(each.predicted_class, 11),
            each.true_class not in (None, each.predicted_class),
        )
        if wrong:
            text += f"\nis {fmt.truncate(str(each.true_class), 9)}"
        plot.imshow(images.to_thumbnail(each.image), cmap="gray", vmin=0, vmax=255)
        plot.spines[:].set(visible=wrong, color=ORANGE, linewidth=1.6)
        plot.set_xlabel(fmt.truncate(each.name, 14), size=5, labelpad=2)
        plot.set_title(f"{text}\n{fmt.confidence(each.confidence)}", size=6, weight="normal",
                       loc="center", pad=2, color=ORANGE if wrong else TEXT_COLOR)  # fmt: skip
    return figure
