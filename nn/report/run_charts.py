"""The charts of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nn.predictions import Predictions
from nn.report import words
from nn.report.calibration import bins
from nn.report.chart import Chart, Trace, View, label, line, upright
from nn.report.images import Sheet
from nn.report.palette import class_colour, class_symbol, colour, scale
from nn.report.run_story import RunStory
from nn.report.thinning import kept_points
from nn.report.values import known
from nn.types import Counts

POINTS = 2000
"""Points that a curve of a run keeps."""
WRITTEN = 16
"""Classes up to which a confusion matrix has its numbers written into it."""
NAMED = 40
"""Classes up to which each has its name at a chart's edge."""


def curves(story: RunStory) -> list[Chart]:
    """Loss and accuracy by epoch, the kept epoch marked."""
    charts = []
    for what, form, axis in (("loss", ".4f", {}), ("accuracy", ".2%", {"tickformat": "~%"})):
        keys = [(f"{part}/{what}", part) for part in ("train", "val")]
        drawn = [(key, part) for key, part in keys if known(story.curve(key))]
        if not drawn:
            continue
        traces, title = _curves(story, drawn, form), what.capitalize()
        positive = all(value > 0 for key, _ in drawn for value in known(story.curve(key)))
        logarithmic = View("Log", layout={"yaxis": {"type": "log"}})
        linear = View("Linear", layout={"yaxis": {"type": "linear"}})
        charts.append(
            Chart(
                what,
                title,
                f"{title} by epoch. {_ends(story, drawn)}",
                traces,
                {"yaxis": axis, **_by_epoch(story)},
                keys=[(part, words_of(part)) for _, part in drawn],
                views=[linear, logarithmic] if what == "loss" and positive else [],
            )
        )
    return charts


def steps(story: RunStory) -> list[Chart]:
    """Learning rate and norms by epoch."""
    charts = []
    for name, title, keys in (
        ("lr", "Learning rate", [("lr", "learning rate", "series-1")]),
        ("gradient", "Norm of the gradient", [("norm/gradient", "gradient", "series-2")]),
        ("weights", "Norm of the weights", [("norm/weights", "weights", "series-3")]),
    ):
        (key, called, ink) = keys[0]
        if not known(story.curve(key)):
            continue
        x, (y,) = thinned(story, [key])
        trace = line(called, x, y, colour(ink), "%{y:.4~g}")
        charts.append(
            Chart(
                name,
                title,
                f"{title} by epoch, from {words.figure(known(y)[0])} to "
                f"{words.figure(known(y)[-1])}.",
                [trace],
                {**_by_epoch(story, named=False), "yaxis": {"rangemode": "tozero"}},
                height=200,
            )
        )
    return charts


def timing(story: RunStory) -> Chart | None:
    """The seconds that each epoch took."""
    keys = [("seconds", "training", "train"), ("seconds/validation", "validation", "val")]
    drawn = [each for each in keys if known(story.curve(each[0]))]
    if not drawn:
        return None
    x, columns = thinned(story, [key for key, _, _ in drawn])
    traces = [
        line(called, x, y, colour(ink), "%{y:.3~g} s") | {"stackgroup": "one"}
        for (_, called, ink), y in zip(drawn, columns, strict=True)
    ]
    return Chart(
        "timing",
        "Seconds of each epoch",
        f"Training and validation took {words.duration(story.seconds)} in all.",
        traces,
        {**_by_epoch(story, kept=False), "yaxis": {"rangemode": "tozero"}},
        height=200,
        keys=[(ink, called) for _, called, ink in drawn],
    )


def confusion(name: str, title: str, matrix: Counts, names: Sequence[str]) -> Chart:
    """Counts and row shares: the right ones on the diagonal in one colour, mistakes in another."""
    classes = len(names)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    diagonal = np.eye(classes, dtype=bool)
    hover = [
        [
            f"{label(truth)} taken for {label(predicted)}<br>"
            f"<b>{count:,}</b> of {total:,}, {words.percent(share, 1)}"
            for predicted, count, share in zip(names, row, portions, strict=True)
        ]
        for truth, row, portions, (total,) in zip(
            names, matrix.tolist(), shares.tolist(), totals.tolist(), strict=True
        )
    ]
    common = {"type": "heatmap", "xgap": 1, "ygap": 1, "showscale": False, "hoverinfo": "text"}
    right, wrong = _blank(shares, diagonal), _blank(np.sqrt(shares), ~diagonal & (matrix > 0))
    empty = _blank(0 * shares, ~diagonal & (matrix == 0))  # hovered over where there is no colour
    most = max(known([cell for row in wrong for cell in row]), default=1.0)
    traces = [
        {**common, "z": z, "zmin": 0, "zmax": top, "text": hover, "colorscale": scale("cell", ink)}
        for z, top, ink in ((right, 1.0, "right"), (wrong, most, "wrong"), (empty, 1.0, "cell"))
    ]
    views = []
    if classes <= WRITTEN:
        written = {
            "Counts": [[f"{each:,}" if each else "" for each in row] for row in matrix.tolist()],
            "Row shares": [
                [f"{100 * each:.1f}" if each else "" for each in row] for row in shares.tolist()
            ],
        }
        views = [
            View(called, layout={"annotations": _written(texts, shares, most)})
            for called, texts in written.items()
        ]
    axis = names_axis(names)
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
        keys=[("right", "right"), ("wrong", "wrong, by share of the row")],
        views=views,
    )


