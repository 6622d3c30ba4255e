"""The page of a sweep: charts and a table of all its trials, whatever their state."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest
from itertools import islice

from pydantic import JsonValue

from nn.errors import format_value
from nn.report import formatting as fmt
from nn.report.charts import sweep as charts
from nn.report.charts.parallel import plot_parallel_coordinate
from nn.report.charts.sweep import MARKERS, format_params
from nn.report.data.sweep import (
    SweepDetails,
    SweepReader,
    SweepRecord,
    TrialRecord,
)
from nn.report.page import Page, Stat
from nn.report.pages.index import score_column
from nn.report.paths import PageUrl
from nn.report.tables import Cells, Column, Table, join_cells
from nn.runs.history import minmax_downsample
from nn.sweeps.distributions import ParameterValue
from nn.sweeps.trials import MIN_TRIALS_PER_PARAMETER, SUMMARY_SCORES

TRIALS_PER_PAGE = 25
"""Rows per page of the table of trials."""
NUM_FAILURE_REASONS = 3
"""Most frequent reasons of failed trials that are shown."""
UNFINISHED = ("running", "interrupted", "crashed", "killed", "stale")
"""States of trials that have no result yet."""
MAX_TABLE_CURVE_POINTS = 12_000
"""Points of the curves that can be overlaid, of all trials together."""


def build_sweep_page(sweep: SweepReader, page_url: PageUrl) -> Page:
    """Build the page of a sweep, with links to the pages of its trials."""
    record, trials, details = sweep.record(), sweep.trial_records(), sweep.details()
    names = rank_params(record, details)
    slices = charts.plot_slices(record, trials, names)
    figures = {
        "parallel": plot_parallel_coordinate(record, trials, names),
        "importance": charts.plot_param_importances(details),
        "curves": charts.plot_intermediate_values(record, trials, names),
        "timeline": charts.plot_timeline(record, trials, names),
        **charts.plot_optimization_history(record, trials, names),
        **slices,
    }
    table = _build_table(record, trials, details, names, lambda name: page_url(sweep.path / name))
    return Page(
        template="sweep.html",
        title=record["title"],
        context={
            "path": record["path"],
            "sweep": record,
            "details": details,
            "summary": summarize_sweep(record, trials, details),
            "notices": list_notices(record),
            "stats": _stats(record, trials),
            "metric": format_metric(record),
            "importance": summarize_importance(details),
            "min_importance_trials": MIN_TRIALS_PER_PARAMETER * len(details["importances"]),
            "slices": list(slices),
            "max_drawn_trials": charts.MAX_DRAWN_TRIALS,
            "seconds_by_state": _seconds_by_state(trials),
            "longest_trials": nlargest(3, trials, key=lambda it: it["training_seconds"] or 0.0),
        },
        charts={name: chart for name, chart in figures.items() if chart},
        tables={"trials": table} if trials else {},
    )


def rank_params(sweep: SweepRecord, details: SweepDetails) -> list[str]:
    """Return the parameters that differ between trials, most important first."""
    names = [parameter["name"] for parameter in sweep["parameters"] if parameter["is_varied"]]
    return sorted(names, key=lambda name: -details["importances"].get(name, 0.0))


def summarize_sweep(
    sweep: SweepRecord, trials: Sequence[TrialRecord], details: SweepDetails
) -> str:
    """Return one or two sentences: the search space and the best trial."""
    names = rank_params(sweep, details)
    text = fmt.count(len(trials), "trial") + (f" over {fmt.join(names)}" if names else "")
    best = _find_best(trials)
    if best is None:
        return f"{text}; none has reported {sweep['metric']} yet."
    params = f", with {format_params(best, names)}" if names else ""
    value = fmt.number(best["value"])
    return f"{text}. Trial {best['number']} reached the best {sweep['metric']}, {value}{params}."


def summarize_importance(details: SweepDetails) -> str:
    """Return the three most important parameters with their shares; empty without an estimate."""
    shown = [
        f"{name} {share:.0%}"
        for rank, (name, share) in enumerate(islice(details["importances"].items(), 3))
        if rank == 0 or share >= 0.01
    ]
    trials = fmt.count(details["num_importance_trials"], "finished trial")
    return f"{', '.join(shown)} (fANOVA, {trials})." if shown else ""


def format_metric(sweep: SweepRecord) -> str:
    """Return the metric and its direction."""
    better = "lower" if sweep["goal"] == "minimize" else "higher"
    return f"{sweep['metric']} ({better} is better)"


def list_notices(sweep: SweepRecord) -> list[str]:
    """Return warnings: a stopped sweep, trials without a result, a missing metric, failures."""
    notices = []
    counts = {status: sweep["status_counts"].get(status, 0) for status in UNFINISHED}
    unfinished = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    if sweep["status"] == "stopped":
        notices.append("The sweep was stopped; scripts/sweep.py --resume continues it.")
    if sum(counts.values()) > counts["running"]:
        notices.append(f"Trials without a result: {unfinished}.")
    if not sweep["has_own_metric"]:
        notices.append(f"This sweep defines no metric; trials are ranked by {sweep['metric']}.")
    for reason, times in islice(sweep["failures"].items(), NUM_FAILURE_REASONS):
        notices.append(f"{fmt.count(times, 'trial')} failed: {reason or 'unknown reason.'}")
    return notices


def _find_best(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    return next((trial for trial in trials if trial["rank"] == 1), None)


def _stats(sweep: SweepRecord, trials: Sequence[TrialRecord]) -> list[Stat]:
    best, counts, limit = _find_best(trials), sweep["status_counts"], sweep["max_trials"]
    has_progress = limit is not None and sweep["status"] != "finished"

    def format_progress(value: float | None) -> str:
        return f"{fmt.count(value)} of {fmt.count(limit)}"

    stats: list[Stat] = []
    if best:
        val, test = (best["scores"].get(f"{split}/accuracy") for split in ("val", "test"))
        stats = [
            (f"Best {sweep['metric']}", fmt.number, best["value"]),
            ("Validation accuracy of best trial", fmt.percent, val),
            ("Test accuracy of best trial", fmt.percent, test),
        ]
    return [
        *stats,
        *((f"{status.capitalize()} trials", fmt.count, counts.get(status)) for status in MARKERS),
        ("Trials done", format_progress, sweep["num_ended"] if has_progress else None),
        ("Running time", fmt.duration, sweep["running_seconds"]),
        ("Total training time", fmt.duration, sweep["training_seconds"]),
    ]


def _seconds_by_state(trials: Iterable[TrialRecord]) -> list[tuple[str, float]]:
    """Return the training time of all trials in each state, longest first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for trial in trials:
        seconds[trial["status"]] += trial["training_seconds"] or 0.0
    return sorted(seconds.items(), key=lambda item: -item[1])


