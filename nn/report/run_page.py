"""The HTML report of a single run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from nn.config.schema import HYPERPARAMETERS
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
from nn.report.coerce import drop_none, flatten_settings, to_finite_float, to_mapping
from nn.report.markup import Markup, element
from nn.report.page import Page, Section
from nn.report.paths import display_path, normalize_command
from nn.report.run_data import SPLITS, RunData
from nn.report.tables import Cell, Column, build_table, definition_list

NUM_CORRECT_SHOWN, NUM_WRONG_SHOWN = 16, 24
"""Correct and misclassified samples shown in the gallery."""
CLASSES_PER_PAGE = 30
"""Rows per page of the table of classes."""
LAYERS_PER_PAGE = 40
"""Rows per page of the table of layers."""


def build_run_page(run: RunData, back_link: Markup | None = None) -> Page:
    """Build the page of a run, with a link back to its sweep's page if given."""
    return Page(
        kind="Run",
        subtitle=run.display_name,
        title=run.title,
        summary=run.summary_text,
        sections=list(_sections(run)),
        notices=run.notices,
        stats=_stats(run),
        back_link=back_link,
        footer=build_footer(run.path),
    )


def build_footer(path: Path | None = None) -> list[object]:
    """Return the page's footer: when it was generated, and from which directory."""
    source = f" from {display_path(path)}" if path else ""
    return [f"Generated on {datetime.now():%Y-%m-%d %H:%M}{source}."]


def command_block(line: str) -> Markup:
    """Render a shell command with a copy button."""
    copy = element("button", "Copy", type="button", class_="copy")
    return element("div", element("code", line), copy, class_="command")


def _sections(run: RunData) -> Iterator[Section]:
    yield _learning_section(run)
    if run.confusion_matrix is not None:
        yield _confusion_section(run)
    if drop_none(run.class_scores("f1")):
        yield _classes_section(run)
    if run.predictions is not None:
        yield from _prediction_sections(run)
    if run.layers:
        yield _layers_section(run)
    units = weights.first_layer_filters(run.weights, _sample_shape(run))
    if units is not None:
        filters = weights.render_filters(units)
        remark = (
            f"Weights of {len(filters)} of {fmt.count(len(units), 'unit')}: positive in orange, "
            "negative in blue."
        )
        yield Section("weights", "First-layer filters", [gallery.filter_gallery(filters)], [remark])
    yield _settings_section(run)


def _stats(run: RunData) -> list[tuple[str, str, object]]:
    split, split_name = run.split, SPLITS[run.split].capitalize()
    scores: list[tuple[str, str, Callable[[float | None], str]]] = [
        (f"{split_name} accuracy", f"{split}/accuracy", fmt.percent),
        (f"{split_name} loss", f"{split}/loss", fmt.number),
        ("Top-3 accuracy", f"{split}/top3", fmt.percent),
        ("Calibration error", f"{split}/calibration_error", fmt.percent),
    ]
    if split == "test":
        scores.insert(2, ("Validation accuracy", "val/accuracy", fmt.percent))
    num_parameters = run.summary.get("num_parameters")
    stats: list[tuple[str, str, object]] = [
        *((name, formatted(run.score(key)), run.score(key)) for name, key, formatted in scores),
        ("Parameters", fmt.count(to_finite_float(num_parameters)), num_parameters),
        ("Training time", fmt.duration(run.training_seconds), run.training_seconds),
    ]
    return [stat for stat in stats if stat[1] != fmt.MISSING]


def _learning_section(run: RunData) -> Section:
    curves, steps = run_curves.plot_learning_curves(run), run_curves.plot_lr_and_norms(run)
    body: list[object] = [
        element("div", [chart.to_html() for chart in charts], class_=f"columns {width}")
        for charts, width in ((curves, ""), (steps, "three"))
        if charts
    ]
    if not body:
        body = [element("p", "No epochs have been recorded.", class_="sentence")]
    return Section("learning", "Learning curves", body, [run.learning_text])


def _confusion_section(run: RunData) -> Section:
    assert run.confusion_matrix is not None
    title = f"{SPLITS[run.split].capitalize()} samples by true and predicted class"
    chart = confusion.plot_confusion_matrix(
        "confusion", title, run.confusion_matrix, run.class_names
    )
    return Section("confusion", "Confusion matrix", [chart.to_html()], [run.confusion_text])


def _classes_section(run: RunData) -> Section:
    chart = classes.plot_class_scores(run)
    scores = [run.class_scores(key) for key in ("precision", "recall", "f1")]
    supports = (
        [None] * run.num_classes
        if run.confusion_matrix is None
        else run.confusion_matrix.sum(axis=1).tolist()
    )
    rows = [
        [
            Cell(name, index),
            *(Cell(fmt.percent(column[index]), column[index]) for column in scores),
            Cell(fmt.count(supports[index]), supports[index]),
        ]
        for index, name in enumerate(run.class_names)
    ]
    columns = [
        Column("Class", is_numeric=False),
        *map(Column, ("Precision", "Recall", "F1", "Samples")),
    ]
    table = build_table(
        "Scores per class",
        columns,
        rows,
        CLASSES_PER_PAGE,
        has_search=len(rows) > CLASSES_PER_PAGE,
        element_id="classes-table",
    )
    remark = (
        "Precision: fraction of the samples predicted as a class that belong to it. Recall: "
        "fraction of a class's samples that are predicted as it. F1: harmonic mean of the two."
    )
    return Section("classes", "Scores per class", [chart and chart.to_html(), table], [remark])


