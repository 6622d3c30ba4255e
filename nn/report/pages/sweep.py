"""The page of a sweep: charts and a table of all its trials, whatever their state."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest
from itertools import islice

from nn.report import formatting as fmt
from nn.report.charts import sweep as charts
from nn.report.charts.parallel import plot_parallel_coordinate
from nn.report.data.sweep import (
    SweepDetails,
    SweepReader,
    SweepRecord,
    TrialRecord,
)
from nn.report.page import Page
from nn.report.pages.index import score_column, setting_cell
from nn.report.paths import PageUrl
from nn.report.tables import Cells, Column, Curves, Table, join_cells
from nn.runs.history import minmax_downsample
from nn.sweeps.importance import MIN_TRIALS_PER_PARAMETER
from nn.sweeps.trials import SUMMARY_SCORES

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
        "curves": charts.plot_intermediate_values(trials, names),
        "timeline": charts.plot_timeline(record, trials, names),
        **charts.plot_optimization_history(record, trials, names),
        **{f"by-{index}": chart for index, chart in enumerate(slices.values())},
    }
    seconds_by_state: defaultdict[str, float] = defaultdict(float)
    for trial in trials:
        seconds_by_state[trial["status"]] += trial["training_seconds"] or 0.0
    table = _build_table(record, trials, details, names, lambda name: page_url(sweep.path / name))
    return Page(
        template="sweep.html",
        title=record["title"],
        context={
            "path": record["path"],
            "sweep": record,
            "details": details,
            "best": _find_best(trials),
            "states": list(charts.MARKERS),
            "summary": summarize_sweep(record, trials, details),
            "notices": list_notices(record),
            "metric": format_metric(record),
            "importance": summarize_importance(details),
            "min_importance_trials": MIN_TRIALS_PER_PARAMETER * len(details["importances"]),
            "slices": list(slices),
            "max_drawn_trials": charts.MAX_DRAWN_TRIALS,
            "seconds_by_state": sorted(seconds_by_state.items(), key=lambda item: -item[1]),
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
    params = f", with {charts.format_params(best, names)}" if names else ""
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


def _build_table(
    sweep: SweepRecord,
    trials: Sequence[TrialRecord],
    details: SweepDetails,
    names: Sequence[str],
    url_of: Callable[[str], str | None],
) -> Table:
    trials = sorted(trials, key=lambda trial: trial["rank"] or math.inf)
    best, prefix, suffix = _find_best(trials), "", ""
    if best and details["reproduce_command"]:
        prefix, _, suffix = details["reproduce_command"].rpartition(best["directory"])
    cells: Cells = {
        Column("trial", "Trial", "link"): [
            [f"trial {trial['number']}", url_of(trial["directory"])] for trial in trials
        ],
        Column("rank", "Rank", "integer"): [trial["rank"] for trial in trials],
        Column("state", "State", "status"): [trial["status"] for trial in trials],
        Column("objective", sweep["metric"], "number"): [_round(t["value"]) for t in trials],
    }
    for name in [*names, *(p["name"] for p in sweep["parameters"] if not p["is_varied"])]:
        values = [setting_cell(trial["params"].get(name)) for trial in trials]
        cells[Column(name, name, is_shown=name in names)] = values
    for name in SUMMARY_SCORES:
        if any(name in trial["scores"] for trial in trials):
            scores = [_round(trial["scores"].get(name)) for trial in trials]
            cells[score_column(name, is_shown=name.endswith("accuracy"))] = scores
    cells |= {
        Column("num_epochs", "Epochs", "integer"): [trial["num_epochs"] for trial in trials],
        Column("training_seconds", "Training time", "duration"): [
            _round(trial["training_seconds"], 5) for trial in trials
        ],
        Column("started", "Started", "time", False): [_round(t["started_at"]) for t in trials],
        Column("reason", "Reason of failure", is_shown=False): [
            t["reason"] or None for t in trials
        ],
        Column("directory", "Directory", is_shown=False): [trial["directory"] for trial in trials],
        Column("command", "Command", is_shown=False): [
            f"{prefix}{t['directory']}{suffix}" if prefix and t["status"] == "finished" else None
            for t in trials
        ],
    }
    max_points = max(4, MAX_TABLE_CURVE_POINTS // len(trials)) if trials else 0
    curves: dict[str, Curves] = {
        str(trial["number"]): {
            "epoch": [trial["epochs"][index] for index in kept],
            "seconds": [_round(trial["elapsed_seconds"][index], 4) for index in kept],
            sweep["metric"]: [_round(trial["curve"][index], 5) for index in kept],
        }
        for trial in trials
        if (kept := minmax_downsample([trial["curve"]], max_points))
    }
    return Table(
        columns=[*cells],
        rows=join_cells(cells, [str(trial["number"]) for trial in trials]),
        sort="rank",
        page_size=TRIALS_PER_PAGE,
        is_explorable=True,
        curves=curves,
        brushed_by="parallel",
    )


def _round(value: float | None, digits: int = 10) -> float | None:
    """Round to significant digits, which keeps a page small."""
    return None if value is None else float(f"{value:.{digits}g}")
