"""Chart of precision, recall and F1 per class."""

from __future__ import annotations

from collections.abc import Sequence

from nn.report import formatting as fmt
from nn.report.axes import MAX_NAMED_CLASSES, class_axis
from nn.report.chart import Chart, Trace, escape_label
from nn.report.coerce import drop_none
from nn.report.palette import theme_color
from nn.report.run_data import RunData


def plot_class_scores(run: RunData) -> Chart | None:
    """Plot the scores of the classes with the lowest F1, lowest first; None if unknown."""
    scores = [run.class_scores(key) for key in ("precision", "recall", "f1")]
    f1 = scores[2]
    if not drop_none(f1):
        return None
    order = sorted(range(run.num_classes), key=lambda index: (f1[index] is None, f1[index]))[
        :MAX_NAMED_CLASSES
    ]
    names = [run.class_names[index] for index in order]
    spread: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [end for index in order for end in (*_score_range(scores, index), None)],
            "y": [y for row in range(len(order)) for y in (row, row, None)],
            "line": {"color": theme_color("rule"), "width": 3},
            "hoverinfo": "skip",
        }
    ]
    dots: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": metric,
            "x": [values[index] for index in order],
            "y": list(range(len(order))),
            "text": [escape_label(name) for name in names],
            "marker": {"color": theme_color(color), "symbol": symbol, "size": 10},
            "hovertemplate": f"%{{text}}: {metric} %{{x:.2%}}<extra></extra>",
        }
        for metric, color, symbol, values in zip(
            ("precision", "recall", "F1"),
            ("series-1", "series-2", "ink"),
            ("triangle-right", "triangle-left", "line-ns-open"),
            scores,
            strict=True,
        )
    ]
    return Chart(
        "classes",
        "Classes by F1, lowest first",
        f"Lowest F1: {fmt.percent(f1[order[0]])}, class {names[0]}.",
        [*spread, *dots],
        {
            "xaxis": {"tickformat": "~%", "nticks": 6},
            "yaxis": {**class_axis(names), "autorange": "reversed", "showgrid": False},
            "hovermode": "closest",
        },
        height=90 + 26 * len(order),
        legend=[("series-1", "precision ▸"), ("series-2", "◂ recall"), ("ink", "F1 |")],
        note=f"The {MAX_NAMED_CLASSES} of {run.num_classes:,} classes with the lowest F1."
        if run.num_classes > MAX_NAMED_CLASSES
        else None,
    )


def _score_range(
    scores: Sequence[Sequence[float | None]], class_index: int
) -> tuple[float | None, float | None]:
    values = drop_none([column[class_index] for column in scores])
    return (min(values), max(values)) if values else (None, None)