def _prediction_sections(run: RunData) -> Iterator[Section]:
    predictions = run.predictions
    assert predictions is not None
    if predictions.has_images:
        galleries = [
            gallery.prediction_gallery(predictions, run.class_names, is_correct, max_images)
            for is_correct, max_images in ((False, NUM_WRONG_SHOWN), (True, NUM_CORRECT_SHOWN))
        ]
        body = [(element("h3", title), images) for title, images in filter(None, galleries)]
        remark = f"{SPLITS[run.split].capitalize()} samples with predicted class and confidence."
        yield Section("predictions", "Predictions", body, [remark])
    yield _map_section(run)
    error = run.score(f"{run.split}/calibration_error")
    remark = (
        "Predictions made with 80 % confidence should be correct 80 % of the time, so that the "
        "bars end at the dotted line. Lower bars mean overconfidence."
    )
    mean_gap = error is not None and f"Expected calibration error: {fmt.percent(error, 1)}."
    yield Section(
        "calibration",
        "Calibration",
        [calibration.plot_reliability_diagram(predictions).to_html()],
        [remark, mean_gap],
    )


def _map_section(run: RunData) -> Section:
    predictions = run.predictions
    assert predictions is not None
    positions = (
        sample_map.load_or_compute_map(run.path, predictions) if run.has_hidden_layer else None
    )
    if positions is None:
        reason = (
            "Not available: too few samples, or all have the same activations."
            if run.has_hidden_layer
            else "Not available: the network has no hidden layer."
        )
        return Section("map", "t-SNE", [element("p", reason, class_="sentence")])
    image_of = (
        dict(zip(predictions.image_indices.tolist(), predictions.images, strict=True))
        if predictions.has_images
        else {}
    )
    thumbnails = [
        images.to_thumbnail(image_of[sample])
        for sample in predictions.embedded_indices.tolist()
        if sample in image_of
    ]
    complete = len(thumbnails) == len(predictions.embedded_indices)
    chart = map_chart.plot_sample_map(
        run, predictions, positions, images.make_sprite_sheet(thumbnails) if complete else None
    )
    remark = (
        "t-SNE embedding of the last hidden layer: each point is a sample, and samples with "
        "similar activations are close together. Distances between clusters carry little meaning."
    )
    return Section("map", "t-SNE", [chart.to_html()], [remark])


def _layers_section(run: RunData) -> Section:
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
    table = build_table("Layers", columns, rows, LAYERS_PER_PAGE, element_id="layers-table")
    total = sum(layer.num_parameters for layer in run.layers)
    remark = (
        f"{fmt.count(len(run.layers) - 1, 'layer')} with {fmt.count(total, 'parameter')}, "
        "from the input to one output per class. Shapes are for a single sample."
    )
    return Section("architecture", "Architecture", [table], [remark])


def _format_shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _settings_section(run: RunData) -> Section:
    config = run.config
    options = [
        (group, fmt.setting(option)) for group, option in run.choices.items() if option is not None
    ]
    hyperparameters = [
        (key, fmt.setting(config[key])) for key in HYPERPARAMETERS if config[key] is not None
    ]
    nested = {
        key: value for key, value in config.items() if key not in (*HYPERPARAMETERS, "choices")
    }
    settings = [(key, fmt.setting(value)) for key, value in flatten_settings(nested).items()]
    epoch_times = run_curves.plot_epoch_times(run)
    command, reproduce = str(run.environment.get("command") or ""), run.reproduce_command
    return Section(
        "settings",
        "Settings",
        [
            reproduce
            and [element("h3", "Reproduce this run bit for bit"), command_block(reproduce)],
            command
            and [element("h3", "Original command"), command_block(normalize_command(command))],
            element("h3", "Config groups"),
            definition_list(options, "Config groups"),
            element("h3", "Hyperparameters"),
            definition_list(hyperparameters, "Hyperparameters"),
            _collapsible("All other settings", definition_list(settings, "All other settings")),
            element("h3", "Time per epoch"),
            epoch_times and epoch_times.to_html(),
            element("h3", "Environment"),
            definition_list(_environment_rows(run), "Environment"),
        ],
        ["Settings that had no effect are omitted."],
    )


def _environment_rows(run: RunData) -> list[tuple[str, object]]:
    environment = run.environment
    packages, git = to_mapping(environment.get("packages")), to_mapping(environment.get("git"))
    commit = str(git.get("commit") or "")[:12]
    is_dirty = git.get("dirty") is True
    rows: list[tuple[str, object]] = [
        ("started", environment.get("started_at")),
        ("commit", commit + (" (uncommitted changes)" if is_dirty else "") if commit else None),
        ("Python", environment.get("python")),
        *packages.items(),
        ("platform", environment.get("platform")),
        ("processor", environment.get("cpu_model")),
        ("cores", environment.get("cpu_count")),
        ("host", environment.get("host")),
        ("weights, SHA-256", str(run.summary.get("weights/sha256") or "")[:16] or None),
        ("dataset, SHA-256", str(run.summary.get("dataset/sha256") or "")[:16] or None),
    ]
    return [(name, value) for name, value in rows if value is not None]


def _collapsible(title: str, content: Markup) -> Markup:
    return element("details", element("summary", title), content)


def _sample_shape(run: RunData) -> tuple[int, ...] | None:
    """Return the shape of a sample; None without predictions."""
    return None if run.predictions is None else run.predictions.images.shape[1:]
