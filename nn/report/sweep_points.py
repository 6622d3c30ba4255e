"""The trials of a sweep as points: by number, by time, and by each parameter; and what mattered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import category_axis, log_axis, needs_log_scale
from nn.report.chart import Chart, Trace, escape_label, line_trace
from nn.report.coerce import drop_none
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
MAX_LARGE_MARKERS = 250
"""Trials beyond which their dots are small and see-through."""


def plot_param_importances(sweep: SweepData) -> Chart | None:
    """How much each parameter explains."""
    shares_of, trials = sweep.importance.shares, sweep.importance.num_trials
    if not shares_of:
        return None
    names = list(shares_of)[::-1]
    shares = [shares_of[name] for name in names]
    return Chart(
        "importance",
        f"Share of the differences that each parameter explains, over {trials} finished trials",
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
    """The best value over trials, and over time."""
    charts = []
    timed = [trial for trial in sweep.scored_trials if sweep.seconds_until_end(trial) is not None]
    timed.sort(key=lambda trial: sweep.seconds_until_end(trial) or 0.0)
    scale_of_time, second = fmt.time_unit(sweep.running_time.total_seconds or 0.0)
    numbers: list[float] = [trial.number for trial in sweep.scored_trials]
    moments = [round((sweep.seconds_until_end(trial) or 0.0) / second, 4) for trial in timed]
    for name, title, unit, ordered, x in (
        ("trials", "Best so far, by trial", "trial", sweep.scored_trials, numbers),
        ("time", "Best so far, by running time", scale_of_time, timed, moments),
    ):
        if not ordered:
            continue
        best = sweep.cumulative_best(ordered)
        steps = line_trace("best so far", x, best, theme_color("series-1"), line={"shape": "hv"})
        steps |= {"mode": "lines", "hoverinfo": "skip"}
        del steps["hovertemplate"]
        charts.append(
            Chart(
                f"best-{name}",
                title,
                f"The best {sweep.metric.name} goes from {fmt.number(best[0])} to "
                f"{fmt.number(best[-1])}.",
                [*_trial_markers(sweep, ordered, x), steps],
                {"xaxis": {"title": {"text": unit}}, **_value_axis(sweep, ordered)},
                height=260,
            )
        )
    return charts


def plot_slices(sweep: SweepData) -> list[Chart]:
    """Each parameter against the metric."""
    charts = []
    trials = [trial for trial in sweep.scored_trials if trial.params]
    for place, name in enumerate(sweep.varied_params if len(trials) > 1 else []):
        x, across = _parameter_positions(sweep, name, trials)
        best = sweep.best_trial
        assert best is not None
        ring = {
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
                f"by-{place}",
                name,
                f"{name} against {sweep.metric.name}; the best trial has "
                f"{fmt.short_setting(best.params[name])}.",
                [*_trial_markers(sweep, trials, x), ring],
                {"xaxis": across, **_value_axis(sweep, trials)},
                height=250,
            )
        )
    return charts


def _parameter_positions(
    sweep: SweepData, name: str, trials: Sequence[TrialData]
) -> tuple[list[float], dict[str, Any]]:
    """Give each trial its place along a parameter; options are spread a little."""
    made = parameter_dimension(sweep, name, trials)
    if "options" in made:
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(trials))
        x = [round(value + aside, 3) for value, aside in zip(made["values"], spread, strict=True)]
        return x, {
            **category_axis([escape_label(text, 16) for text in made["ticktext"]]),
            "range": [-0.5, len(made["ticktext"]) - 0.5],
        }
    values = [float(trial.params[name]) for trial in trials]
    if sweep.has_log_scale(name) and min(values) > 0:
        return values, log_axis(values)
    return values, {"nticks": 6}  # fmt: skip


def _trial_markers(
    sweep: SweepData, trials: Sequence[TrialData], x: Sequence[float]
) -> list[Trace]:
    """Draw trials by how they have ended."""
    crowded = len(trials) > MAX_LARGE_MARKERS
    size: dict[str, Any] = {"size": 4, "opacity": 0.45} if crowded else {"size": 7, "opacity": 0.75}
    traces = []
    for status, (symbol, ink) in STATE_MARKERS.items():
        own = [place for place, trial in enumerate(trials) if trial.status == status]
        if not own:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x[place] for place in own],
                "y": [trials[place].value for place in own],
                "marker": {"symbol": symbol, "color": theme_color(ink)} | size,
                "hovertext": [
                    f"trial {trials[place].number}, {status}: "
                    f"<b>{fmt.number(trials[place].value)}</b><br>"
                    f"{escape_label(sweep.format_params(trials[place]), 90)}"
                    for place in own
                ],
                "hoverinfo": "text",
            }
        )
    return traces


def _value_axis(sweep: SweepData, trials: Sequence[TrialData]) -> dict[str, Any]:
    values = drop_none([trial.value for trial in trials])
    return {
        "yaxis": log_axis(values) if needs_log_scale(values) else {"nticks": 6},
        "hovermode": "closest",
    }
