"""Pictures for papers and READMEs, drawn with matplotlib on white."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.errors import Mistake
from nn.report import images, words
from nn.report.run_story import RunStory
from nn.report.sweep_charts import axis_of_metric, magnitudes, parallel_axis
from nn.report.sweep_story import SweepStory
from nn.report.values import known
from nn.tracking.files import write_whole
from nn.tracking.places import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#1f1c18", "#6a6359", "#e2dccf"
BLUE, ORANGE, GREY = "#0b5c8a", "#c4521a", "#8a94a3"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # names are texts, whatever is in them
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9.5,
    "axes.titleweight": "semibold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}
TICK: Any = {"ha": "right", "va": "center", "size": 7, "color": MUTED}
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
"""What keeps a label apart from the lines that pass it."""
COLOURS = 128
"""Colours of a picture, more than its few inks and their edges need."""
GRID = 24
"""Predictions that are shown, half of them wrong if there are so many."""
NAMED = 40
"""Classes up to which each has its name."""


def of_run(story: RunStory) -> Iterator[tuple[str, Figure]]:
    """Draw what there is of a run."""
    if known(story.curve("train/loss")):
        yield "curves", _curves(story)
    if story.confusion is not None:
        yield "confusion", _confusion(story)
    if story.predictions is not None and story.predictions.drawable:
        yield "predictions", _predictions(story)


def of_sweep(story: SweepStory) -> Iterator[tuple[str, Figure]]:
    """Draw what there is of a sweep."""
    if len(story.scored) > 1 and story.varied:
        yield "parallel", _parallel(story)
    if any(known(trial.curve) for trial in story.trials):
        yield "curves", _learning(story)


def write(drawn: Callable[[], Iterator[tuple[str, Figure]]], folder: Path) -> None:
    """Write pictures into a folder, and say where each is."""
    with _style():
        for name, figure in drawn():
            place = folder / f"{name}.png"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(place, _encoded(figure))
            except OSError as error:
                reason = f"nothing can be written there: {error.strerror}"
                raise Mistake(f"{short(place)}: {reason}.") from None
            print(short(place))


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def _encoded(figure: Figure) -> bytes:
    """Write a picture small: of few colours, and well packed."""
    from PIL import Image

    raw, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", facecolor="white", bbox_inches="tight", pad_inches=0.12)
    image = Image.open(raw).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _curves(story: RunStory) -> Figure:
    """Loss and accuracy side by side, the kept epoch marked."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = _figure(7.2, 2.6)
    for place, (plot, what) in enumerate(
        zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True)
    ):
        for part, ink in (("train", GREY), ("val", BLUE)):
            values = story.curve(f"{part}/{what}")
            if known(values):
                drawn = [np.nan if value is None else value for value in values]
                called = {"train": "training", "val": "validation"}[part]
                mark = "o" if len(drawn) == 1 else None
                plot.plot(story.epochs, drawn, color=ink, linewidth=1.6, label=called, marker=mark)
        if story.kept_epoch is not None and len(story.epochs) > 1:
            plot.axvline(story.kept_epoch, color=MUTED, linestyle=":", linewidth=1)
        plot.set(title=what.capitalize(), xlabel="epoch")
        plot.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if place:
            plot.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
            plot.legend(loc="lower right")
    return figure


