"""When each trial of a sweep ran."""

from __future__ import annotations

import numpy as np

from nn.report import formatting as fmt
from nn.report.chart import Chart, escape_label, vline_shape
from nn.report.palette import theme_color
from nn.report.sweep_data import TRIAL_STATES, SweepData, TrialData
from nn.report.sweep_points import STATE_MARKERS

MAX_MARKED_PAUSES = 20
"""Pauses, the longest first, that get a line of their own."""


def plot_timeline(sweep: SweepData) -> Chart | None:
    """When each trial ran, side by side where several did; pauses are left out."""
    timed = sorted(
        (t for t in sweep.trials if t.running_intervals),
        key=lambda trial: trial.running_intervals[0],
    )
    if not timed:
        return None
    called, unit = fmt.time_unit(sweep.running_time.total_seconds or 0.0)
    free: list[float] = []
    lanes = {}
    for trial in timed:
        start, end = (
            sweep.running_time.seconds_at(trial.running_intervals[0][0]),
            sweep.running_time.seconds_at(trial.running_intervals[-1][1]),
        )
        lane = next((place for place, until in enumerate(free) if until <= start + 0.05), len(free))
        free[lane : lane + 1] = [end]
        lanes[trial.number] = lane
    states = [state for state in TRIAL_STATES if any(trial.status == state for trial in timed)]
    traces = []
    for status in states:
        bars = [
            (
                trial,
                sweep.running_time.seconds_at(start) / unit,
                sweep.running_time.seconds_at(end) / unit,
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
                "y": [lanes[trial.number] for trial, _, _ in bars],
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
        "When each trial ran",
        f"{len(timed)} trials ran in {fmt.duration(sweep.running_time.total_seconds)}, "
        f"at most {len(free)} at a "
        f"time. {sweep.pause_text}".strip(),
        traces,
        {
            "xaxis": {"title": {"text": called}},
            "yaxis": {"visible": False, "autorange": "reversed"},
            "barmode": "overlay",
            "bargap": 0.25,
            "hovermode": "closest",
            "shapes": [vline_shape(at / unit, "above") for at, _ in pauses],
        },
        height=int(np.clip(80 + 44 * len(free), 130, 480)),
        legend=[(STATE_MARKERS[state][1], state) for state in states],
        note="A dotted line marks a pause, which takes no room here." if pauses else None,
    )


def _hover_text(sweep: SweepData, trial: TrialData) -> str:
    spent = sum((end - start).total_seconds() for start, end in trial.running_intervals)
    point = escape_label(sweep.format_params(trial), 90) if trial.params else ""
    return f"trial {trial.number}, {trial.status}: {fmt.duration(spent)}<br>{point}"
