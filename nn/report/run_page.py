"""The page of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nn.config.knobs import HYPERPARAMETERS
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
from nn.report.coerce import flatten_settings, to_finite_float, to_mapping
from nn.report.markup import Markup, element
from nn.report.page import Page, Section
from nn.report.paths import display_path, normalize_command
from nn.report.run_data import SPLITS, RunData
from nn.report.tables import Cell, Column, build_table, definition_list

NUM_CORRECT_SHOWN, NUM_WRONG_SHOWN = 16, 24
"""Predictions that are shown."""
CLASSES_PER_PAGE = 30
"""Classes that are listed at a time."""
LAYERS_PER_PAGE = 40
"""Layers that are listed at a time."""


def build_run_page(run: RunData, back_link: Markup | None = None) -> Page:
    """Tell a run."""
    return Page(
        "Run",
        run.display_name,
        run.title,
        run.summary_text,
        list(_sections(run)),
        run.notices,
        _stats(run),
        back_link,
        build_footer(run.path),
    )


def build_footer(path: Path | None = None) -> list[object]:
    """Say when the page was made, and of which folder."""
    source = f" from {display_path(path)}" if path else ""
    return [f"Made on {datetime.now():%Y-%m-%d %H:%M}{source}."]


def command_block(line: str) -> Markup:
    """Show a command to be copied."""
    copy = element("button", "Copy", type="button", class_="copy")
    return element("div", element("code", line), copy, class_="command")


def _sections(run: RunData) -> Iterator[Section]:
    yield _learning_section(run)
    if run.confusion_matrix is not None:
        yield _confusion_section(run)
    if any(run.class_scores("f1")):
        yield _classes_section(run)
    if run.predictions is not None:
        yield from _prediction_sections(run)
    if run.layers:
        yield _architecture_section(run)
    units = weights.first_layer_filters(run.weights, _sample_shape(run))
    if units is not None:
        shown = weights.render_filters(units)
        remark = (
            f"{len(shown)} of {fmt.count(len(units), 'unit')}: what each looks for in orange, "
            "what speaks against it in blue."
        )
        yield Section("weights", "First layer", [gallery.filter_gallery(shown)], [remark])
    yield _settings_section(run)


def _stats(run: RunData) -> list[tuple[str, str, object]]:
    part, named = run.split, SPLITS[run.split].capitalize()
    rows: list[tuple[str, str, str, Any]] = [
        (f"{named} accuracy", f"{part}/accuracy", "percent", fmt.percent),
        (f"{named} loss", f"{part}/loss", "figure", fmt.number),
        ("True class in top 3", f"{part}/top3", "percent", fmt.percent),
        ("Calibration error", f"{part}/calibration_error", "percent", fmt.percent),
    ]
    if part == "test":
        rows.insert(2, ("Validation accuracy", "val/accuracy", "percent", fmt.percent))
    shown = [(name, write(run.score(key)), run.score(key)) for name, key, _, write in rows]
    shown.append(
        (
            "Parameters",
            fmt.count(to_finite_float(run.summary.get("num_parameters"))),
            run.summary.get("num_parameters"),
        )
    )
    shown.append(("Training time", fmt.duration(run.training_seconds), run.training_seconds))
    return [(name, text, exact) for name, text, exact in shown if text != fmt.MISSING]


def _learning_section(run: RunData) -> Section:
    curves, steps = run_curves.plot_learning_curves(run), run_curves.plot_lr_and_norms(run)
    body: list[object] = [
        element("div", [chart.to_html() for chart in charts], class_=f"columns {width}")
        for charts, width in ((curves, ""), (steps, "three"))
        if charts
    ]
    if not body:
        body = [element("p", "There is no epoch to draw.", class_="sentence")]
    return Section("learning", "Learning", body, [run.learning_text])


def _confusion_section(run: RunData) -> Section:
    assert run.confusion_matrix is not None
    chart = confusion.plot_confusion_matrix(
        "confusion", _confusion_title(run), run.confusion_matrix, run.class_names
    )
    return Section("confusion", "Confusion", [chart.to_html()], [run.confusion_text])


def _confusion_title(run: RunData) -> str:
    return f"{SPLITS[run.split].capitalize()} samples by true and predicted class"


def _classes_section(run: RunData) -> Section:
    chart = classes.plot_class_scores(run)
    scores = [run.class_scores(key) for key in ("precision", "recall", "f1")]
    samples = (
        [None] * run.num_classes
        if run.confusion_matrix is None
        else run.confusion_matrix.sum(axis=1).tolist()
    )
    rows = [
        [
            Cell(name, place),
            *(Cell(fmt.percent(column[place]), column[place]) for column in scores),
            Cell(fmt.count(samples[place]), samples[place]),
        ]
        for place, name in enumerate(run.class_names)
    ]
    columns = [
        Column("Class", is_numeric=False),
        *numeric_columns("Precision", "Recall", "F1", "Samples"),
    ]
    listed = build_table(
        "Scores of each class",
        columns,
        rows,
        CLASSES_PER_PAGE,
        has_search=len(rows) > CLASSES_PER_PAGE,
        element_id="classes-table",
    )
    remark = (
        "Precision: of what was taken for a class, the share that is of it. Recall: of a class, "
        "the share that was recognized. F1 is the harmonic mean of both."
    )
    return Section("classes", "Classes", [chart and chart.to_html(), listed], [remark])


def numeric_columns(*titles: str) -> list[Column]:
    """Name columns of numbers."""
    return [Column(title) for title in titles]


def _prediction_sections(run: RunData) -> Iterator[Section]:
    read = run.predictions
    assert read is not None
    if read.has_images:
        groups = [
            gallery.prediction_gallery(read, run.class_names, right, most)
            for right, most in ((False, NUM_WRONG_SHOWN), (True, NUM_CORRECT_SHOWN))
        ]
        body = [(element("h3", title), shown) for title, shown in filter(None, groups)]
        remark = f"Samples of the {SPLITS[run.split]} set, the class that is predicted, how surely."
        yield Section("predictions", "Predictions", body, [remark])
    yield _map_section(run)
    error = run.score(f"{run.split}/calibration_error")
    remark = (
        "A prediction made with 80 % confidence should be right 8 times of 10: bars on the dotted "
        "line. Below it the network is too sure of itself."
    )
    found = error is not None and f"On average the two are {fmt.percent(error, 1)} apart."
    yield Section(
        "calibration",
        "Calibration",
        [calibration.plot_reliability_diagram(read).to_html()],
        [remark, found],
    )


def _map_section(run: RunData) -> Section:
    read = run.predictions
    assert read is not None
    places = sample_map.load_or_compute_map(run.path, read) if run.has_hidden_layer else None
    if places is None:
        few = "There are too few samples, or none that differ, for a map of them."
        none = "There is no hidden layer whose map could be drawn."
        return Section(
            "map", "Map", [element("p", few if run.has_hidden_layer else none, class_="sentence")]
        )
    known = dict(zip(read.shown.tolist(), read.images, strict=True)) if read.has_images else {}
    shown = [images.to_thumbnail(known[each]) for each in read.mapped.tolist() if each in known]
    sheet = images.make_sprite_sheet(shown) if len(shown) == len(read.mapped) else None
    remark = (
        "Each point is a sample. t-SNE puts those near each other that the last hidden layer finds "
        "alike; distances between groups mean little."
    )
    return Section(
        "map", "Map", [map_chart.plot_sample_map(run, read, places, sheet).to_html()], [remark]
    )


def _architecture_section(run: RunData) -> Section:
    columns = [
        Column("Layer", is_numeric=False),
        Column("Output shape", is_numeric=False),
        Column("Parameters"),
    ]
    rows = [
        [
            Cell(layer.name),
            Cell(_format_shape(layer.output_shape), math.prod(layer.output_shape)),
            Cell(
                fmt.count(layer.num_parameters) if layer.num_parameters else "",
                layer.num_parameters,
            ),
        ]
        for layer in run.layers
    ]
    listed = build_table("Layers", columns, rows, LAYERS_PER_PAGE, element_id="layers-table")
    total = sum(layer.num_parameters for layer in run.layers)
    remark = (
        f"{fmt.count(len(run.layers) - 1, 'layer')} with {fmt.count(total, 'parameter')}, "
        "from the input at the top to a value for each class; shapes are those of one sample."
    )
    return Section("architecture", "Architecture", [listed], [remark])


def _format_shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _settings_section(run: RunData) -> Section:
    config = run.config
    chosen = [
        (group, fmt.setting(option)) for group, option in run.choices.items() if option is not None
    ]
    knobs = [
        (knob, fmt.setting(config[knob])) for knob in HYPERPARAMETERS if config[knob] is not None
    ]
    groups = {
        key: value for key, value in config.items() if key not in (*HYPERPARAMETERS, "choices")
    }
    everything = [(key, fmt.setting(value)) for key, value in flatten_settings(groups).items()]
    timing = run_curves.plot_epoch_times(run)
    asked = str(run.environment.get("command") or "")
    return Section(
        "settings",
        "Settings",
        [
            element("h3", "To repeat this run to the same bits"),
            command_block(run.reproduce_command),
            asked and [element("h3", "It was begun with"), command_block(normalize_command(asked))],
            element("h3", "Chosen"),
            definition_list(chosen, "Chosen options"),
            element("h3", "Knobs"),
            definition_list(knobs, "Knobs"),
            _collapsible(
                "Everything in the configuration", definition_list(everything, "Configuration")
            ),
            element("h3", "Where the time went"),
            timing and timing.to_html(),
            element("h3", "What it ran on"),
            definition_list(_environment_rows(run), "Environment"),
        ],
        ["A setting that had no effect is not listed."],
    )  # fmt: skip


def _environment_rows(run: RunData) -> list[tuple[str, object]]:
    given = run.environment
    packages, git = to_mapping(given.get("packages")), to_mapping(given.get("git"))
    commit = str(git.get("commit") or "")[:12]
    changed = "" if git.get("dirty") is not True else ", with changes"
    rows: list[tuple[str, object]] = [
        ("begun", given.get("started_at")),
        ("commit", f"{commit}{changed}" if commit else None),
        ("Python", given.get("python")),
        *packages.items(),
        ("platform", given.get("platform")),
        ("processor", given.get("cpu_model")),
        ("cores", given.get("cpu_count")),
        ("host", given.get("host")),
        ("weights, SHA-256", str(run.summary.get("weights/sha256") or "")[:16] or None),
        ("dataset, SHA-256", str(run.summary.get("dataset/sha256") or "")[:16] or None),
    ]
    return [(name, value) for name, value in rows if value is not None]


def _collapsible(title: str, content: Markup) -> Markup:
    return element("details", element("summary", title), content)


def _sample_shape(run: RunData) -> tuple[int, ...] | None:
    """The shape of a sample, if samples are known."""
    return None if run.predictions is None else run.predictions.images.shape[1:]
