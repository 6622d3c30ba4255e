"""PNG pictures of runs and sweeps for papers and READMEs, drawn by Matplotlib."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from nn.errors import UserError
from nn.io.coerce import drop_none
from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report.charts.chart import MAX_NAMED_CLASSES, log_ticks, needs_log_scale
from nn.report.charts.parallel import metric_dimension, parameter_dimension, point_noun
from nn.report.charts.run import MAX_ANNOTATED_CLASSES
from nn.report.charts.sweep import CURVE_ROLES
from nn.report.data.comparison import ComparisonReader, flat_settings, name_settings
from nn.report.data.images import Pixels, to_thumbnail
from nn.report.data.index import PageReader
from nn.report.data.points import PointRecord
from nn.report.data.run import CurveRecord, RunReader
from nn.report.data.sweep import SweepDetails, SweepReader, SweepRecord
from nn.report.pages.sweep import rank_params
from nn.report.palette import DASHES, class_color, class_dash, color
from nn.runs.seeds import average_curves
from nn.types import Array

COLORS = {
    **dict.fromkeys(("text.color", "axes.titlecolor"), color("ink")),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), color("rule")),
    **dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), color("muted")),
}
has_style = matplotlib.style.context(["nn.report.static.png", COLORS])
"""Decorates functions that draw with the style sheet of the pictures and the colors of pages."""
# Not worth a message: fonts that are not installed, and building the font cache.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
MAX_PNG_COLORS = 128
"""Palette size of a PNG: enough for the few colors of a figure and their antialiasing."""
NUM_PREDICTIONS = 24
"""Images in the grid of a run's predictions, up to half of them misclassified."""
NUM_GRID_COLUMNS = 12
BEST_TRIAL_ROLES = ("class-0", "class-1", "class-2", "class-3", "class-9")
"""Colors of the best trials' learning curves, best first."""
MAX_LABELS, MAX_OPAQUE_LINES = 12, 100
"""Labels on an axis of the parallel coordinates, and lines before they become translucent."""
MAX_BARS = 20
"""Parameters in the chart of importances."""
LEGEND_PLACE: Final = "outside lower center"
"""Below the plots, where it covers no line."""
LINE_STYLES = dict(zip(DASHES, ("-", "--", ":", "-."), strict=True))
"""Matplotlib's name of each dash style."""


class GridImage(NamedTuple):
    """An image (channels, height, width) with its prediction."""

    image: Pixels
    predicted_class: str
    confidence: float
    true_class: str | None
    name: str = ""


@has_style
def render_pngs(reader: PageReader) -> list[tuple[str, bytes]]:
    """Render the pictures of a run, a sweep or a comparison that the data allow, with their names.

    Raises:
        UserError: The data are something else.
    """
    if isinstance(reader, ComparisonReader):
        figures = _draw_comparison(reader)
    elif isinstance(reader, SweepReader):
        figures = _draw_sweep(reader)
    elif isinstance(reader, RunReader):
        figures = _draw_run(reader)
    else:
        raise UserError("--png-dir: requires a run, a sweep or several runs.")
    return [(name, _to_png(figure)) for name, figure in figures]


@has_style
def render_image_grid(grid_images: Sequence[GridImage]) -> bytes:
    """Render a grid of images with their predictions."""
    return _to_png(_draw_image_grid(grid_images))


def _to_png(figure: Figure) -> bytes:
    """Encode a figure as a small PNG: reduced to a palette, then optimized."""
    raw, optimized = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png")
    image = Image.open(raw).convert("RGB")
    image = image.quantize(MAX_PNG_COLORS, kmeans=2, dither=Image.Dither.NONE)
    image.save(optimized, "PNG", optimize=True)
    return optimized.getvalue()


def _draw_run(run: RunReader) -> Iterator[tuple[str, Figure]]:
    record, curves, predictions = run.record(), run.curves(), run.predictions
    names = [each["name"] for each in record["classes"]]
    if "train/loss" in curves["columns"]:
        training = Line2D([], [], color=color("train"), label="training")
        validation = Line2D([], [], color=color("accent"), label="validation")
        lines = [(training, [curves], "train"), (validation, [curves], "val")]
        yield "curves", _draw_learning_curves(lines, "{}", record["selected_epoch"])
    if record["confusion_matrix"]:
        yield "confusion", _draw_confusion_matrix(np.array(record["confusion_matrix"]), names)
    if predictions is not None and predictions.has_images:
        yield "predictions", _draw_image_grid(list(_select_examples(predictions, names)))


