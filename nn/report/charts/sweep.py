"""Charts of a sweep: importances, history, slices, curves and timeline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import plotly.graph_objects as go

from nn.io.coerce import drop_none
from nn.report import formatting as fmt
from nn.report.charts.chart import (
    Chart,
    add_band,
    category_axis,
    compact_floats,
    compact_integers,
    escape_label,
    log_axis,
    needs_log_scale,
    set_epoch_axis,
)
from nn.report.charts.parallel import parameter_dimension, point_noun
from nn.report.data.points import PointRecord, TrialRecord
from nn.report.data.sweep import SweepDetails, SweepRecord
from nn.report.palette import color
from nn.runs.history import minmax_downsample
from nn.types import Array

MARKERS = {
    "finished": ("circle", "accent"),
    "pruned": ("circle-open", "pruned"),
    "paused": ("square-open", "paused"),
    "diverged": ("x", "wrong"),
    "failed": ("x", "wrong"),
    "running": ("diamond-open", "muted"),
    "interrupted": ("diamond-open", "muted"),
    "crashed": ("x", "muted"),
    "killed": ("x", "muted"),
    "stale": ("x", "muted"),
}
"""Marker symbol and color role of each trial state."""
CURVE_ROLES = {"pruned": "curve-pruned", "paused": "curve-paused"}
"""Color roles of learning curves by trial state; others have the role `curve`."""
NUM_HIGHLIGHTED = 5
"""Best trials whose curves are drawn in color, in front of the others."""
MAX_DESCRIBED_TRIALS = 250
"""Trials up to which markers are large and show the trial's parameters on hover."""
MAX_DRAWN_TRIALS = 1_500
"""Trials that a chart of points or curves draws; more would only cover each other."""
NUM_ALWAYS_DRAWN = 15
"""Best trials that are drawn in any case; many more would look like a cluster."""
MAX_CURVE_POINTS = 12_000
"""Points of all learning curves together, without the highlighted ones."""
TIMELINE_RESOLUTION = 1_500
"""Bars that follow each other in less than this part of the time axis are drawn as one."""
MAX_OVERLAP_SECONDS = 0.05
"""Overlap of trials that still ran one after the other."""
MAX_MARKED_PAUSES = 20
"""Longest pauses that are marked with a line."""


def format_params(trial: TrialRecord, names: Iterable[str]) -> str:
    """Return `name=value, ...` for some parameters of a trial."""
    params = trial["params"]
    return ", ".join(f"{key}={fmt.short_setting(params[key])}" for key in names if key in params)


def _describe(trial: TrialRecord, names: Iterable[str]) -> str:
    text = format_params(trial, names)
    if trial["status"] == "paused":
        text = f"{fmt.count(trial['num_epochs'], 'epoch')}: {text}"
    return escape_label(text, 90)


def plot_param_importances(details: SweepDetails) -> Chart | None:
    """Plot the fraction of the objective's variance that each parameter explains, as bars."""
    importances = details["importances"]
    if not importances:
        return None
    names, shares = list(importances)[::-1], list(importances.values())[::-1]
    figure = go.Figure(layout_bargap=0.45)
    figure.add_bar(
        orientation="h",
        x=shares,
        y=list(range(len(names))),
        texttemplate="%{x:.0%}",
        textposition="outside",
        cliponaxis=False,
        marker_color=color("accent"),
        customdata=[escape_label(name) for name in names],
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
    )
    figure.update_xaxes(visible=False, range=[0, max(shares) * 1.15])
    figure.update_yaxes(category_axis(names, 24), ticklabelstandoff=6)
    alt_text = ", ".join(f"{name} {share:.0%}" for name, share in importances.items())
    return Chart(figure=figure, alt_text=alt_text, height=60 + 38 * len(names))


