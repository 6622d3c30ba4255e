"""The pictures of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import log_ticks
from nn.report.coerce import drop_none
from nn.report.parallel import metric_dimension, parameter_dimension
from nn.report.pictures import BLUE, MUTED_COLOR, TEXT_COLOR, new_figure
from nn.report.sweep_data import SweepData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TICK_TEXT_STYLE: Any = {"ha": "right", "va": "center", "size": 7, "color": MUTED_COLOR}
TICK_BOX_STYLE = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
"""What keeps a label apart from the lines that pass it."""


def draw_sweep_figures(sweep: SweepData) -> Iterator[tuple[str, Figure]]:
    """Draw what there is of a sweep."""
    if len(sweep.scored_trials) > 1 and sweep.varied_params:
        yield "parallel", _draw_parallel_coordinate(sweep)
    if any(drop_none(trial.curve) for trial in sweep.trials):
        yield "curves", _draw_intermediate_values(sweep)


def _draw_parallel_coordinate(sweep: SweepData) -> Figure:
    """Each trial as a line through its parameters to the metric, the best in blue."""
    from matplotlib.colors import LinearSegmentedColormap

    trials = [trial for trial in sweep.scored_trials if trial.params]
    axes = [parameter_dimension(sweep, name, trials) for name in sweep.varied_params]
    axes.append(metric_dimension(sweep, trials))
    figure = new_figure(max(4.0, 1.25 * len(axes)), 3.2)
    plot = figure.subplots()
    heights = np.array([_scale_to_unit(made["values"], made["range"]) for made in axes]).T
    colours = LinearSegmentedColormap.from_list("", ["#d9d0bf", "#9db6c2", BLUE])
    order = sorted(
        range(len(trials)),
        key=lambda place: -sweep.metric.minimization_sign * (trials[place].value or 0.0),
    )
    for rank, place in enumerate(order):
        goodness = rank / max(1, len(order) - 1)
        plot.plot(
            heights[place], color=colours(goodness), linewidth=0.7 + 0.6 * goodness, zorder=rank
        )
    front = len(order) + 1
    for place, made in enumerate(axes):
        plot.axvline(place, color=MUTED_COLOR, linewidth=0.8, zorder=front)
        for height, text in zip(
            _scale_to_unit(made["tickvals"], made["range"]), made["ticktext"], strict=True
        ):
            shown = fmt.truncate(text, 12)
            plot.text(
                place - 0.04, height, shown, bbox=TICK_BOX_STYLE, zorder=front, **TICK_TEXT_STYLE
            )
    plot.set_xticks(
        range(len(axes)),
        [*map(_truncate_name, sweep.varied_params), _truncate_name(sweep.metric.name)],
    )
    plot.xaxis.tick_top()
    plot.tick_params(axis="x", labelcolor=TEXT_COLOR, pad=6)
    plot.set(ylim=(-0.02, 1.02), xlim=(-0.45, len(axes) - 0.9))
    plot.yaxis.set_visible(False)
    plot.grid(visible=False)
    for spine in plot.spines.values():
        spine.set_visible(False)
    return figure


def _draw_intermediate_values(sweep: SweepData) -> Figure:
    """The metric of all trials by epoch, the best five in front."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(7.2, 3.0)
    plot = figure.subplots()
    front = [trial for trial in sweep.ranked_trials if drop_none(trial.curve)][:5]
    inks = ("#0b6aa8", "#d98b00", "#0a8a63", "#c0609a", "#6b4fb3")
    for trial in sweep.trials:
        if trial not in front and drop_none(trial.curve):
            ink = "#e3b48f" if trial.status == "pruned" else "#cfc7b8"
            plot.plot(trial.epochs, _none_to_nan(trial.curve), color=ink, linewidth=0.7)
    for trial, ink in reversed(list(zip(front, inks, strict=False))):
        called = f"trial {trial.number}"
        plot.plot(trial.epochs, _none_to_nan(trial.curve), color=ink, linewidth=1.6, label=called)
    values = drop_none([value for trial in sweep.trials for value in trial.curve])
    if min(values) > 0 and max(values) > 10 * min(values):
        ticks = log_ticks(min(values), max(values))
        plot.set_yscale("log")
        plot.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
        plot.minorticks_off()
    plot.set(title=_truncate_name(sweep.metric.name), xlabel="epoch")
    plot.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    handles, labels = plot.get_legend_handles_labels()
    if handles:
        plot.legend(handles[::-1], labels[::-1])
    return figure


def _none_to_nan(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]


def _scale_to_unit(values: Sequence[float], bounds: Sequence[float]) -> list[float]:
    low, high = bounds
    return [(value - low) / (high - low) for value in values]


def _truncate_name(name: str) -> str:
    return fmt.truncate(name, 18)
