"""When each trial of a sweep ran."""

from __future__ import annotations

import numpy as np

from nn.report import formatting as fmt
from nn.report.chart import Chart, dotted, label
from nn.report.palette import colour
from nn.report.sweep_data import STATES, SweepStory, Trial
from nn.report.sweep_points import MARKS

MARKED_PAUSES = 20
"""Pauses, the longest first, that get a line of their own."""


def chart(story: SweepStory) -> Chart | None:
    """When each trial ran, side by side where several did; pauses are left out."""
    timed = sorted((t for t in story.trials if t.ran), key=lambda trial: trial.ran[0])
    if not timed:
        return None
    called, unit = fmt.timescale(story.time.total or 0.0)
    free: list[float] = []
    lanes = {}
    for trial in timed:
        start, end = story.time.at(trial.ran[0][0]), story.time.at(trial.ran[-1][1])
        lane = next((place for place, until in enumerate(free) if until <= start + 0.05), len(free))
        free[lane : lane + 1] = [end]
        lanes[trial.number] = lane
    states = [state for state in STATES if any(trial.status == state for trial in timed)]
    traces = []
    for status in states:
        bars = [
            (trial, story.time.at(start) / unit, story.time.at(end) / unit)
            for trial in timed
            if trial.status == status
            for start, end in trial.ran
        ]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "base": [round(start, 4) for _, start, _ in bars],
                "x": [round(end - start, 4) for _, start, end in bars],
                "y": [lanes[trial.number] for trial, _, _ in bars],
                "marker": {
                    "color": colour(MARKS[status][1]),
                    "line": {"width": 0.5, "color": colour("paper")},
                },
                "hovertext": [_hover(story, trial) for trial, _, _ in bars],
                "textposition": "none",
                "hoverinfo": "text",
            }
        )
    pauses = sorted(story.time.pauses, key=lambda pause: -pause[1])[:MARKED_PAUSES]
    return Chart(
        "timeline",
        "When each trial ran",
        f"{len(timed)} trials ran in {fmt.duration(story.time.total)}, at most {len(free)} at a "
        f"time. {story.paused}".strip(),
        traces,
        {
            "xaxis": {"title": {"text": called}},
            "yaxis": {"visible": False, "autorange": "reversed"},
            "barmode": "overlay",
            "bargap": 0.25,
            "hovermode": "closest",
            "shapes": [dotted(at / unit, "above") for at, _ in pauses],
        },
        height=int(np.clip(80 + 44 * len(free), 130, 480)),
        keys=[(MARKS[state][1], state) for state in states],
        note="A dotted line marks a pause, which takes no room here." if pauses else None,
    )


def _hover(story: SweepStory, trial: Trial) -> str:
    spent = sum((end - start).total_seconds() for start, end in trial.ran)
    point = label(story.spelled(trial), 90) if trial.point else ""
    return f"trial {trial.number}, {trial.status}: {fmt.duration(spent)}<br>{point}"