def plot_optimization_history(
    sweep: SweepRecord, trials: Sequence[PointRecord], names: Sequence[str]
) -> dict[str, Chart]:
    """Plot all values, or means, and the best so far, by trial number and by running time."""
    unit, unit_seconds = fmt.time_unit(sweep["running_seconds"] or 0.0)
    scored = [trial for trial in trials if trial["value"] is not None]
    by_trial = [(float(trial["number"]), trial) for trial in scored]
    by_time = [(s / unit_seconds, t) for t in scored if (s := t["seconds_until_end"]) is not None]
    charts = {}
    for name, axis_title, points in (("trials", "trial", by_trial), ("time", unit, by_time)):
        if not points:
            continue
        points.sort(key=lambda point: point[0])
        x, shown = np.array([x for x, _ in points]), [trial for _, trial in points]
        best_so_far = min if sweep["goal"] == "minimize" else max
        best = np.array([*accumulate((trial["value"] or 0.0 for trial in shown), best_so_far)])
        steps = [0, *(np.flatnonzero(best[1:] != best[:-1]) + 1), len(best) - 1]
        figure = go.Figure()
        _add_trials(figure, shown, x, names)
        line = {"color": color("accent"), "shape": "hv"}
        figure.add_scatter(mode="lines", x=x[steps], y=best[steps], line=line, hoverinfo="skip")
        figure.update_xaxes(title_text=axis_title, zeroline=False)
        ends = f"from {fmt.number(best[0])} to {fmt.number(best[-1])}"
        alt_text = f"The best {sweep['metric']} improves {ends}."
        charts[f"best-{name}"] = Chart(figure=figure, alt_text=alt_text, height=260)
    return charts


def plot_slices(
    sweep: SweepRecord,
    trials: Sequence[PointRecord],
    names: Sequence[str],
    details: SweepDetails,
) -> dict[str, Chart]:
    """Plot the metric against each parameter that differs between trials, by the parameter."""
    trials = [trial for trial in trials if trial["value"] is not None and trial["params"]]
    if len(trials) < 2:
        return {}
    best = min(range(len(trials)), key=lambda index: trials[index]["rank"] or math.inf)
    recommended = details["recommendation"]
    ringed = [
        i for i, t in enumerate(trials) if recommended and t["number"] == recommended["number"]
    ]
    ringed = [index for index in ringed if index != best] + [best]
    roles = ["secondary", "ink"][-len(ringed) :]
    ring = {"symbol": "circle-open", "size": 16, "color": [*map(color, roles)], "line_width": 2}
    charts = {}
    for name in names:
        dimension = parameter_dimension(sweep, trials, name)
        figure, x, ticks = go.Figure(), dimension.values, dimension.ticks
        figure.update_xaxes(nticks=6, zeroline=False)
        if dimension.is_categorical:  # jittered to avoid overlap
            x = x + np.random.default_rng(0).uniform(-0.12, 0.12, len(trials))
            axis = category_axis(list(ticks.values()), 16)
            figure.update_xaxes(axis, range=[-0.5, len(ticks) - 0.5])
        elif dimension.is_log:
            figure.update_xaxes(tickvals=list(ticks), ticktext=list(ticks.values()))
        _add_trials(figure, trials, x, names)
        y = [trials[index]["value"] for index in ringed]
        figure.add_scatter(mode="markers", x=x[ringed], y=y, marker=ring, hoverinfo="skip")
        alt_text = f"The best trial has {format_params(trials[best], [name])}."
        charts[name] = Chart(figure=figure, alt_text=alt_text, height=250)
    return charts


def _add_trials(
    figure: go.Figure, trials: Sequence[PointRecord], x: Array, names: Sequence[str]
) -> None:
    """Add the trials as markers, one trace per state, and set the axis of their values."""
    is_crowded = len(trials) > MAX_DESCRIBED_TRIALS
    has_errors = any(trial["standard_error"] for trial in trials) and not is_crowded
    noun = point_noun(trials)
    size = {"size": 4, "opacity": 0.45} if is_crowded else {"size": 7, "opacity": 0.75}
    for status, indices in _group_by_state(trials, _select_trials(trials)):
        symbol, role = MARKERS[status]
        shown = [trials[index] for index in indices]
        figure.add_scatter(
            mode="markers",
            x=compact_floats(x[indices]),
            y=compact_floats(np.array([trial["value"] for trial in shown], np.float64)),
            marker={"symbol": symbol, "color": color(role), **size},
            error_y_array=[t["standard_error"] or 0.0 for t in shown] if has_errors else None,
            error_y={"thickness": 1, "width": 0},
            customdata=compact_integers([trial["number"] for trial in shown]),
            hovertext=None if is_crowded else [_describe(trial, names) for trial in shown],
            hovertemplate=f"{noun} %{{customdata}}, {status}: <b>%{{y:.4~g}}</b>"
            f"{'' if is_crowded else '<br>%{hovertext}'}<extra></extra>",
        )
    values = drop_none([trial["value"] for trial in trials])
    figure.update_yaxes(log_axis(values) if needs_log_scale(values) else {"nticks": 6})


