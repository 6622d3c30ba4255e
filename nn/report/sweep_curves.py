"""Learning curves of a sweep's trials."""

from __future__ import annotations

from nn.report.axes import epoch_axis, log_axis, needs_log_scale
from nn.report.chart import Chart, Trace, escape_label, line_trace
from nn.report.coerce import drop_none
from nn.report.palette import theme_color
from nn.report.sweep_data import TRIAL_STATES, SweepData
from nn.report.thinning import minmax_downsample

MAX_TOTAL_POINTS = 40_000
"""Points of all learning curves together, after downsampling."""
NUM_HIGHLIGHTED = 5
"""Best trials whose curves are drawn in color, in front of the others."""


def plot_intermediate_values(sweep: SweepData) -> Chart | None:
    """Plot the metric of all trials by epoch; None if no trial has recorded any."""
    trials = [trial for trial in sweep.trials if len(drop_none(trial.curve)) > 0]
    if not trials:
        return None
    max_points = max(12, MAX_TOTAL_POINTS // len(trials))
    best = [trial for trial in sweep.ranked_trials if trial in trials][:NUM_HIGHLIGHTED]
    others = [trial for trial in trials if trial not in best]
    traces: list[Trace] = []
    # One trace per state, with None between trials, in place of one per trial: faster to draw.
    for status in [state for state in TRIAL_STATES if any(t.status == state for t in others)]:
        x: list[float | None] = []
        y: list[float | None] = []
        numbers: list[int | None] = []
        for trial in [other for other in others if other.status == status]:
            kept = minmax_downsample([trial.curve], max_points)
            x += [*(trial.epochs[index] for index in kept), None]
            y += [*(_round_value(trial.curve[index]) for index in kept), None]
            numbers += [*[trial.number] * len(kept), None]
        color = "curve-pruned" if status == "pruned" else "curve"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers"
                if max(map(len, (t.curve for t in others))) == 1
                else "lines",
                "x": x,
                "y": y,
                "customdata": numbers,
                "line": {"color": theme_color(color), "width": 1},
                "hovertemplate": f"trial %{{customdata}}, {status}<br>epoch %{{x}}: %{{y:.4~g}}"
                "<extra></extra>",
            }
        )
    for rank, trial in reversed(list(enumerate(best))):
        kept = minmax_downsample([trial.curve], max_points)
        params = escape_label(sweep.format_params(trial), 90)
        trace = line_trace(
            f"trial {trial.number}",
            [trial.epochs[index] for index in kept],
            [trial.curve[index] for index in kept],
            theme_color(f"class-{rank}"),
        )
        hover = f"trial {trial.number}, {params}<br>epoch %{{x}}: %{{y:.4~g}}<extra></extra>"
        traces.append({**trace, "hovertemplate": hover})
    values = drop_none([value for trial in trials for value in trial.curve])
    return Chart(
        "curves",
        f"{sweep.metric.name} by epoch",
        f"Learning curves of {len(trials)} trials, the best {len(best)} highlighted.",
        traces,
        {
            "xaxis": epoch_axis(max(len(trial.epochs) for trial in trials)),
            "yaxis": log_axis(values) if needs_log_scale(values) else {},
            "hovermode": "closest",
        },
        height=420,
        legend=[
            *((f"class-{rank}", f"trial {trial.number}") for rank, trial in enumerate(best)),
            ("curve", "other trials"),
            *([("curve-pruned", "pruned")] if "pruned" in sweep.state_counts else []),
        ],
    )


def _round_value(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
