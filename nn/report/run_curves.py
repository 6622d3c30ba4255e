"""The curves of a run by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from nn.report import formatting as fmt
from nn.report.axes import epoch_axis
from nn.report.chart import Chart, Trace, View, line, upright
from nn.report.coerce import known
from nn.report.palette import colour
from nn.report.run_data import PARTS, RunStory
from nn.report.thinning import kept_points

POINTS = 2000
"""Points that a curve of a run keeps."""


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
                keys=[(part, PARTS[part]) for _, part in drawn],
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
                f"{title} by epoch, from {fmt.figure(known(y)[0])} to {fmt.figure(known(y)[-1])}.",
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
        f"Training and validation took {fmt.duration(story.seconds)} in all.",
        traces,
        {**_by_epoch(story, kept=False), "yaxis": {"rangemode": "tozero"}},
        height=200,
        keys=[(ink, called) for _, called, ink in drawn],
    )


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
        line(PARTS[part], x, y, colour(part), f"%{{y:{form}}}")
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
        f"The {PARTS[part]} curve goes from {fmt.figure(values[0])} to {fmt.figure(values[-1])}."
        for key, part in drawn
        for values in [known(story.curve(key))]
    )