def _confusion(story: RunStory) -> Figure:
    """Right ones on the diagonal in blue, mistakes in orange, both by share of the row."""
    from matplotlib.colors import LinearSegmentedColormap

    assert story.confusion is not None
    matrix, names = story.confusion, [words.clipped(name, 14) for name in story.names]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(matrix), dtype=bool)
    side = float(np.clip(0.42 * len(matrix) + 1.2, 3.2, 8.0))
    figure = _figure(side, side)
    plot = figure.subplots()
    wrong = np.sqrt(shares)
    most = wrong[~diagonal].max(initial=0.0) or 1.0
    for hidden, values, top, ink in (
        (~diagonal, shares, 1.0, BLUE),
        (diagonal, wrong, most, ORANGE),
    ):
        colours = LinearSegmentedColormap.from_list("", ["#f4f0e8", ink])
        plot.imshow(np.ma.masked_where(hidden, values), cmap=colours, vmin=0, vmax=top)
    if len(matrix) <= 16:
        for (truth, predicted), count in np.ndenumerate(matrix):
            if count:
                right = truth == predicted
                dark = (
                    shares[truth, predicted] > 0.55
                    if right
                    else wrong[truth, predicted] > 0.6 * most
                )
                ink = "white" if dark else INK
                plot.text(
                    predicted, truth, f"{count:,}", ha="center", va="center", color=ink, size=7
                )
    every = -(-len(names) // NAMED)
    places, long = range(0, len(names), every), max(map(len, names)) > 3
    plot.set_xticks(
        places, names[::every], rotation=45 if long else 0, ha="right" if long else "center"
    )
    plot.set_yticks(places, names[::every])
    plot.set(xlabel="predicted", ylabel="true")
    plot.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    plot.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    plot.grid(visible=False)
    plot.grid(which="minor", axis="both", color="white", linewidth=1)
    plot.tick_params(which="minor", length=0)
    for spine in plot.spines.values():
        spine.set_visible(False)
    return figure


def _predictions(story: RunStory) -> Figure:
    """The most confidently wrong samples, and right ones."""
    read = story.predictions
    assert read is not None
    wrong = read.examples(right=False, most=GRID // 2)
    shown = [*wrong, *read.examples(right=True, most=GRID - len(wrong))]
    columns = 12
    rows = -(-len(shown) // columns)
    figure = _figure(7.2, 0.98 * rows + 0.05)
    plots = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for plot in plots:
        plot.axis("off")
    for plot, (image, sample) in zip(plots, shown, strict=False):
        probabilities, truth = read.probabilities[sample], int(read.labels[sample])
        guess = int(probabilities.argmax())
        plot.imshow(images.shown(image), cmap="gray")
        sure = words.confidence(float(probabilities[guess]))
        text = words.clipped(story.names[guess], 11)
        if guess != truth:
            text += f"\nis {words.clipped(story.names[truth], 9)}"
        plot.set_title(f"{text}\n{sure}", size=6, weight="normal", loc="center", pad=2,
                       color=INK if guess == truth else ORANGE)  # fmt: skip
    return figure


def _parallel(story: SweepStory) -> Figure:
    """Each trial as a line through its parameters to the metric, the best in blue."""
    from matplotlib.colors import LinearSegmentedColormap

    trials = [trial for trial in story.scored if trial.point]
    axes = [parallel_axis(story, name, trials) for name in story.varied]
    axes.append(axis_of_metric(story, trials))
    figure = _figure(max(4.0, 1.25 * len(axes)), 3.2)
    plot = figure.subplots()
    heights = np.array([_within(made["values"], made["range"]) for made in axes]).T
    colours = LinearSegmentedColormap.from_list("", ["#d9d0bf", "#9db6c2", BLUE])
    order = sorted(
        range(len(trials)), key=lambda place: -story.metric.sign * (trials[place].value or 0.0)
    )
    for rank, place in enumerate(order):
        goodness = rank / max(1, len(order) - 1)
        plot.plot(
            heights[place], color=colours(goodness), linewidth=0.7 + 0.6 * goodness, zorder=rank
        )
    front = len(order) + 1
    for place, made in enumerate(axes):
        plot.axvline(place, color=MUTED, linewidth=0.8, zorder=front)
        for height, text in zip(
            _within(made["tickvals"], made["range"]), made["ticktext"], strict=True
        ):
            shown = words.clipped(text, 12)
            plot.text(place - 0.04, height, shown, bbox=BEHIND, zorder=front, **TICK)
    plot.set_xticks(range(len(axes)), [*map(_short, story.varied), _short(story.metric.name)])
    plot.xaxis.tick_top()
    plot.tick_params(axis="x", labelcolor=INK, pad=6)
    plot.set(ylim=(-0.02, 1.02), xlim=(-0.45, len(axes) - 0.9))
    plot.yaxis.set_visible(False)
    plot.grid(visible=False)
    for spine in plot.spines.values():
        spine.set_visible(False)
    return figure


def _learning(story: SweepStory) -> Figure:
    """The metric of all trials by epoch, the best five in front."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(7.2, 3.0)
    plot = figure.subplots()
    front = [trial for trial in story.ranked if known(trial.curve)][:5]
    inks = ("#0b6aa8", "#d98b00", "#0a8a63", "#c0609a", "#6b4fb3")
    for trial in story.trials:
        if trial not in front and known(trial.curve):
            ink = "#e3b48f" if trial.status == "pruned" else "#cfc7b8"
            plot.plot(trial.epochs, _drawn(trial.curve), color=ink, linewidth=0.7)
    for trial, ink in reversed(list(zip(front, inks, strict=False))):
        called = f"trial {trial.number}"
        plot.plot(trial.epochs, _drawn(trial.curve), color=ink, linewidth=1.6, label=called)
    values = known([value for trial in story.trials for value in trial.curve])
    if min(values) > 0 and max(values) > 10 * min(values):
        ticks = magnitudes(min(values), max(values))
        plot.set_yscale("log")
        plot.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
        plot.minorticks_off()
    plot.set(title=_short(story.metric.name), xlabel="epoch")
    plot.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    handles, labels = plot.get_legend_handles_labels()
    if handles:
        plot.legend(handles[::-1], labels[::-1])
    return figure


def _drawn(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]


def _within(values: Sequence[float], ends: Sequence[float]) -> list[float]:
    low, high = ends
    return [(value - low) / (high - low) for value in values]


def _short(name: str) -> str:
    return words.clipped(name, 18)
