"""Confusion matrix as an interactive heatmap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nn.report import formatting as fmt
from nn.report.axes import class_axis
from nn.report.chart import Chart, Layout, Trace, View, escape_label
from nn.report.coerce import drop_none
from nn.report.palette import colorscale, theme_color
from nn.types import IntArray

MAX_ANNOTATED_CLASSES = 16
"""Number of classes up to which the cells are annotated with their values."""


def plot_confusion_matrix(name: str, title: str, matrix: IntArray, names: Sequence[str]) -> Chart:
    """Plot counts (true class, predicted class), colored by their share of the row.

    The diagonal and the errors have a color scale each; that of the errors is of the square root,
    so that small shares can be distinguished.
    """
    num_classes = len(names)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    diagonal = np.eye(num_classes, dtype=bool)
    hover = [
        [
            f"true: {escape_label(truth)}, predicted: {escape_label(predicted)}<br>"
            f"<b>{count:,}</b> of {total:,}, {fmt.percent(share, 1)}"
            for predicted, count, share in zip(names, row, row_shares, strict=True)
        ]
        for truth, row, row_shares, (total,) in zip(
            names, matrix.tolist(), shares.tolist(), totals.tolist(), strict=True
        )
    ]
    common: Trace = {
        "type": "heatmap",
        "xgap": 1,
        "ygap": 1,
        "showscale": False,
        "hoverinfo": "text",
    }
    correct = _mask_cells(shares, diagonal)
    errors = _mask_cells(np.sqrt(shares), ~diagonal & (matrix > 0))
    empty = _mask_cells(0 * shares, ~diagonal & (matrix == 0))  # for their hover text
    max_error = max(drop_none([cell for row in errors for cell in row]), default=1.0)
    traces: list[Trace] = [
        {
            **common,
            "z": z,
            "zmin": 0,
            "zmax": zmax,
            "text": hover,
            "colorscale": colorscale("cell", color),
        }
        for z, zmax, color in (
            (correct, 1.0, "right"),
            (errors, max_error, "wrong"),
            (empty, 1.0, "cell"),
        )
    ]
    views = []
    if num_classes <= MAX_ANNOTATED_CLASSES:
        annotations = {
            "Counts": [[f"{count:,}" if count else "" for count in row] for row in matrix.tolist()],
            "% of row": [
                [f"{100 * share:.1f}" if share else "" for share in row] for row in shares.tolist()
            ],
        }
        views = [
            View(name, layout={"annotations": _cell_annotations(texts, shares, max_error)})
            for name, texts in annotations.items()
        ]
    axis = class_axis(names)
    return Chart(
        name,
        title,
        f"Confusion matrix of {num_classes} classes: {int(matrix.trace()):,} of "
        f"{int(matrix.sum()):,} samples are on the diagonal.",
        traces,
        {
            "xaxis": {**axis, "title": {"text": "predicted"}, "side": "top"},
            "yaxis": {**axis, "title": {"text": "true"}, "autorange": "reversed"},
            "hovermode": "closest",
        },
        height=int(np.clip(120 + 36 * num_classes, 300, 640)),
        legend=[("right", "correct"), ("wrong", "errors, by share of the row")],
        views=views,
    )


def _mask_cells(values: NDArray[np.float64], keep: NDArray[np.bool_]) -> list[list[float | None]]:
    """Return the values as rows, with None where `keep` is False."""
    rows = zip(values.round(4).tolist(), keep.tolist(), strict=True)
    return [[v if kept else None for v, kept in zip(*row, strict=True)] for row in rows]


def _cell_annotations(
    texts: Sequence[Sequence[str]], shares: NDArray[np.float64], max_wrong: float
) -> list[Layout]:
    """Annotate the cells, with a light text color on dark cells."""
    return [
        {
            "x": predicted,
            "y": truth,
            "text": text,
            "showarrow": False,
            "font": {"color": theme_color("on-cell" if is_dark else "ink"), "size": 11},
        }
        for truth, row in enumerate(texts)
        for predicted, text in enumerate(row)
        for share in [float(shares[truth, predicted])]
        for is_dark in [share > 0.7 if truth == predicted else share**0.5 > 0.75 * max_wrong]
        if text
    ]
