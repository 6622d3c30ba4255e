"""Matplotlib figures of a sweep, for papers and READMEs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import log_ticks, needs_log_scale
from nn.report.coerce import drop_none
from nn.report.parallel import metric_dimension, parameter_dimension
from nn.report.pictures import BLUE, MUTED_COLOR, TEXT_COLOR, new_figure
from nn.report.sweep_curves import NUM_HIGHLIGHTED
from nn.report.sweep_data import SweepData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIGHLIGHT_COLORS = ("#0b6aa8", "#d98b00", "#0a8a63", "#c0609a", "#6b4fb3")
"""Colors of the best trials, best first."""
TICK_TEXT_STYLE: Any = {"ha": "right", "va": "center", "size": 7, "color": MUTED_COLOR}
TICK_BOX_STYLE = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
"""Background that keeps a tick label legible where lines cross it."""


def draw_sweep_figures(sweep: SweepData) -> Iterator[tuple[str, Figure]]:
    """Yield each available figure with its file name: parallel, curves."""
    if len(sweep.scored_trials) > 1 and sweep.varied_params:
        yield "parallel", _draw_parallel_coordinate(sweep)
    if any(drop_none(trial.curve) for trial in sweep.trials):
        yield "curves", _draw_intermediate_values(sweep)


def _draw_parallel_coordinate(sweep: SweepData) -> Figure:
    """Draw each trial as a line through its parameters to the metric, the best in blue."""
    from matplotlib.colors import LinearSegmentedColormap

    trials = [trial for trial in sweep.scored_trials if trial.params]
    dimensions = [parameter_dimension(sweep, name, trials) for name in sweep.varied_params]
    dimensions.append(metric_dimension(sweep, trials))
    figure = new_figure(max(4.0, 1.25 * len(dimensions)), 3.2)
    plot = figure.subplots()
    heights = np.array([_scale_to_unit(axis["values"], axis["range"]) for axis in dimensions]).T
    cmap = LinearSegmentedColormap.from_list("", ["#d9d0bf", "#9db6c2", BLUE])
    worst_first = sorted(
        range(len(trials)),
        key=lambda index: -sweep.metric.minimization_sign * (trials[index].value or 0.0),
    )
    for rank, index in enumerate(worst_first):
        quality = rank / max(1, len(trials) - 1)
        plot.plot(heights[index], color=cmap(quality), linewidth=0.7 + 0.6 * quality, zorder=rank)
    front = len(trials) + 1
    for x, axis in enumerate(dimensions):
        plot.axvline(x, color=MUTED_COLOR, linewidth=0.8, zorder=front)
        for height, text in zip(
            _scale_to_unit(axis["tickvals"], axis["range"]), axis["ticktext"], strict=True
        ):
            label = fmt.truncate(text, 12)
            plot.text(x - 0.04, height, label, bbox=TICK_BOX_STYLE, zorder=front, **TICK_TEXT_STYLE)
    plot.set_xticks(
        range(len(dimensions)),
        [*map(_truncate_name, sweep.varied_params), _truncate_name(sweep.metric.name)],
    )
    plot.xaxis.tick_top()
    plot.tick_params(axis="x", labelcolor=TEXT_COLOR, pad=6)
    plot.set(ylim=(-0.02, 1.02), xlim=(-0.45, len(dimensions) - 0.9))
    plot.yaxis.set_visible(False)
    plot.grid(visible=False)
    for spine in plot.spines.values():
        spine.set_visible(False)
    return figure


def _draw_intermediate_values(sweep: SweepData) -> Figure:
    """Draw the metric of all trials by epoch, with the best trials in front."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(7.2, 3.0)
    plot = figure.subplots()
    best = [trial for trial in sweep.ranked_trials if drop_none(trial.curve)][:NUM_HIGHLIGHTED]
    for trial in sweep.trials:
        if trial not in best and drop_none(trial.curve):
            color = "#e3b48f" if trial.status == "pruned" else "#cfc7b8"
            plot.plot(trial.epochs, _none_to_nan(trial.curve), color=color, linewidth=0.7)
    for trial, color in reversed(list(zip(best, HIGHLIGHT_COLORS, strict=False))):
        label = f"trial {trial.number}"
        plot.plot(trial.epochs, _none_to_nan(trial.curve), color=color, linewidth=1.6, label=label)
    values = drop_none([value for trial in sweep.trials for value in trial.curve])
    if needs_log_scale(values):
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