def _build_table(
    sweep: SweepRecord,
    trials: Sequence[TrialRecord],
    details: SweepDetails,
    names: Sequence[str],
    url_of: Callable[[str], str | None],
) -> Table:
    trials = sorted(trials, key=lambda trial: trial["rank"] or math.inf)
    best = _find_best(trials)
    prefix, suffix = "", ""
    if best and details["reproduce_command"]:
        prefix, _, suffix = details["reproduce_command"].rpartition(best["directory"])
    params: Cells = {
        Column(name, name, is_shown=name in names): [
            _to_cell(trial["params"].get(name)) for trial in trials
        ]
        for name in [*names, *(p["name"] for p in sweep["parameters"] if not p["is_varied"])]
    }
    scores: Cells = {
        score_column(name, is_shown=name.endswith("accuracy")): [
            _to_cell(trial["scores"].get(name)) for trial in trials
        ]
        for name in SUMMARY_SCORES
        if any(name in trial["scores"] for trial in trials)
    }
    cells: Cells = {
        Column("trial", "Trial", "link"): [
            [f"trial {trial['number']}", url_of(trial["directory"])] for trial in trials
        ],
        Column("rank", "Rank", "integer"): [trial["rank"] for trial in trials],
        Column("state", "State", "status"): [trial["status"] for trial in trials],
        Column("objective", sweep["metric"], "number"): [_to_cell(t["value"]) for t in trials],
        **params,
        **scores,
        Column("num_epochs", "Epochs", "integer"): [trial["num_epochs"] for trial in trials],
        Column("training_seconds", "Training time", "duration"): [
            _to_cell(trial["training_seconds"], 5) for trial in trials
        ],
        Column("started", "Started", "time", is_shown=False): [t["started_at"] for t in trials],
        Column("reason", "Reason of failure", is_shown=False): [
            t["reason"] or None for t in trials
        ],
        Column("directory", "Directory", is_shown=False): [trial["directory"] for trial in trials],
        Column("command", "Command", is_shown=False): [
            f"{prefix}{trial['directory']}{suffix}"
            if prefix and trial["status"] == "finished"
            else None
            for trial in trials
        ],
    }
    return Table(
        caption="All trials",
        columns=[*cells],
        rows=join_cells(cells, [str(trial["number"]) for trial in trials]),
        sort="rank",
        page_size=TRIALS_PER_PAGE,
        is_explorable=True,
        curves=_thin_curves(sweep["metric"], trials),
        brushed_by="parallel",
    )


def _thin_curves(
    metric: str, trials: Sequence[TrialRecord]
) -> dict[str, dict[str, list[float | None]]]:
    max_points = max(4, MAX_TABLE_CURVE_POINTS // max(1, len(trials)))
    curves: dict[str, dict[str, list[float | None]]] = {}
    for trial in trials:
        if trial["curve"]:
            kept = minmax_downsample([trial["curve"]], max_points)
            curves[str(trial["number"])] = {
                "epoch": [trial["epochs"][index] for index in kept],
                "seconds": [_round(trial["elapsed_seconds"][index], 4) for index in kept],
                metric: [_round(trial["curve"][index], 5) for index in kept],
            }
    return curves


def _to_cell(value: ParameterValue | None, digits: int = 10) -> JsonValue:
    """Return a parameter or score as a value that JSON and a table can represent."""
    if isinstance(value, float) and math.isfinite(value):
        return _round(value, digits)
    return value if isinstance(value, str | int | None) else format_value(value)


def _round(value: float | None, digits: int) -> float | None:
    """Round to significant digits, which keeps a page small."""
    return None if value is None else float(f"{value:.{digits}g}")
