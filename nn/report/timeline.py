"""When each trial of a sweep ran."""

from __future__ import annotations

import numpy as np

from nn.report import words
from nn.report.chart import Chart, label
from nn.report.palette import colour
from nn.report.sweep_points import MARKS
from nn.report.sweep_story import STATES, SweepStory


def chart(story: SweepStory) -> Chart | None:
    """When each trial ran, side by side where several did."""
    timed = [t for t in story.trials if t.began is not None and story.after(t.ended) is not None]
    if not timed:
        return None
    timed.sort(key=lambda trial: story.after(trial.began) or 0.0)
    called, unit = words.timescale(story.took or 0.0)
    free: list[float] = []
    lanes = []
    for trial in timed:
        start, end = story.after(trial.began) or 0.0, story.after(trial.ended) or 0.0
        lane = next((place for place, until in enumerate(free) if until <= start + 0.05), len(free))
        free[lane : lane + 1] = [end]
        lanes.append(lane)
    traces = []
    for status in [state for state in STATES if any(trial.status == state for trial in timed)]:
        own = [(t, lane) for t, lane in zip(timed, lanes, strict=True) if t.status == status]
        spans = [
            ((story.after(t.began) or 0.0) / unit, (story.after(t.ended) or 0.0) / unit)
            for t, _ in own
        ]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "base": [round(start, 4) for start, _ in spans],
                "x": [round(end - start, 4) for start, end in spans],
                "y": [lane for _, lane in own],
                "marker": {
                    "color": colour(MARKS[status][1]),
                    "line": {"width": 0.5, "color": colour("paper")},
                },
                "hovertext": [
                    f"trial {t.number}, {status}: {words.duration(unit * (end - start))}<br>"
                    f"{label(story.spelled(t), 90) if t.point else ''}"
                    for (t, _), (start, end) in zip(own, spans, strict=True)
                ],
                "textposition": "none",
                "hoverinfo": "text",
            }
        )
    states = [state for state in STATES if any(trial.status == state for trial in timed)]
    return Chart(
        "timeline",
        "When each trial ran",
        f"{len(timed)} trials ran in {words.duration(story.took)}, at most {len(free)} at a time.",
        traces,
        {
            "xaxis": {"title": {"text": called}},
            "yaxis": {"visible": False, "autorange": "reversed"},
            "barmode": "overlay",
            "bargap": 0.25,
            "hovermode": "closest",
        },
        height=int(np.clip(80 + 44 * len(free), 130, 480)),
        keys=[(MARKS[state][1], state) for state in states],
    )