def _draw_sweep(sweep: SweepReader) -> Iterator[tuple[str, Figure]]:
    record, trials, details = sweep.record(), sweep.point_records(), sweep.details()
    ranked = [trial for trial in trials if trial["rank"] and trial["params"]]
    names = rank_params(record, details)
    if len(ranked) > 1 and names:
        yield "parallel", _draw_parallel_coordinates(record, ranked, names)
    if any(drop_none(trial["curve"]) for trial in trials):
        yield "curves", _draw_trial_curves(record["metric"], trials)
    if details["importances"]:
        yield "importance", _draw_importances(details)


def _draw_comparison(comparison: ComparisonReader) -> Iterator[tuple[str, Figure]]:
    names, curves = comparison.run_names, [run.curves() for run in comparison.runs]
    groups, lines = comparison.seed_groups(), []
    if len(groups) < len(names):
        names = name_settings(names, [flat_settings(run.record()) for run in comparison.runs])
    for index, group in enumerate(groups):
        line = Line2D([], [], color=class_color(index), label=fmt.truncate(names[group[0]], 50))
        line.set(linestyle=LINE_STYLES[class_dash(index)])
        lines.append((line, [curves[run] for run in group], "val"))
    yield "curves", _draw_learning_curves(lines, "Validation {}")


