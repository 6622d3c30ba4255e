"""The trials of a sweep as points: by number, by time, and by each parameter; and what mattered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.report import formatting as fmt
from nn.report.axes import differ_widely, logarithmic_axis, option_axis
from nn.report.chart import Chart, Trace, label, line
from nn.report.coerce import known
from nn.report.palette import colour
from nn.report.parallel import parallel_axis
from nn.report.sweep_data import SweepStory, Trial

MARKS = {
    "finished": ("circle", "series-1"),
    "pruned": ("circle-open", "series-2"),
    "diverged": ("x", "wrong"),
    "failed": ("x", "wrong"),
    "running": ("diamond-open", "muted"),
}
CROWD = 250
"""Trials beyond which their dots are small and see-through."""


def importance(story: SweepStory) -> Chart | None:
    """How much each parameter explains."""
    shares_of, trials = story.importance.shares, story.importance.num_trials
    if not shares_of:
        return None
    names = list(shares_of)[::-1]
    shares = [shares_of[name] for name in names]
    return Chart(
        "importance",
        f"Share of the differences that each parameter explains, over {trials} finished trials",
        story.finding,
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": shares,
                "y": list(range(len(names))),
                "text": [f"{share:.0%}" for share in shares],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": colour("series-1")},
                "customdata": [label(name) for name in names],
                "hovertemplate": "%{customdata}: %{x:.1%}<extra></extra>",
            }
        ],
        {
            "xaxis": {"visible": False, "range": [0, max(shares) * 1.15]},
            "yaxis": option_axis([label(name, 24) for name in names]),
            "bargap": 0.45,
            "hovermode": "closest",
        },
        height=60 + 38 * len(names),
    )


def best_so_far(story: SweepStory) -> list[Chart]:
    """The best value over trials, and over time."""
    charts = []
    timed = [trial for trial in story.scored if story.after(trial) is not None]
    timed.sort(key=lambda trial: story.after(trial) or 0.0)
    scale_of_time, second = fmt.timescale(story.time.total or 0.0)
    numbers: list[float] = [trial.number for trial in story.scored]
    moments = [round((story.after(trial) or 0.0) / second, 4) for trial in timed]
    for name, title, unit, ordered, x in (
        ("trials", "Best so far, by trial", "trial", story.scored, numbers),
        ("time", "Best so far, by running time", scale_of_time, timed, moments),
    ):
        if not ordered:
            continue
        best = story.best_so_far(ordered)
        steps = line("best so far", x, best, colour("series-1"), line={"shape": "hv"})
        steps |= {"mode": "lines", "hoverinfo": "skip"}
        del steps["hovertemplate"]
        charts.append(
            Chart(
                f"best-{name}",
                title,
                f"The best {story.metric.name} goes from {fmt.figure(best[0])} to "
                f"{fmt.figure(best[-1])}.",
                [*_dots(story, ordered, x), steps],
                {"xaxis": {"title": {"text": unit}}, **_value_axis(story, ordered)},
                height=260,
            )
        )
    return charts


def by_parameter(story: SweepStory) -> list[Chart]:
    """Each parameter against the metric."""
    charts = []
    trials = [trial for trial in story.scored if trial.point]
    for place, name in enumerate(story.varied if len(trials) > 1 else []):
        x, across = _place(story, name, trials)
        best = story.best
        assert best is not None
        ring = {
            "type": "scatter",
            "mode": "markers",
            "x": [x[trials.index(best)]],
            "y": [best.value],
            "marker": {
                "symbol": "circle-open",
                "size": 16,
                "color": colour("ink"),
                "line": {"width": 2},
            },
            "hoverinfo": "skip",
        }
        charts.append(
            Chart(
                f"by-{place}",
                name,
                f"{name} against {story.metric.name}; the best trial has "
                f"{fmt.brief(best.point[name])}.",
                [*_dots(story, trials, x), ring],
                {"xaxis": across, **_value_axis(story, trials)},
                height=250,
            )
        )
    return charts


def _place(
    story: SweepStory, name: str, trials: Sequence[Trial]
) -> tuple[list[float], dict[str, Any]]:
    """Give each trial its place along a parameter; options are spread a little."""
    made = parallel_axis(story, name, trials)
    if "options" in made:
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(trials))
        x = [round(value + aside, 3) for value, aside in zip(made["values"], spread, strict=True)]
        return x, {
            **option_axis([label(text, 16) for text in made["ticktext"]]),
            "range": [-0.5, len(made["ticktext"]) - 0.5],
        }
    values = [float(trial.point[name]) for trial in trials]
    if story.logarithmic(name) and min(values) > 0:
        return values, logarithmic_axis(values)
    return values, {"nticks": 6}  # fmt: skip


def _dots(story: SweepStory, trials: Sequence[Trial], x: Sequence[float]) -> list[Trace]:
    """Draw trials by how they have ended."""
    crowded = len(trials) > CROWD
    size: dict[str, Any] = {"size": 4, "opacity": 0.45} if crowded else {"size": 7, "opacity": 0.75}
    traces = []
    for status, (symbol, ink) in MARKS.items():
        own = [place for place, trial in enumerate(trials) if trial.status == status]
        if not own:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x[place] for place in own],
                "y": [trials[place].value for place in own],
                "marker": {"symbol": symbol, "color": colour(ink)} | size,
                "hovertext": [
                    f"trial {trials[place].number}, {status}: "
                    f"<b>{fmt.figure(trials[place].value)}</b><br>"
                    f"{label(story.spelled(trials[place]), 90)}"
                    for place in own
                ],
                "hoverinfo": "text",
            }
        )
    return traces


def _value_axis(story: SweepStory, trials: Sequence[Trial]) -> dict[str, Any]:
    values = known([trial.value for trial in trials])
    return {
        "yaxis": logarithmic_axis(values) if differ_widely(values) else {"nticks": 6},
        "hovermode": "closest",
    }
