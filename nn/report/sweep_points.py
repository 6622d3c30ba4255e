"""Parameter importances, optimization history and slice plots of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import category_axis, log_axis, needs_log_scale
from nn.report.chart import Chart, Layout, Trace, escape_label, line_trace
from nn.report.coerce import drop_none, to_finite_float
from nn.report.palette import theme_color
from nn.report.parallel import parameter_dimension
from nn.report.sweep_data import SweepData, TrialData

STATE_MARKERS = {
    "finished": ("circle", "series-1"),
    "pruned": ("circle-open", "series-2"),
    "diverged": ("x", "wrong"),
    "failed": ("x", "wrong"),
    "running": ("diamond-open", "muted"),
}
"""Plotly marker symbol and theme color of each trial state."""
MAX_LARGE_MARKERS = 250
"""Number of trials above which markers are small and translucent."""


def plot_param_importances(sweep: SweepData) -> Chart | None:
    """Plot the fraction of the objective's variance that each parameter explains, as bars."""
    importances, trials = sweep.importance.shares, sweep.importance.num_trials
    if not importances:
        return None
    names = list(importances)[::-1]
    shares = [importances[name] for name in names]
    return Chart(
        "importance",
        f"Share of the variance explained by each parameter, over {trials} finished trials",
        sweep.importance_text,
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": shares,
                "y": list(range(len(names))),
                "text": [f"{share:.0%}" for share in shares],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": theme_color("series-1")},
                "customdata": [escape_label(name) for name in names],
                "hovertemplate": "%{customdata}: %{x:.1%}<extra></extra>",
            }
        ],
        {
            "xaxis": {"visible": False, "range": [0, max(shares) * 1.15]},
            "yaxis": category_axis([escape_label(name, 24) for name in names]),
            "bargap": 0.45,
            "hovermode": "closest",
        },
        height=60 + 38 * len(names),
    )


def plot_optimization_history(sweep: SweepData) -> list[Chart]:
    """Plot all values and the best so far, by trial number and by running time."""
    charts = []
    timed = [trial for trial in sweep.scored_trials if sweep.seconds_until_end(trial) is not None]
    timed.sort(key=lambda trial: sweep.seconds_until_end(trial) or 0.0)
    unit, unit_seconds = fmt.time_unit(sweep.running_time.total_seconds or 0.0)
    numbers: list[float] = [trial.number for trial in sweep.scored_trials]
    times = [round((sweep.seconds_until_end(trial) or 0.0) / unit_seconds, 4) for trial in timed]
    for name, title, axis_title, trials, x in (
        ("trials", "Best value by trial", "trial", sweep.scored_trials, numbers),
        ("time", "Best value by running time", unit, timed, times),
    ):
        if not trials:
            continue
        best = sweep.cumulative_best(trials)
        steps = line_trace("best value", x, best, theme_color("series-1"), line={"shape": "hv"})
        steps |= {"mode": "lines", "hoverinfo": "skip"}
        del steps["hovertemplate"]
        charts.append(
            Chart(
                f"best-{name}",
                title,
                f"The best {sweep.metric.name} improves from {fmt.number(best[0])} to "
                f"{fmt.number(best[-1])}.",
                [*_trial_markers(sweep, trials, x), steps],
                {"xaxis": {"title": {"text": axis_title}}, **_value_axis(trials)},
                height=260,
            )
        )
    return charts


def plot_slices(sweep: SweepData) -> list[Chart]:
    """Plot the metric against each parameter that differs between trials."""
    charts = []
    trials = [trial for trial in sweep.scored_trials if trial.params]
    for index, name in enumerate(sweep.varied_params if len(trials) > 1 else []):
        x, x_axis = _parameter_positions(sweep, name, trials)
        best = sweep.best_trial
        assert best is not None
        ring: Trace = {
            "type": "scatter",
            "mode": "markers",
            "x": [x[trials.index(best)]],
            "y": [best.value],
            "marker": {
                "symbol": "circle-open",
                "size": 16,
                "color": theme_color("ink"),
                "line": {"width": 2},
            },
            "hoverinfo": "skip",
        }
        charts.append(
            Chart(
                f"by-{index}",
                name,
                f"{sweep.metric.name} against {name}; the best trial has {name}="
                f"{fmt.short_setting(best.params[name])}.",
                [*_trial_markers(sweep, trials, x), ring],
                {"xaxis": x_axis, **_value_axis(trials)},
                height=250,
            )
        )
    return charts


def _parameter_positions(
    sweep: SweepData, name: str, trials: Sequence[TrialData]
) -> tuple[list[float], Layout]:
    """Return each trial's x position and the axis; categories are jittered to avoid overlap."""
    dimension = parameter_dimension(sweep, name, trials)
    if "options" in dimension:
        jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(trials))
        x = [round(v + offset, 3) for v, offset in zip(dimension["values"], jitter, strict=True)]
        return x, {
            **category_axis([escape_label(text, 16) for text in dimension["ticktext"]]),
            "range": [-0.5, len(dimension["ticktext"]) - 0.5],
        }
    values = drop_none([to_finite_float(trial.params[name]) for trial in trials])
    if sweep.has_log_scale(name) and min(values) > 0:
        return values, log_axis(values)
    return values, {"nticks": 6}


def _trial_markers(
    sweep: SweepData, trials: Sequence[TrialData], x: Sequence[float]
) -> list[Trace]:
    """Draw the trials as markers, one trace per state."""
    crowded = len(trials) > MAX_LARGE_MARKERS
    size: Trace = {"size": 4, "opacity": 0.45} if crowded else {"size": 7, "opacity": 0.75}
    traces: list[Trace] = []
    for status, (symbol, color) in STATE_MARKERS.items():
        indices = [index for index, trial in enumerate(trials) if trial.status == status]
        if not indices:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x[index] for index in indices],
                "y": [trials[index].value for index in indices],
                "marker": {"symbol": symbol, "color": theme_color(color), **size},
                "hovertext": [
                    f"trial {trials[index].number}, {status}: "
                    f"<b>{fmt.number(trials[index].value)}</b><br>"
                    f"{escape_label(sweep.format_params(trials[index]), 90)}"
                    for index in indices
                ],
                "hoverinfo": "text",
            }
        )
    return traces


def _value_axis(trials: Sequence[TrialData]) -> Layout:
    values = drop_none([trial.value for trial in trials])
    return {
        "yaxis": log_axis(values) if needs_log_scale(values) else {"nticks": 6},
        "hovermode": "closest",
    }