def plot_intermediate_values(trials: Sequence[PointRecord], names: Sequence[str]) -> Chart | None:
    """Plot the metric of all points by epoch, of several seeds the mean; None if there is none."""
    trials = [trial for trial in trials if drop_none(trial["curve"])]
    if not trials:
        return None
    drawn = _select_trials(trials)
    ranked = sorted(drawn, key=lambda index: trials[index]["rank"] or math.inf)
    best = [index for index in ranked if trials[index]["rank"]][:NUM_HIGHLIGHTED]
    groups = dict(_group_by_state(trials, ranked[len(best) :]))
    # One trace per state, with gaps between trials, is much faster to draw than one per trial.
    traces = [(group, CURVE_ROLES.get(status, "curve"), status) for status, group in groups.items()]
    traces += [
        ([index], f"class-{rank}", _describe(trials[index], names))
        for rank, index in reversed(list(enumerate(best)))
    ]
    figure, noun = go.Figure(), point_noun(trials)
    for indices, role, description in traces:
        is_best = role.startswith("class-")
        max_points = MAX_CURVE_POINTS if is_best else max(8, MAX_CURVE_POINTS // len(drawn))
        curves = [_thin_curve(trials[index], max_points) for index in indices]
        x, y = np.concatenate(curves, axis=1)
        numbers = compact_integers([trials[index]["number"] for index in indices])
        if is_best:
            point = trials[indices[0]]
            add_band(figure, point["epochs"], point["curve"], point["curve_std"], color(role))
        figure.add_scatter(
            mode="lines" if any(curve.shape[1] > 2 for curve in curves) else "markers",
            x=compact_floats(x),
            y=compact_floats(y),
            customdata=np.repeat(numbers, [curve.shape[1] for curve in curves]),
            line={"color": color(role), "width": 2 if is_best else 1},
            hovertext=description,
            hovertemplate=f"{noun} %{{customdata}}, %{{hovertext}}<br>epoch %{{x}}: %{{y:.4~g}}"
            "<extra></extra>",
        )
    values = drop_none([value for index in drawn for value in trials[index]["curve"]])
    set_epoch_axis(figure, max(trial["num_epochs"] for trial in trials))
    if needs_log_scale(values):
        figure.update_yaxes(log_axis(values))
    legend = [(f"class-{rank}", f"{noun} {trials[i]['number']}") for rank, i in enumerate(best)]
    legend.append(("curve", f"other {noun}s"))
    legend += [(role, status) for status, role in CURVE_ROLES.items() if status in groups]
    return Chart(
        figure=figure,
        alt_text=f"Learning curves of {len(trials)} {noun}s, the best {len(best)} highlighted.",
        height=420,
        legend=legend,
        has_log_scale=min(values) > 0,
        has_smoothing=any(len(trials[index]["curve"]) > 1 for index in drawn),
    )


def _thin_curve(trial: TrialRecord, max_points: int) -> Array:
    """Return the epochs and the values of a learning curve, with a gap at its end."""
    kept = minmax_downsample([trial["curve"]], max_points)
    curve = np.array([trial["epochs"], trial["curve"]], np.float64)[:, kept]
    return np.column_stack([curve, [math.nan, math.nan]])


def plot_timeline(
    sweep: SweepRecord, trials: Sequence[TrialRecord], names: Sequence[str]
) -> Chart | None:
    """Plot each trial as bars over running time; trials in parallel get rows of their own."""
    timed = sorted((t for t in trials if t["intervals"]), key=lambda trial: trial["intervals"][0])
    running_seconds = sweep["running_seconds"]
    if not timed or not running_seconds or not sweep["running_intervals"]:
        return None
    unit, unit_seconds = fmt.time_unit(running_seconds)
    bars, num_rows = _arrange_bars(sweep, timed, running_seconds)
    is_crowded = len(bars) > MAX_DESCRIBED_TRIALS
    figure = go.Figure(layout={"barmode": "overlay", "bargap": 0.25})
    states = list(_group_by_state([bar.trial for bar in bars], range(len(bars))))
    for status, indices in states:
        shown = [bars[index] for index in indices]
        starts, ends = (np.array([(bar.start, bar.end) for bar in shown]) / unit_seconds).T
        figure.add_bar(
            orientation="h",
            base=compact_floats(starts).tolist(),
            x=compact_floats(ends - starts),
            y=np.array([bar.row for bar in shown]),
            marker_color=color(MARKERS[status][1]),
            marker_line={"width": 0 if is_crowded else 0.5, "color": color("paper")},
            hovertext=[_describe_bar(bar, [] if is_crowded else names) for bar in shown],
            textposition="none",
            hoverinfo="text",
        )
    for seconds, _ in sorted(sweep["pauses"], key=lambda pause: -pause[1])[:MAX_MARKED_PAUSES]:
        figure.add_vline(seconds / unit_seconds)
    figure.update_xaxes(title_text=unit)
    figure.update_yaxes(visible=False, autorange="reversed")
    return Chart(
        figure=figure,
        alt_text=f"{len(timed)} trials ran in {fmt.duration(running_seconds)}, at most "
        f"{num_rows} at a time.",
        height=min(max(80 + 44 * num_rows, 130), 480),
        legend=[(MARKERS[status][1], status) for status, _ in states],
    )


@dataclass
class _Bar:
    """An interval in which a trial ran, or several that are too short to distinguish."""

    trial: TrialRecord
    row: int
    start: float
    end: float
    num_trials: int = 1


def _arrange_bars(
    sweep: SweepRecord, trials: Iterable[TrialRecord], running_seconds: float
) -> tuple[list[_Bar], int]:
    """Return the bars of trials in the order of their start, and the number of rows."""
    times = np.ravel(sweep["running_intervals"])
    lengths = np.diff(times, prepend=times[:1])
    lengths[::2] = 0.0  # pauses
    clock = np.cumsum(lengths)
    bars: list[_Bar] = []
    last_bars: list[_Bar] = []  # by row
    resolution = running_seconds / TIMELINE_RESOLUTION
    for trial in trials:
        spans = np.interp(trial["intervals"], times, clock).tolist()
        latest_end = spans[0][0] + MAX_OVERLAP_SECONDS
        free_rows = (row for row, bar in enumerate(last_bars) if bar.end <= latest_end)
        row = next(free_rows, len(last_bars))
        for start, end in spans:
            last = last_bars[row] if row < len(last_bars) else None
            is_short = last is not None and end - last.start < resolution
            if last and is_short and last.trial["status"] == trial["status"]:
                last.num_trials += last.trial is not trial
                last.end = end
            else:
                bars.append(_Bar(trial, row, start, end))
                last_bars[row : row + 1] = bars[-1:]
    return bars, len(last_bars)


def _describe_bar(bar: _Bar, names: Sequence[str]) -> str:
    trial, status = bar.trial, escape_label(bar.trial["status"])
    if bar.num_trials > 1:
        return f"{bar.num_trials} trials from trial {trial['number']} on, {status}"
    seconds = sum(end - start for start, end in trial["intervals"])
    text = f"trial {trial['number']}, {status}: {fmt.duration(seconds)}"
    return f"{text}<br>{_describe(trial, names)}" if names else text


def _select_trials(trials: Sequence[TrialRecord]) -> list[int]:
    """Return the indices of the trials to draw: all, or the best and an even selection."""
    step = -(-len(trials) // MAX_DRAWN_TRIALS)
    return [
        index
        for index, trial in enumerate(trials)
        if index % step == 0 or (trial["rank"] or math.inf) <= NUM_ALWAYS_DRAWN
    ]


def _group_by_state(
    trials: Sequence[TrialRecord], indices: Iterable[int]
) -> Iterator[tuple[str, list[int]]]:
    """Yield each state with its trials among these; unknown states count as failed."""
    groups: dict[str, list[int]] = {status: [] for status in MARKERS}
    for index in indices:
        groups.get(trials[index]["status"], groups["failed"]).append(index)
    yield from ((status, group) for status, group in groups.items() if group)
