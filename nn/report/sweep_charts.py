"""The charts of a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.report import words
from nn.report.chart import Chart, Trace, label, line
from nn.report.palette import colour, scale
from nn.report.run_charts import epoch_axis
from nn.report.sweep_story import STATES, SweepStory, Trial
from nn.report.thinning import kept_points
from nn.report.values import known, number

POINTS = 40_000
"""Points of all learning curves together."""
CROWD = 250
"""Trials beyond which their dots are small and see-through."""
STOPS = 81
UNSEEN = {ord("0"): "\u200b", ord("1"): "\u200c"}
"""Two spaces of no width."""
FRONT = 5
"""Trials whose curves are drawn in front."""
MARKS = {
    "finished": ("circle", "series-1"),
    "pruned": ("circle-open", "series-2"),
    "diverged": ("x", "wrong"),
    "failed": ("x", "wrong"),
    "running": ("diamond-open", "muted"),
}


def parallel(story: SweepStory) -> Chart | None:
    """Lines through all parameters to the metric, each a trial."""
    trials = [trial for trial in story.scored if trial.point]
    if len(trials) < 2 or not story.varied:
        return None
    dimensions = [parallel_axis(story, name, trials) for name in story.varied]
    dimensions.append(axis_of_metric(story, trials))
    values = [trial.value or 0.0 for trial in trials]
    ranks = np.argsort(np.argsort([-story.metric.sign * value for value in values])).tolist()
    return Chart(
        "parallel",
        "Every trial as a line",
        f"Parallel coordinates of {len(trials)} trials over {words.listed(story.varied)} and "
        f"{story.metric.name}. The table of trials has the same figures.",
        [
            {
                "type": "parcoords",
                "line": {"color": ranks, "colorscale": scale("low", "middle", "high")},
                "dimensions": [_brushable(each) for each in dimensions],
                "labelfont": {"color": colour("ink"), "size": 13},
                "tickfont": {"color": colour("muted"), "size": 11},
                "rangefont": {"color": "rgba(0,0,0,0)", "size": 1},
                "unselected": {"line": {"color": colour("rule"), "opacity": 0.35}},
            }
        ],
        {
            "margin": {
                "l": 24 + 7 * max(map(len, dimensions[0]["ticktext"])),
                "r": 56,
                "t": 48,
                "b": 16,
            }
        },
        height=420,
        keys=[("high", "best"), ("low", "worst")],
        note="Drag along an axis to choose a range; a click on it takes all again.",
        more={"brushes": {"rows": [trial.number for trial in trials], "table": "trials-table"}},
    )


def importance(story: SweepStory) -> Chart | None:
    """How much each parameter explains."""
    if not story.importance:
        return None
    names = list(story.importance)[::-1]
    shares = [story.importance[name] for name in names]
    return Chart(
        "importance",
        "Share of the differences that each parameter explains",
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
            "yaxis": _named([label(name, 24) for name in names]),
            "bargap": 0.45,
            "hovermode": "closest",
        },
        height=60 + 38 * len(names),
    )


def best_so_far(story: SweepStory) -> list[Chart]:
    """The best value over trials, and over time."""
    charts = []
    timed = [trial for trial in story.scored if story.after(trial.ended) is not None]
    timed.sort(key=lambda trial: story.after(trial.ended) or 0.0)
    scale_of_time, second = words.timescale(story.took or 0.0)
    numbers: list[float] = [trial.number for trial in story.scored]
    moments = [round((story.after(trial.ended) or 0.0) / second, 4) for trial in timed]
    for name, title, unit, ordered, x in (
        ("trials", "Best so far, by trial", "trial", story.scored, numbers),
        ("time", "Best so far, by time", scale_of_time, timed, moments),
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
                f"The best {story.metric.name} goes from {words.figure(best[0])} to "
                f"{words.figure(best[-1])}.",
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
                f"{words.brief(best.point[name])}.",
                [*_dots(story, trials, x), ring],
                {"xaxis": across, **_value_axis(story, trials)},
                height=250,
            )
        )
    return charts


def curves(story: SweepStory) -> Chart | None:
    """The metric of all trials by epoch, the best in front."""
    drawn = [trial for trial in story.trials if len(known(trial.curve)) > 0]
    if not drawn:
        return None
    most = max(12, POINTS // len(drawn))
    front = [trial for trial in story.ranked if trial in drawn][:FRONT]
    behind = [trial for trial in drawn if trial not in front]
    traces: list[Trace] = []
    for status in [state for state in STATES if any(t.status == state for t in behind)]:
        x: list[float | None] = []
        y: list[float | None] = []
        who: list[int | None] = []
        for trial in [each for each in behind if each.status == status]:
            kept = kept_points([trial.curve], most)
            x += [*(trial.epochs[place] for place in kept), None]
            y += [*(_rounded(trial.curve[place]) for place in kept), None]
            who += [*[trial.number] * len(kept), None]
        ink = "curve-pruned" if status == "pruned" else "curve"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers"
                if max(map(len, (t.curve for t in behind))) == 1
                else "lines",
                "x": x,
                "y": y,
                "customdata": who,
                "line": {"color": colour(ink), "width": 1},
                "hovertemplate": f"trial %{{customdata}}, {status}<br>epoch %{{x}}: %{{y:.4~g}}"
                "<extra></extra>",
            }
        )
    for place, trial in reversed(list(enumerate(front))):
        kept = kept_points([trial.curve], most)
        trace = line(
            f"trial {trial.number}",
            [trial.epochs[each] for each in kept],
            [trial.curve[each] for each in kept],
            colour(f"class-{place}"),
            f"trial {trial.number}, {label(story.spelled(trial), 90)}<br>epoch %{{x}}: %{{y:.4~g}}",
        )
        traces.append(
            trace
            | {"hovertemplate": trace["hovertemplate"].split("<extra>")[0] + "<extra></extra>"}
        )
    values = known([value for trial in drawn for value in trial.curve])
    return Chart(
        "curves",
        f"{story.metric.name} by epoch",
        f"Learning curves of {len(drawn)} trials; the best end lowest or highest.",
        traces,
        {
            "xaxis": epoch_axis(max(len(trial.epochs) for trial in drawn)),
            "yaxis": _logarithmic(values) if _spread(values) else {},
            "hovermode": "closest",
        },
        height=420,
        keys=[
            *((f"class-{place}", f"trial {trial.number}") for place, trial in enumerate(front)),
            ("curve", "others"),
            *([("curve-pruned", "pruned")] if "pruned" in story.states else []),
        ],
    )  # fmt: skip


def timeline(story: SweepStory) -> Chart | None:
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


def axis_of_metric(story: SweepStory, trials: Sequence[Trial]) -> dict[str, Any]:
    """Make the axis of the metric."""
    values = [trial.value or 0.0 for trial in trials]
    return _numeric(story.metric.name, values, _spread(values))


def parallel_axis(story: SweepStory, name: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Make an axis of a parameter, by its magnitude, its value, or its options."""
    given = [trial.point[name] for trial in trials]
    numbers = [number(value) for value in given]
    if len(known(numbers)) == len(given) and len(set(known(numbers))) > 6:
        return _numeric(name, known(numbers), story.logarithmic(name))
    options = sorted(set(map(words.brief, given)), key=_natural)
    places = {option: place for place, option in enumerate(options)}
    return {
        "label": label(name, 24),
        "values": [places[words.brief(value)] for value in given],
        "tickvals": list(places.values()),
        "ticktext": [words.clipped(option, 20) for option in options],
        "range": [-0.3, len(options) - 0.7],
        "options": True,
    }


