"""The learning curves of a sweep."""

from __future__ import annotations

from nn.report.axes import differ_widely, epoch_axis, logarithmic_axis
from nn.report.chart import Chart, Trace, label, line
from nn.report.coerce import known
from nn.report.palette import colour
from nn.report.sweep_data import STATES, SweepStory
from nn.report.thinning import kept_points

POINTS = 40_000
"""Points of all learning curves together."""
FRONT = 5
"""Trials whose curves are drawn in front."""


def chart(story: SweepStory) -> Chart | None:
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
            "yaxis": logarithmic_axis(values) if differ_widely(values) else {},
            "hovermode": "closest",
        },
        height=420,
        keys=[
            *((f"class-{place}", f"trial {trial.number}") for place, trial in enumerate(front)),
            ("curve", "others"),
            *([("curve-pruned", "pruned")] if "pruned" in story.states else []),
        ],
    )  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
