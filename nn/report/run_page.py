"""The page of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nn.config.knobs import KNOBS
from nn.report import (
    calibration,
    classes,
    confusion,
    gallery,
    images,
    map_chart,
    run_curves,
    sample_map,
    weights,
)
from nn.report import formatting as fmt
from nn.report.coerce import flat, mapping, number
from nn.report.markup import Markup, element
from nn.report.page import Page, Section
from nn.report.paths import recorded_command, shown
from nn.report.run_data import PARTS, RunStory
from nn.report.tables import Cell, Column, pairs, table

RIGHT, WRONG = 16, 24
"""Predictions that are shown."""
ROWS = 30
"""Classes that are listed at a time."""
LAYERS = 40
"""Layers that are listed at a time."""


def page(story: RunStory, above: Markup | None = None) -> Page:
    """Tell a run."""
    return Page(
        "Run",
        story.name,
        story.title,
        story.lead,
        list(_sections(story)),
        story.notices,
        _figures(story),
        above,
        footer(story.path),
    )


def footer(path: Path | None = None) -> list[object]:
    """Say when the page was made, and of which folder."""
    source = f" from {shown(path)}" if path else ""
    return [f"Made on {datetime.now():%Y-%m-%d %H:%M}{source}."]


def command(line: str) -> Markup:
    """Show a command to be copied."""
    copy = element("button", "Copy", type="button", class_="copy")
    return element("div", element("code", line), copy, class_="command")


def _sections(story: RunStory) -> Iterator[Section]:
    yield _learning(story)
    if story.confusion is not None:
        yield _confusion(story)
    if any(story.class_scores("f1")):
        yield _classes(story)
    if story.predictions is not None:
        yield from _looked_at(story)
    if story.layers:
        yield _architecture(story)
    units = weights.first_layer(story.weights, _shape(story))
    if units is not None:
        shown = weights.pictures(units)
        remark = (
            f"{len(shown)} of {fmt.count(len(units), 'unit')}: what each looks for in orange, "
            "what speaks against it in blue."
        )
        yield Section("weights", "First layer", [gallery.filters(shown)], [remark])
    yield _settings(story)


def _figures(story: RunStory) -> list[tuple[str, str, object]]:
    part, named = story.part, PARTS[story.part].capitalize()
    rows: list[tuple[str, str, str, Any]] = [
        (f"{named} accuracy", f"{part}/accuracy", "percent", fmt.percent),
        (f"{named} loss", f"{part}/loss", "figure", fmt.figure),
        ("True class in top 3", f"{part}/top3", "percent", fmt.percent),
        ("Calibration error", f"{part}/calibration_error", "percent", fmt.percent),
    ]
    if part == "test":
        rows.insert(2, ("Validation accuracy", "val/accuracy", "percent", fmt.percent))
    shown = [(name, write(story.score(key)), story.score(key)) for name, key, _, write in rows]
    shown.append(
        (
            "Parameters",
            fmt.count(number(story.summary.get("parameters"))),
            story.summary.get("parameters"),
        )
    )
    shown.append(("Training time", fmt.duration(story.seconds), story.seconds))
    return [(name, text, exact) for name, text, exact in shown if text != fmt.MISSING]


def _learning(story: RunStory) -> Section:
    curves, steps = run_curves.curves(story), run_curves.steps(story)
    body: list[object] = [
        element("div", [chart.markup() for chart in charts], class_=f"columns {width}")
        for charts, width in ((curves, ""), (steps, "three"))
        if charts
    ]
    if not body:
        body = [element("p", "There is no epoch to draw.", class_="sentence")]
    return Section("learning", "Learning", body, [story.learning])


def _confusion(story: RunStory) -> Section:
    assert story.confusion is not None
    chart = confusion.chart("confusion", _judged(story), story.confusion, story.names)
    return Section("confusion", "Confusion", [chart.markup()], [story.confusing])


def _judged(story: RunStory) -> str:
    return f"{PARTS[story.part].capitalize()} samples by true and predicted class"


def _classes(story: RunStory) -> Section:
    chart = classes.chart(story)
    scores = [story.class_scores(key) for key in ("precision", "recall", "f1")]
    samples = (
        [None] * story.classes if story.confusion is None else story.confusion.sum(axis=1).tolist()
    )
    rows = [
        [
            Cell(name, place),
            *(Cell(fmt.percent(column[place]), column[place]) for column in scores),
            Cell(fmt.count(samples[place]), samples[place]),
        ]
        for place, name in enumerate(story.names)
    ]
    columns = [Column("Class", numeric=False), *map_columns("Precision", "Recall", "F1", "Samples")]
    listed = table(
        "Scores of each class", columns, rows, ROWS, sought=len(rows) > ROWS, name="classes-table"
    )
    remark = (
        "Precision: of what was taken for a class, the share that is of it. Recall: of a class, "
        "the share that was recognized. F1 is the harmonic mean of both."
    )
    return Section("classes", "Classes", [chart and chart.markup(), listed], [remark])


def map_columns(*titles: str) -> list[Column]:
    """Name columns of numbers."""
    return [Column(title) for title in titles]


def _looked_at(story: RunStory) -> Iterator[Section]:
    read = story.predictions
    assert read is not None
    if read.drawable:
        groups = [
            gallery.predictions(read, story.names, right, most)
            for right, most in ((False, WRONG), (True, RIGHT))
        ]
        body = [(element("h3", title), shown) for title, shown in filter(None, groups)]
        remark = f"Samples of the {PARTS[story.part]} set, the class that is predicted, how surely."
        yield Section("predictions", "Predictions", body, [remark])
    yield _map(story)
    error = story.score(f"{story.part}/calibration_error")
    remark = (
        "A prediction made with 80 % confidence should be right 8 times of 10: bars on the dotted "
        "line. Below it the network is too sure of itself."
    )
    found = error is not None and f"On average the two are {fmt.percent(error, 1)} apart."
    yield Section("calibration", "Calibration", [calibration.chart(read).markup()], [remark, found])


def _map(story: RunStory) -> Section:
    read = story.predictions
    assert read is not None
    places = sample_map.places(story.path, read) if story.hidden else None
    if places is None:
        few = "There are too few samples, or none that differ, for a map of them."
        none = "There is no hidden layer whose map could be drawn."
        return Section(
            "map", "Map", [element("p", few if story.hidden else none, class_="sentence")]
        )
    known = dict(zip(read.shown.tolist(), read.images, strict=True)) if read.drawable else {}
    shown = [images.shown(known[each]) for each in read.mapped.tolist() if each in known]
    sheet = images.sheet(shown) if len(shown) == len(read.mapped) else None
    remark = (
        "Each point is a sample. t-SNE puts those near each other that the last hidden layer finds "
        "alike; distances between groups mean little."
    )
    return Section("map", "Map", [map_chart.chart(story, read, places, sheet).markup()], [remark])


def _architecture(story: RunStory) -> Section:
    columns = [
        Column("Layer", numeric=False),
        Column("Output shape", numeric=False),
        Column("Parameters"),
    ]
    rows = [
        [
            Cell(layer.name),
            Cell(_sizes(layer.output), math.prod(layer.output)),
            Cell(fmt.count(layer.parameters) if layer.parameters else "", layer.parameters),
        ]
        for layer in story.layers
    ]
    listed = table("Layers", columns, rows, LAYERS, name="layers-table")
    total = sum(layer.parameters for layer in story.layers)
    remark = (
        f"{fmt.count(len(story.layers) - 1, 'layer')} with {fmt.count(total, 'parameter')}, "
        "from the input at the top to a value for each class; shapes are those of one sample."
    )
    return Section("architecture", "Architecture", [listed], [remark])


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _settings(story: RunStory) -> Section:
    config = story.config
    chosen = [
        (group, fmt.setting(option))
        for group, option in story.choices.items()
        if option is not None
    ]
    knobs = [(knob, fmt.setting(config[knob])) for knob in KNOBS if config[knob] is not None]
    groups = {key: value for key, value in config.items() if key not in (*KNOBS, "choices")}
    everything = [(key, fmt.setting(value)) for key, value in flat(groups).items()]
    timing = run_curves.timing(story)
    asked = str(story.environment.get("command") or "")
    return Section(
        "settings",
        "Settings",
        [
            element("h3", "To repeat this run to the same bits"),
            command(story.repeat),
            asked and [element("h3", "It was begun with"), command(recorded_command(asked))],
            element("h3", "Chosen"),
            pairs(chosen, "Chosen options"),
            element("h3", "Knobs"),
            pairs(knobs, "Knobs"),
            _folded("Everything in the configuration", pairs(everything, "Configuration")),
            element("h3", "Where the time went"),
            timing and timing.markup(),
            element("h3", "What it ran on"),
            pairs(_environment(story), "Environment"),
        ],
        ["A setting that had no effect is not listed."],
    )  # fmt: skip


def _environment(story: RunStory) -> list[tuple[str, object]]:
    given = story.environment
    packages, git = mapping(given.get("packages")), mapping(given.get("git"))
    commit = str(git.get("commit") or "")[:12]
    changed = "" if git.get("clean") is not False else ", with changes"
    rows: list[tuple[str, object]] = [
        ("begun", given.get("began")),
        ("commit", f"{commit}{changed}" if commit else None),
        ("Python", given.get("python")),
        *packages.items(),
        ("platform", given.get("platform")),
        ("processor", given.get("processor")),
        ("cores", given.get("cores")),
        ("host", given.get("host")),
        ("weights, SHA-256", str(story.summary.get("weights/sha256") or "")[:16] or None),
        ("dataset, SHA-256", str(story.summary.get("dataset/sha256") or "")[:16] or None),
    ]
    return [(name, value) for name, value in rows if value is not None]


def _folded(title: str, content: Markup) -> Markup:
    return element("details", element("summary", title), content)


def _shape(story: RunStory) -> tuple[int, ...] | None:
    """The shape of a sample, if samples are known."""
    return None if story.predictions is None else story.predictions.images.shape[1:]
