"""Image grid with predicted class and confidence, errors outlined."""

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
    """An image (channels, height, width) with its prediction."""

    image: images.Pixels
    predicted_class: str
    confidence: float
    true_class: str | None
    name: str = ""


def draw_image_grid(grid_images: Sequence[GridImage]) -> Figure:
    """Draw images in rows of `NUM_COLUMNS`; errors are outlined and show the true class."""
    rows = -(-len(grid_images) // NUM_COLUMNS)
    has_names = any(image.name for image in grid_images)
    figure = new_figure(7.2, (1.06 if has_names else 0.98) * rows + 0.05)
    plots = np.atleast_1d(figure.subplots(rows, NUM_COLUMNS)).ravel()
    for plot in plots:
        plot.set(xticks=[], yticks=[])
        plot.spines[:].set_visible(False)
    for plot, image in zip(plots, grid_images, strict=False):
        text = fmt.truncate(image.predicted_class, 11)
        is_wrong = image.true_class not in (None, image.predicted_class)
        if is_wrong:
            text += f"\nis {fmt.truncate(str(image.true_class), 9)}"
        plot.imshow(images.to_thumbnail(image.image), cmap="gray", vmin=0, vmax=255)
        plot.spines[:].set(visible=is_wrong, color=ORANGE, linewidth=1.6)
        plot.set_xlabel(fmt.truncate(image.name, 14), size=5, labelpad=2)
        plot.set_title(
            f"{text}\n{fmt.confidence(image.confidence)}",
            size=6,
            weight="normal",
            loc="center",
            pad=2,
            color=ORANGE if is_wrong else TEXT_COLOR,
        )
    return figure
