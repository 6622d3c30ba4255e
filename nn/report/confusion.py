"""A confusion matrix: the right ones on its diagonal in one colour, mistakes in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nn.report import formatting as fmt
from nn.report.axes import class_axis
from nn.report.chart import Chart, View, escape_label
from nn.report.coerce import drop_none
from nn.report.palette import colorscale, theme_color
from nn.types import IntArray

MAX_ANNOTATED_CLASSES = 16
"""Classes up to which a confusion matrix has its numbers written into it."""


def plot_confusion_matrix(name: str, title: str, matrix: IntArray, names: Sequence[str]) -> Chart:
    """Counts and row shares: the right ones on the diagonal in one colour, mistakes in another."""
    classes = len(names)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    diagonal = np.eye(classes, dtype=bool)
    hover = [
        [
            f"{escape_label(truth)} taken for {escape_label(predicted)}<br>"
            f"<b>{count:,}</b> of {total:,}, {fmt.percent(share, 1)}"
            for predicted, count, share in zip(names, row, portions, strict=True)
        ]
        for truth, row, portions, (total,) in zip(
            names, matrix.tolist(), shares.tolist(), totals.tolist(), strict=True
        )
    ]
    common = {"type": "heatmap", "xgap": 1, "ygap": 1, "showscale": False, "hoverinfo": "text"}
    right, wrong = (
        _mask_cells(shares, diagonal),
        _mask_cells(np.sqrt(shares), ~diagonal & (matrix > 0)),
    )
    empty = _mask_cells(
        0 * shares, ~diagonal & (matrix == 0)
    )  # hovered over where there is no colour
    most = max(drop_none([cell for row in wrong for cell in row]), default=1.0)
    traces = [
        {
            **common,
            "z": z,
            "zmin": 0,
            "zmax": top,
            "text": hover,
            "colorscale": colorscale("cell", ink),
        }
        for z, top, ink in ((right, 1.0, "right"), (wrong, most, "wrong"), (empty, 1.0, "cell"))
    ]
    views = []
    if classes <= MAX_ANNOTATED_CLASSES:
        written = {
            "Counts": [[f"{each:,}" if each else "" for each in row] for row in matrix.tolist()],
            "Row shares": [
                [f"{100 * each:.1f}" if each else "" for each in row] for row in shares.tolist()
            ],
        }
        views = [
            View(called, layout={"annotations": _cell_annotations(texts, shares, most)})
            for called, texts in written.items()
        ]
    axis = class_axis(names)
    return Chart(
        name,
        title,
        f"Confusion matrix of {classes} classes: {int(matrix.trace()):,} of {int(matrix.sum()):,} "
        "samples are on its diagonal. The table of classes has the same figures.",
        traces,
        {
            "xaxis": {**axis, "title": {"text": "predicted"}, "side": "top"},
            "yaxis": {**axis, "title": {"text": "true"}, "autorange": "reversed"},
            "hovermode": "closest",
        },
        height=int(np.clip(120 + 36 * classes, 300, 640)),
        legend=[("right", "right"), ("wrong", "wrong, by share of the row")],
        views=views,
    )


def _mask_cells(values: NDArray[np.float64], keep: NDArray[np.bool_]) -> list[list[float | None]]:
    """Leave all cells empty but some."""
    rows = zip(values.round(4).tolist(), keep.tolist(), strict=True)
    return [[v if show else None for v, show in zip(*row, strict=True)] for row in rows]


def _cell_annotations(
    texts: Sequence[Sequence[str]], shares: NDArray[np.float64], max_wrong: float
) -> list[dict[str, object]]:
    """Write into each cell, light where the cell is dark."""
    return [
        {
            "x": predicted,
            "y": truth,
            "text": text,
            "showarrow": False,
            "font": {"color": theme_color("on-cell" if strong else "ink"), "size": 11},
        }
        for truth, row in enumerate(texts)
        for predicted, text in enumerate(row)
        for share in [float(shares[truth, predicted])]
        for strong in [share > 0.7 if truth == predicted else share**0.5 > 0.75 * max_wrong]
        if text
    ]