def class_scores(story: RunStory) -> Chart | None:
    """Precision, recall and F1 of each class, the worst first."""
    scores = [story.class_scores(key) for key in ("precision", "recall", "f1")]
    f1 = scores[2]
    if not known(f1):
        return None
    order = sorted(range(story.classes), key=lambda each: (f1[each] is None, f1[each]))[:NAMED]
    names = [story.names[each] for each in order]
    spread: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [each for row in order for each in (*_range(scores, row), None)],
            "y": [place for row in range(len(order)) for place in (row, row, None)],
            "line": {"color": colour("rule"), "width": 3},
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
            "text": [label(name) for name in names],
            "marker": {"color": colour(ink), "symbol": symbol, "size": 10},
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
        f"The weakest class is {worst} with an F1 of {words.percent(f1[order[0]])}.",
        [*spread, *dots],
        {
            "xaxis": {"tickformat": "~%", "nticks": 6},
            "yaxis": {**names_axis(names), "autorange": "reversed", "showgrid": False},
            "hovermode": "closest",
        },
        height=90 + 26 * len(order),
        keys=[("series-1", "precision ▸"), ("series-2", "◂ recall"), ("ink", "F1 |")],
        note=f"The {NAMED} weakest of {story.classes:,} classes."
        if story.classes > NAMED
        else None,
    )


def calibration(predictions: Predictions) -> Chart:
    """Accuracy by confidence, and how many samples there are of each."""
    found = bins(predictions)
    centre = [(each.low + each.high) / 2 for each in found]
    hover = [
        f"confidence {each.low:.0%} to {each.high:.0%}, {each.confidence:.1%} on average<br>"
        f"<b>{each.accuracy:.1%}</b> of {each.samples:,} are right"
        for each in found
    ]
    bars = {"type": "bar", "x": centre, "width": 1 / 15 - 0.008, "text": hover, "hoverinfo": "text",
            "textposition": "none"}  # fmt: skip
    return Chart(
        "calibration",
        "Accuracy by confidence",
        "Accuracy against confidence; on the diagonal the two are equal.",
        [
            bars
            | {"y": [each.accuracy for each in found], "marker": {"color": colour("series-1")}},
            {
                "type": "scatter",
                "mode": "lines",
                "x": [0, 1],
                "y": [0, 1],
                "line": {"color": colour("muted"), "dash": "dot", "width": 1.5},
                "hoverinfo": "skip",
            },
            bars
            | {
                "y": [each.samples for each in found],
                "yaxis": "y2",
                "marker": {"color": colour("series-3")},
            },
        ],
        {
            "xaxis": {
                "range": [0, 1],
                "tickformat": ".0%",
                "title": {"text": "confidence"},
                "anchor": "y2",
            },
            "yaxis": {"domain": [0.36, 1], "range": [0, 1.02], "tickformat": ".0%"},
            "yaxis2": {"domain": [0, 0.26], "type": "log", "dtick": 1},
            "hovermode": "closest",
        },
        height=380,
        keys=[("series-1", "share that is right"), ("series-3", "samples, on a logarithmic scale")],
    )


def mapped(
    story: RunStory, predictions: Predictions, places: NDArray[np.float32], images: Sheet | None
) -> Chart:
    """The map of the samples, each class with its colour, its symbol and its name."""
    labels = predictions.labels[predictions.mapped]
    probabilities = predictions.probabilities[predictions.mapped]
    guesses = probabilities.argmax(axis=1)
    traces: list[Trace] = []
    titles = []
    for each in np.unique(labels).tolist():
        own = labels == each
        for right in (True, False):
            inside = np.flatnonzero(own & ((guesses == each) == right))
            x, y = places[inside].round(2).T.astype(float).tolist()
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": label(story.names[each], 24),
                    "legendgroup": str(each),
                    "showlegend": right,
                    "x": x,
                    "y": y,
                    "customdata": inside.tolist(),
                    "hoverinfo": "none",
                    "marker": {
                        "color": class_colour(each),
                        "symbol": class_symbol(each),
                        "size": 7 if right else 11,
                        "line": {"width": 0 if right else 2, "color": colour("ink")},
                    },
                }
            )
        if story.classes <= NAMED:
            x, y = np.median(places[own], axis=0).astype(float).tolist()
            titles.append(_title(x, y, story.names[each]))
    cards = [
        f"{story.names[truth]}, rightly predicted with {words.confidence(sure)}"
        if truth == guess
        else f"{story.names[truth]}, taken for {story.names[guess]} with {words.confidence(sure)}"
        for truth, guess, sure in zip(
            labels.tolist(), guesses.tolist(), probabilities.max(axis=1).tolist(), strict=True
        )
    ]
    hidden = {"visible": False, "showgrid": False}
    return Chart(
        "map",
        f"{len(labels):,} samples by what the last hidden layer makes of them",
        "A map of samples by the last hidden layer; samples of a class lie together where the "
        "network tells them from others.",
        traces,
        {
            "xaxis": hidden,
            "yaxis": {**hidden, "scaleanchor": "x"},
            "hovermode": "closest",
            "showlegend": story.classes <= NAMED,
            "annotations": titles,
        },
        height=620,
        keys=[("ink", "ringed: predicted wrongly")],
        more={"cards": cards, "sheet": vars(images) if images else None},
    )  # fmt: skip


