"""Timeline of a sweep: when each trial ran."""

from __future__ import annotations

import numpy as np

from nn.report import formatting as fmt
from nn.report.chart import Chart, Trace, escape_label, vline_shape
from nn.report.palette import theme_color
from nn.report.sweep_data import TRIAL_STATES, SweepData, TrialData
from nn.report.sweep_points import STATE_MARKERS

MAX_MARKED_PAUSES = 20
"""Longest pauses that are marked with a line."""


def plot_timeline(sweep: SweepData) -> Chart | None:
    """Plot each trial as bars over running time; trials in parallel get rows of their own."""
    timed = sorted(
        (t for t in sweep.trials if t.running_intervals),
        key=lambda trial: trial.running_intervals[0],
    )
    if not timed:
        return None
    unit, unit_seconds = fmt.time_unit(sweep.running_time.total_seconds or 0.0)
    busy_until: list[float] = []  # per row, in seconds
    row_of = {}
    for trial in timed:
        start, end = (
            sweep.running_time.seconds_at(trial.running_intervals[0][0]),
            sweep.running_time.seconds_at(trial.running_intervals[-1][1]),
        )
        free_rows = (row for row, until in enumerate(busy_until) if until <= start + 0.05)
        row = next(free_rows, len(busy_until))
        busy_until[row : row + 1] = [end]
        row_of[trial.number] = row
    states = [state for state in TRIAL_STATES if any(trial.status == state for trial in timed)]
    traces: list[Trace] = []
    for status in states:
        bars = [
            (
                trial,
                sweep.running_time.seconds_at(start) / unit_seconds,
                sweep.running_time.seconds_at(end) / unit_seconds,
            )
            for trial in timed
            if trial.status == status
            for start, end in trial.running_intervals
        ]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "base": [round(start, 4) for _, start, _ in bars],
                "x": [round(end - start, 4) for _, start, end in bars],
                "y": [row_of[trial.number] for trial, _, _ in bars],
                "marker": {
                    "color": theme_color(STATE_MARKERS[status][1]),
                    "line": {"width": 0.5, "color": theme_color("paper")},
                },
                "hovertext": [_hover_text(sweep, trial) for trial, _, _ in bars],
                "textposition": "none",
                "hoverinfo": "text",
            }
        )
    pauses = sorted(sweep.running_time.pauses, key=lambda pause: -pause[1])[:MAX_MARKED_PAUSES]
    return Chart(
        "timeline",
        "Trials by running time",
        f"{len(timed)} trials ran in {fmt.duration(sweep.running_time.total_seconds)}, "
        f"at most {len(busy_until)} at a time. {sweep.pause_text}".strip(),
        traces,
        {
            "xaxis": {"title": {"text": unit}},
            "yaxis": {"visible": False, "autorange": "reversed"},
            "barmode": "overlay",
            "bargap": 0.25,
            "hovermode": "closest",
            "shapes": [vline_shape(seconds / unit_seconds, "above") for seconds, _ in pauses],
        },
        height=int(np.clip(80 + 44 * len(busy_until), 130, 480)),
        legend=[(STATE_MARKERS[state][1], state) for state in states],
        note="Dotted lines mark pauses, which are cut out of the time axis." if pauses else None,
    )


def _hover_text(sweep: SweepData, trial: TrialData) -> str:
    seconds = sum((end - start).total_seconds() for start, end in trial.running_intervals)
    params = escape_label(sweep.format_params(trial), 90) if trial.params else ""
    return f"trial {trial.number}, {trial.status}: {fmt.duration(seconds)}<br>{params}"