def _numeric(name: str, values: Sequence[float], logarithmic: bool) -> dict[str, Any]:
    """Make an axis of numbers, with ticks that are read at a glance."""
    if logarithmic and min(values) > 0:
        ends = math.log10(min(values)), math.log10(max(values))
        shown = [math.log10(value) for value in values]
        ticks = [math.log10(tick) for tick in magnitudes(min(values), max(values))]
    else:
        ends, shown = (min(values), max(values)), list(values)
        ticks = np.linspace(*ends, 5).tolist()
    span = ends[1] - ends[0] or abs(ends[0]) or 1.0
    written = [10**tick for tick in ticks] if logarithmic and min(values) > 0 else ticks
    return {
        "label": label(name, 24),
        "values": [float(f"{value:.7g}") for value in shown],
        "tickvals": ticks,
        "ticktext": [f"{tick:.3g}" for tick in written],
        "range": [ends[0] - 0.03 * span, ends[1] + 0.03 * span],
    }


def _brushable(axis: dict[str, Any]) -> dict[str, Any]:
    """Let a brush begin and end anywhere on an axis of numbers.

    Plotly lets it at ticks alone, whose texts must all differ: most of these are seen by nobody.
    """
    made = {key: value for key, value in axis.items() if key != "options"}
    stops = dict(zip(axis["tickvals"], axis["ticktext"], strict=True))
    if "options" not in axis:
        low, high = axis["range"]
        stops = dict.fromkeys(np.linspace(low, high, STOPS).tolist(), "") | stops
    texts = [
        stops[stop] + format(number, "b").translate(UNSEEN)
        for number, stop in enumerate(sorted(stops))
    ]
    return made | {"tickvals": sorted(stops), "ticktext": texts}


def magnitudes(low: float, high: float) -> list[float]:
    """Choose round numbers between two, denser where there is less between them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [step * 10.0**power for power in powers for step in steps]
        found = [each for each in found if low * 0.97 <= each <= high * 1.03]
        if len(found) >= 3:
            return found[:: -(-len(found) // 6)]
    return [low, high]


def _place(
    story: SweepStory, name: str, trials: Sequence[Trial]
) -> tuple[list[float], dict[str, Any]]:
    """Give each trial its place along a parameter; options are spread a little."""
    made = parallel_axis(story, name, trials)
    if "options" in made:
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(trials))
        x = [round(value + aside, 3) for value, aside in zip(made["values"], spread, strict=True)]
        return x, {
            **_named([label(text, 16) for text in made["ticktext"]]),
            "range": [-0.5, len(made["ticktext"]) - 0.5],
        }
    values = [float(trial.point[name]) for trial in trials]
    if story.logarithmic(name) and min(values) > 0:
        return values, _logarithmic(values)
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
                    f"<b>{words.figure(trials[place].value)}</b><br>"
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
        "yaxis": _logarithmic(values) if _spread(values) else {"nticks": 6},
        "hovermode": "closest",
    }


def _logarithmic(values: Sequence[float]) -> dict[str, Any]:
    """Make a logarithmic axis with round numbers at it, not too many."""
    ticks = magnitudes(min(values), max(values))
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{tick:.3g}" for tick in ticks],
    }


def _spread(values: Sequence[float]) -> bool:
    """Whether values differ by orders of magnitude."""
    return min(values) > 0 and max(values) > 10 * min(values)


def _named(names: Sequence[str]) -> dict[str, Any]:
    return {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": names,
            "showgrid": False, "zeroline": False}  # fmt: skip


def _natural(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
