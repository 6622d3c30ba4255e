"""The pictures of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import magnitudes
from nn.report.coerce import known
from nn.report.parallel import axis_of_metric, parallel_axis
from nn.report.pictures import BLUE, INK, MUTED, new_figure
from nn.report.sweep_data import SweepStory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TICK: Any = {"ha": "right", "va": "center", "size": 7, "color": MUTED}
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
"""What keeps a label apart from the lines that pass it."""


def of_sweep(story: SweepStory) -> Iterator[tuple[str, Figure]]:
    """Draw what there is of a sweep."""
    if len(story.scored) > 1 and story.varied:
        yield "parallel", _parallel(story)
    if any(known(trial.curve) for trial in story.trials):
        yield "curves", _learning(story)


def _parallel(story: SweepStory) -> Figure:
    """Each trial as a line through its parameters to the metric, the best in blue."""
    from matplotlib.colors import LinearSegmentedColormap

    trials = [trial for trial in story.scored if trial.point]
    axes = [parallel_axis(story, name, trials) for name in story.varied]
    axes.append(axis_of_metric(story, trials))
    figure = new_figure(max(4.0, 1.25 * len(axes)), 3.2)
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
            shown = fmt.clipped(text, 12)
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

    figure = new_figure(7.2, 3.0)
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
    return fmt.clipped(name, 18)
