"""A picture of images with what is predicted of each, and how surely; wrong ones are marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nn.report import formatting as fmt
from nn.report import images
from nn.report.pictures import INK, ORANGE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 12


@dataclass(frozen=True)
class Shown:
    """An image (channels, height, width) and what is said of it."""

    image: images.Pixels
    guess: str
    confidence: float
    truth: str | None
    name: str = ""


def grid(shown: Sequence[Shown]) -> Figure:
    """Draw all of them in rows."""
    rows = -(-len(shown) // COLUMNS)
    named = any(each.name for each in shown)
    figure = new_figure(7.2, (1.06 if named else 0.98) * rows + 0.05)
    plots = np.atleast_1d(figure.subplots(rows, COLUMNS)).ravel()
    for plot in plots:
        plot.set(xticks=[], yticks=[])
        plot.spines[:].set_visible(False)
    for plot, each in zip(plots, shown, strict=False):
        text, wrong = fmt.clipped(each.guess, 11), each.truth not in (None, each.guess)
        if wrong:
            text += f"\nis {fmt.clipped(str(each.truth), 9)}"
        plot.imshow(images.shown(each.image), cmap="gray", vmin=0, vmax=255)
        plot.spines[:].set(visible=wrong, color=ORANGE, linewidth=1.6)
        plot.set_xlabel(fmt.clipped(each.name, 14), size=5, labelpad=2)
        plot.set_title(f"{text}\n{fmt.confidence(each.confidence)}", size=6, weight="normal",
                       loc="center", pad=2, color=ORANGE if wrong else INK)  # fmt: skip
    return figure
