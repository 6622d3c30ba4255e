"""The learning curves of a sweep."""

from __future__ import annotations

from nn.report.axes import epoch_axis, log_axis, needs_log_scale
from nn.report.chart import Chart, Trace, escape_label, line_trace
from nn.report.coerce import drop_none
from nn.report.palette import theme_color
from nn.report.sweep_data import TRIAL_STATES, SweepData
from nn.report.thinning import minmax_downsample

MAX_TOTAL_POINTS = 40_000
"""Points of all learning curves together."""
NUM_HIGHLIGHTED = 5
"""Trials whose curves are drawn in front."""


def plot_intermediate_values(sweep: SweepData) -> Chart | None:
    """The metric of all trials by epoch, the best in front."""
    drawn = [trial for trial in sweep.trials if len(drop_none(trial.curve)) > 0]
    if not drawn:
        return None
    most = max(12, MAX_TOTAL_POINTS // len(drawn))
    front = [trial for trial in sweep.ranked_trials if trial in drawn][:NUM_HIGHLIGHTED]
    behind = [trial for trial in drawn if trial not in front]
    traces: list[Trace] = []
    for status in [state for state in TRIAL_STATES if any(t.status == state for t in behind)]:
        x: list[float | None] = []
        y: list[float | None] = []
        who: list[int | None] = []
        for trial in [each for each in behind if each.status == status]:
            kept = minmax_downsample([trial.curve], most)
            x += [*(trial.epochs[place] for place in kept), None]
            y += [*(_round_value(trial.curve[place]) for place in kept), None]
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
                "line": {"color": theme_color(ink), "width": 1},
                "hovertemplate": f"trial %{{customdata}}, {status}<br>epoch %{{x}}: %{{y:.4~g}}"
                "<extra></extra>",
            }
        )
    for place, trial in reversed(list(enumerate(front))):
        kept = minmax_downsample([trial.curve], most)
        trace = line_trace(
            f"trial {trial.number}",
            [trial.epochs[each] for each in kept],
            [trial.curve[each] for each in kept],
            theme_color(f"class-{place}"),
            f"trial {trial.number}, {escape_label(sweep.format_params(trial), 90)}"
            "<br>epoch %{x}: %{y:.4~g}",
        )
        traces.append(
            trace
            | {"hovertemplate": trace["hovertemplate"].split("<extra>")[0] + "<extra></extra>"}
        )
    values = drop_none([value for trial in drawn for value in trial.curve])
    return Chart(
        "curves",
        f"{sweep.metric.name} by epoch",
        f"Learning curves of {len(drawn)} trials; the best end lowest or highest.",
        traces,
        {
            "xaxis": epoch_axis(max(len(trial.epochs) for trial in drawn)),
            "yaxis": log_axis(values) if needs_log_scale(values) else {},
            "hovermode": "closest",
        },
        height=420,
        legend=[
            *((f"class-{place}", f"trial {trial.number}") for place, trial in enumerate(front)),
            ("curve", "others"),
            *([("curve-pruned", "pruned")] if "pruned" in sweep.state_counts else []),
        ],
    )  # fmt: skip


def _round_value(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