def names_axis(names: Sequence[str]) -> dict[str, object]:
    """Write the names of classes at an axis, as many as there is room for."""
    every = -(-len(names) // NAMED)
    places = list(range(0, len(names), every))
    return {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [label(names[place], 14) for place in places],
        "zeroline": False,
        "showgrid": False,
    }


def epoch_axis(epochs: int) -> dict[str, object]:
    """Make the axis of epochs, which are whole numbers."""
    ticks = {"dtick": 1} if epochs <= 8 else {"nticks": 8}
    return {"title": {"text": "epoch"}, "hoverformat": ",d", "tickformat": ",~f", **ticks}


def words_of(part: str) -> str:
    """Call a part of the dataset by its name."""
    return {"train": "training", "val": "validation", "test": "test"}[part]


def thinned(
    story: RunStory, keys: Sequence[str], most: int = POINTS
) -> tuple[list[float], list[list[float | None]]]:
    """Give curves of a run, with fewer points if there are very many."""
    columns = [story.curve(key) for key in keys]
    kept = kept_points(columns, most)
    return [story.epochs[place] for place in kept], [
        [values[place] for place in kept] for values in columns
    ]


def _curves(story: RunStory, drawn: Sequence[tuple[str, str]], form: str) -> list[Trace]:
    x, columns = thinned(story, [key for key, _ in drawn])
    return [
        line(words_of(part), x, y, colour(part), f"%{{y:{form}}}")
        for (_, part), y in zip(drawn, columns, strict=True)
    ]


def _by_epoch(story: RunStory, kept: bool = True, named: bool = True) -> dict[str, object]:
    marked = kept and story.kept_epoch is not None and len(story.epochs) > 1
    return {
        "xaxis": epoch_axis(len(story.epochs)),
        "hovermode": "x unified",
        **(upright(story.kept_epoch or 0, _kept(story) if named else "") if marked else {}),
    }


def _kept(story: RunStory) -> str:
    return f"kept: {story.kept_epoch:,.0f}"


def _ends(story: RunStory, drawn: Sequence[tuple[str, str]]) -> str:
    return " ".join(
        f"The {words_of(part)} curve goes from {words.figure(values[0])} to "
        f"{words.figure(values[-1])}."
        for key, part in drawn
        for values in [known(story.curve(key))]
    )


def _blank(values: NDArray[np.float64], where: NDArray[np.bool_]) -> list[list[float | None]]:
    """Leave all cells empty but some."""
    rows = zip(values.round(4).tolist(), where.tolist(), strict=True)
    return [[v if show else None for v, show in zip(*row, strict=True)] for row in rows]


def _written(
    texts: Sequence[Sequence[str]], shares: NDArray[np.float64], most: float
) -> list[dict[str, object]]:
    """Write into each cell, light where the cell is dark."""
    return [
        {
            "x": predicted,
            "y": truth,
            "text": text,
            "showarrow": False,
            "font": {"color": colour("on-cell" if strong else "ink"), "size": 11},
        }
        for truth, row in enumerate(texts)
        for predicted, text in enumerate(row)
        for share in [float(shares[truth, predicted])]
        for strong in [share > 0.7 if truth == predicted else share**0.5 > 0.75 * most]
        if text
    ]


def _range(scores: Sequence[Sequence[float | None]], row: int) -> tuple[float | None, float | None]:
    values = known([column[row] for column in scores])
    return (min(values), max(values)) if values else (None, None)


def _title(x: float, y: float, name: str) -> dict[str, object]:
    return {
        "x": round(x, 2),
        "y": round(y, 2),
        "text": f"<b>{label(name, 14)}</b>",
        "showarrow": False,
        "font": {"size": 14, "color": colour("ink")},
        "bgcolor": colour("veil"),
        "borderpad": 3,
        "captureevents": False,
    }
