"""Precision, recall and F1 of each class as a chart."""

from __future__ import annotations

from collections.abc import Sequence

from nn.report import formatting as fmt
from nn.report.axes import MAX_NAMED_CLASSES, class_axis
from nn.report.chart import Chart, Trace, escape_label
from nn.report.coerce import drop_none
from nn.report.palette import theme_color
from nn.report.run_data import RunData


def plot_class_scores(run: RunData) -> Chart | None:
    """Precision, recall and F1 of each class, the worst first."""
    scores = [run.class_scores(key) for key in ("precision", "recall", "f1")]
    f1 = scores[2]
    if not drop_none(f1):
        return None
    order = sorted(range(run.num_classes), key=lambda each: (f1[each] is None, f1[each]))[
        :MAX_NAMED_CLASSES
    ]
    names = [run.class_names[each] for each in order]
    spread: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [each for row in order for each in (*_score_range(scores, row), None)],
            "y": [place for row in range(len(order)) for place in (row, row, None)],
            "line": {"color": theme_color("rule"), "width": 3},
            "hoverinfo": "skip",
        }
    ]
    dots: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": called,
            "x": [values[each] for each in order],
            "y": list(range(len(order))),
            "text": [escape_label(name) for name in names],
            "marker": {"color": theme_color(ink), "symbol": symbol, "size": 10},
            "hovertemplate": f"%{{text}}: {called} %{{x:.2%}}<extra></extra>",
        }
        for called, ink, symbol, values in zip(
            ("precision", "recall", "F1"),
            ("series-1", "series-2", "ink"),
            ("triangle-right", "triangle-left", "line-ns-open"),
            scores,
            strict=True,
        )
    ]
    worst = names[0]
    return Chart(
        "classes",
        "Classes by F1, the weakest first",
        f"The weakest class is {worst} with an F1 of {fmt.percent(f1[order[0]])}.",
        [*spread, *dots],
        {
            "xaxis": {"tickformat": "~%", "nticks": 6},
            "yaxis": {**class_axis(names), "autorange": "reversed", "showgrid": False},
            "hovermode": "closest",
        },
        height=90 + 26 * len(order),
        legend=[("series-1", "precision ▸"), ("series-2", "◂ recall"), ("ink", "F1 |")],
        note=f"The {MAX_NAMED_CLASSES} weakest of {run.num_classes:,} classes."
        if run.num_classes > MAX_NAMED_CLASSES
        else None,
    )


def _score_range(
    scores: Sequence[Sequence[float | None]], row: int
) -> tuple[float | None, float | None]:
    values = drop_none([column[row] for column in scores])
    return (min(values), max(values)) if values else (None, None)
