"""Matplotlib style and PNG rendering of figures for papers and READMEs."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT_COLOR, MUTED_COLOR, GRID_COLOR = "#1f1c18", "#6a6359", "#e2dccf"
BLUE, ORANGE, GRAY = "#0b5c8a", "#c4521a", "#8a94a3"
RC_PARAMS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "text.color": TEXT_COLOR,
    "text.parse_math": False,  # class and parameter names may contain $
    "axes.edgecolor": GRID_COLOR,
    "axes.labelcolor": MUTED_COLOR,
    "axes.titlesize": 9.5,
    "axes.titleweight": "semibold",
    "axes.titlelocation": "left",
    "axes.titlecolor": TEXT_COLOR,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID_COLOR,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED_COLOR,
    "ytick.color": MUTED_COLOR,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}
MAX_PNG_COLORS = 128
"""Palette size of a PNG: enough for the few colors of a figure and their antialiasing."""


def render_pngs(
    draw_figures: Callable[[], Iterator[tuple[str, Figure]]], folder: Path
) -> Iterator[tuple[Path, bytes]]:
    """Render figures to PNGs, each with its path in a directory."""
    with _rc_context():
        for name, figure in draw_figures():
            yield folder / f"{name}.png", _to_png(figure)


def render_png(draw_figure: Callable[[], Figure]) -> bytes:
    """Render one figure to PNG."""
    with _rc_context():
        return _to_png(draw_figure())


@contextmanager
def _rc_context() -> Iterator[None]:
    import matplotlib as mpl

    # Not worth a message: fonts that are not installed, and building the font cache.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with mpl.rc_context(RC_PARAMS):
        yield


def _to_png(figure: Figure) -> bytes:
    """Encode a figure as a small PNG: reduced to a palette, then optimized."""
    from PIL import Image

    raw, optimized = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", facecolor="white", bbox_inches="tight", pad_inches=0.12)
    image = (
        Image.open(raw).convert("RGB").quantize(MAX_PNG_COLORS, kmeans=2, dither=Image.Dither.NONE)
    )
    image.save(optimized, "PNG", optimize=True)
    return optimized.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Create a figure of the given size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