def _draw_learning_curves(
    lines: Sequence[tuple[Line2D, Sequence[CurveRecord], str]],
    title: str,
    selected_epoch: float | None = None,
) -> Figure:
    """Draw loss and accuracy side by side, as lines like those of the legend.

    Each is the mean over runs that differ in their seed, with a band of their spread.
    """
    figure = Figure(figsize=(7.2, 2.6 + 0.18 * -(-len(lines) // 2)))
    for plot, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for line, runs, split in lines:
            columns = [(run["epochs"], run["columns"].get(f"{split}/{metric}", [])) for run in runs]
            curve = average_curves([(x[: len(values)], values) for x, values in columns])
            center, std, each = _to_array(curve.mean), _to_array(curve.std), line.get_color()
            if len(runs) > 1:
                edges = center - std, center + std
                plot.fill_between(curve.x, *edges, color=each, alpha=0.13, linewidth=0)
            (drawn,) = plot.plot(curve.x, center)
            drawn.set(color=each, linestyle=line.get_linestyle())
            drawn.set_marker("o" if len(center) == 1 else "")
        if selected_epoch is not None and len(lines[0][1][0]["epochs"]) > 1:
            plot.axvline(selected_epoch, color=color("muted"), linestyle=":", linewidth=1)
        plot.set(title=title.format(metric).capitalize(), xlabel="epoch")
        plot.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if metric == "accuracy":
            plot.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.6g}{fmt.PERCENT}")
    figure.legend(handles=[line for line, *_ in lines], loc=LEGEND_PLACE, ncols=2)
    return figure


def _create_bare_plot(width: float, height: float) -> tuple[Figure, Axes]:
    """Create a figure with a plot without grid and spines."""
    figure = Figure(figsize=(width, height))
    plot = figure.subplots()
    plot.grid(visible=False)
    plot.spines[:].set_visible(False)
    return figure, plot


def _draw_confusion_matrix(counts: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draw counts, colored by their fraction of the row: blue on the diagonal, orange off it."""
    names = [fmt.truncate(name, 14) for name in class_names]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(counts), dtype=bool)
    errors = np.sqrt(
        np.where(diagonal, 0, shares)
    )  # the square root makes small fractions distinguishable
    errors /= errors.max() or 1.0
    side = float(np.clip(0.42 * len(counts) + 1.2, 3.2, 8.0))
    figure, plot = _create_bare_plot(side, side)
    gap = min(0.7, 5 * side / len(counts))
    for hidden, values, role in ((~diagonal, shares, "accent"), (diagonal, errors, "wrong")):
        cmap = LinearSegmentedColormap.from_list("", [color("cell"), color(role)])
        cells = np.ma.masked_where(hidden, values)
        plot.pcolormesh(cells, cmap=cmap, vmin=0, vmax=1, edgecolors="white", linewidth=gap)
    if len(counts) <= MAX_ANNOTATED_CLASSES:
        is_dark = np.where(diagonal, shares > 0.55, errors > 0.6)
        for row, column in np.argwhere(counts).tolist():
            ink = "white" if is_dark[row, column] else color("ink")
            text = plot.text(column + 0.5, row + 0.5, f"{counts[row, column]:,}", size=7, color=ink)
            text.set(ha="center", va="center")
    step = -(-len(names) // MAX_NAMED_CLASSES)
    ticks, is_long = np.arange(0, len(names), step) + 0.5, max(map(len, names)) > 3
    rotation, alignment = (45, "right") if is_long else (0, "center")
    plot.set_xticks(ticks, names[::step], rotation=rotation, ha=alignment)
    plot.set_yticks(ticks, names[::step])
    plot.set(xlabel="predicted", ylabel="true", aspect="equal")
    plot.invert_yaxis()
    return figure


def _select_examples(predictions: Predictions, names: Sequence[str]) -> Iterator[GridImage]:
    """Yield the most confident errors followed by correctly classified samples."""
    wrong = predictions.examples(correct=False, max_examples=NUM_PREDICTIONS // 2)
    correct = predictions.examples(correct=True, max_examples=NUM_PREDICTIONS - len(wrong))
    for image, sample in [*wrong, *correct]:
        probabilities, label = predictions.probabilities[sample], predictions.labels[sample]
        predicted = int(probabilities.argmax())
        yield GridImage(image, names[predicted], float(probabilities[predicted]), names[label])


def _draw_image_grid(grid_images: Sequence[GridImage]) -> Figure:
    """Draw images in rows of `NUM_GRID_COLUMNS`; errors are outlined and show the true class."""
    rows = -(-len(grid_images) // NUM_GRID_COLUMNS)
    has_names = any(image.name for image in grid_images)
    figure = Figure(figsize=(7.2, (1.06 if has_names else 0.98) * rows + 0.05))
    plots = figure.subplots(rows, NUM_GRID_COLUMNS, squeeze=False).ravel()
    for plot in plots:
        plot.set(xticks=[], yticks=[])
        plot.spines[:].set_visible(False)
    for plot, image in zip(plots, grid_images, strict=False):
        title = [fmt.truncate(image.predicted_class, 11), fmt.confidence(image.confidence)]
        is_wrong = image.true_class not in (None, image.predicted_class)
        if is_wrong:
            title.insert(1, f"is {fmt.truncate(str(image.true_class), 9)}")
        plot.imshow(to_thumbnail(image.image), cmap="gray", vmin=0, vmax=255)
        plot.spines[:].set(visible=is_wrong, color=color("wrong"), linewidth=1.6)
        plot.set_xlabel(fmt.truncate(image.name, 14), size=5, labelpad=2)
        style = {"size": 6, "weight": "normal", "color": color("wrong" if is_wrong else "ink")}
        plot.set_title("\n".join(title), loc="center", pad=2, **style)
    return figure


def _draw_parallel_coordinates(
    record: SweepRecord, trials: Sequence[PointRecord], names: Sequence[str]
) -> Figure:
    """Draw each trial as a line through its parameters to the metric, the best in front."""
    worst_first = sorted(trials, key=lambda trial: -(trial["rank"] or 0))
    dimensions = [parameter_dimension(record, worst_first, name) for name in names]
    dimensions.append(metric_dimension(record, worst_first))
    figure, plot = _create_bare_plot(max(4.0, 1.25 * len(dimensions)), 3.2)
    points = np.empty((len(worst_first), len(dimensions), 2))
    for x, dimension in enumerate(dimensions):
        low, high = dimension.range
        points[:, x, 0], points[:, x, 1] = x, (dimension.values - low) / (high - low)
        plot.axvline(x, color=color("muted"), linewidth=0.8, zorder=3)
        step = -(-len(dimension.ticks) // MAX_LABELS)
        for position, label in list(dimension.ticks.items())[::step]:
            height = (position - low) / (high - low)
            text = plot.text(x - 0.04, height, fmt.truncate(label, 12), ha="right", va="center")
            halo = withStroke(linewidth=3, foreground="white")
            text.set(size=7, color=color("muted"), path_effects=[halo])
    quality = np.linspace(0, 1, len(points))
    colormap = LinearSegmentedColormap.from_list("", list(map(color, ("low", "middle", "high"))))
    colors = colormap(quality)
    colors[:, 3] = np.maximum(quality**8, min(1, MAX_OPAQUE_LINES / len(points)))
    plot.add_collection(LineCollection(list(points), colors=colors, linewidths=0.7 + 0.6 * quality))
    plot.set_xticks(range(len(dimensions)), [fmt.truncate(each.name, 18) for each in dimensions])
    plot.xaxis.tick_top()
    plot.tick_params(axis="x", labelcolor=color("ink"), pad=6)
    plot.set(ylim=(0, 1), xlim=(-0.45, len(dimensions) - 0.9))
    plot.yaxis.set_visible(False)
    return figure


def _draw_trial_curves(metric: str, trials: Sequence[PointRecord]) -> Figure:
    """Draw the metric of all points by epoch, the best in front with a band of their seeds."""
    with_curve = [trial for trial in trials if drop_none(trial["curve"])]
    ranked = sorted((t for t in with_curve if t["rank"]), key=lambda trial: trial["rank"] or 0)
    best = list(zip(ranked, map(color, BEST_TRIAL_ROLES), strict=False))
    others = [trial for trial in with_curve if trial not in ranked[: len(best)]]
    colors = [color(CURVE_ROLES.get(trial["status"], "curve")) for trial in others]
    figure = Figure(figsize=(7.2, 3.2))
    plot = figure.subplots()
    plot.add_collection(
        LineCollection(list(map(_to_points, others)), colors=colors, linewidths=0.7)
    )
    for trial, each in reversed(best):
        center, std = _to_array(trial["curve"]), _to_array(trial["curve_std"])
        if len(std):
            edges = center - std, center + std
            plot.fill_between(trial["epochs"], *edges, color=each, alpha=0.13, linewidth=0)
        marker = "o" if len(trial["curve"]) == 1 else None
        plot.plot(*_to_points(trial).T, color=each, marker=marker, zorder=3)
    values = drop_none([value for trial in with_curve for value in trial["curve"]])
    if needs_log_scale(values):
        ticks = log_ticks(min(values), max(values))
        plot.set_yscale("log")
        plot.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
        plot.minorticks_off()
    plot.autoscale_view()
    plot.set(title=fmt.truncate(metric, 60), xlabel="epoch")
    plot.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    labels = {each: f"{point_noun(trials)} {trial['number']}" for trial, each in best}
    labels |= {color("curve"): "others", **{color(r): state for state, r in CURVE_ROLES.items()}}
    shown = dict.fromkeys([*(each for _, each in best), *colors])
    lines = [Line2D([], [], color=each, label=labels[each]) for each in shown]
    figure.legend(handles=lines, loc=LEGEND_PLACE, ncols=7)
    return figure


def _draw_importances(details: SweepDetails) -> Figure:
    """Draw the share of the variance that each parameter explains, the largest on top."""
    names, shares = zip(*list(details["importances"].items())[:MAX_BARS], strict=True)
    figure, plot = _create_bare_plot(5.4, 0.7 + 0.24 * len(shares))
    plot.spines["left"].set_visible(True)
    bars = plot.barh(range(len(shares)), shares, color=color("accent"))
    plot.bar_label(bars, [fmt.percent(share, 0) for share in shares], padding=4)
    plot.set_yticks(range(len(shares)), [fmt.truncate(name, 30) for name in names])
    plot.set(title=f"Parameter importance (fANOVA, {details['importance_basis']})", xticks=[])
    plot.margins(x=0.12)
    plot.invert_yaxis()
    return figure


def _to_points(trial: PointRecord) -> NDArray[np.float64]:
    return np.transpose([trial["epochs"], _to_array(trial["curve"])])


def _to_array(values: Sequence[float | None] | Array) -> NDArray[np.float64]:
    """Convert to an array, NaN in place of None, of numbers that Matplotlib can draw."""
    return np.clip(np.array(values, np.float64), -1e100, 1e100)
