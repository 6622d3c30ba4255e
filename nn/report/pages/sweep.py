"""The page of a sweep: charts and a table of all its trials, whatever their state."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest
from itertools import islice

from nn.report import formatting as fmt
from nn.report.charts import sweep as charts
from nn.report.charts.parallel import plot_parallel_coordinate, point_noun
from nn.report.data.points import PointRecord, TrialRecord
from nn.report.data.sweep import SweepDetails, SweepReader, SweepRecord
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
MAX_CONTENDERS = 8
"""Points named as indistinguishable from the recommended one."""
UNFINISHED = ("running", "interrupted", "crashed", "killed", "stale")
"""States of trials that have no result yet."""
MAX_TABLE_CURVE_POINTS = 12_000
"""Points of the curves that can be overlaid, of all trials together."""


def build_sweep_page(sweep: SweepReader, page_url: PageUrl) -> Page:
    """Build the page of a sweep, with links to the pages of its trials."""
    record, trials, details = sweep.record(), sweep.trial_records(), sweep.details()
    names, points = rank_params(record, details), sweep.point_records()
    slices = charts.plot_slices(record, points, names, details)
    figures = {
        "parallel": plot_parallel_coordinate(record, points, names),
        "importance": charts.plot_param_importances(details),
        "curves": charts.plot_intermediate_values(points, names),
        "timeline": charts.plot_timeline(record, trials, names),
        **charts.plot_optimization_history(record, points, names),
        **{f"by-{index}": chart for index, chart in enumerate(slices.values())},
    }
    seconds_by_state: defaultdict[str, float] = defaultdict(float)
    for trial in trials:
        seconds_by_state[trial["status"]] += trial["training_seconds"] or 0.0
    table = _build_table(
        record, trials, points, details, names, lambda name: page_url(sweep.path / name)
    )
    return Page(
        template="sweep.html",
        title=record["title"],
        context={
            "path": record["path"],
            "sweep": record,
            "details": details,
            "best": _find_best(points),
            "is_best_recommended": _is_best_recommended(points, details),
            "num_points": len(points),
            "noun": point_noun(points),
            "states": list(charts.MARKERS),
            "summary": summarize_sweep(record, points, details),
            "notices": list_notices(record),
            "metric": format_metric(record),
            "recommendation": describe_recommendation(record, points, details),
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
    sweep: SweepRecord, points: Sequence[PointRecord], details: SweepDetails
) -> str:
    """Return up to three sentences: the search space, the best point and the paused trials."""
    names, noun = rank_params(sweep, details), point_noun(points)
    text = fmt.count(len(points), noun) + (f" over {fmt.join(names)}" if names else "")
    if noun == "point":
        text += (
            f", in {fmt.count(sweep['num_trials'], 'trial')} with up to "
            f"{fmt.count(sweep['num_seeds'], 'seed')}"
        )
    best = _find_best(points)
    if best is None:
        return f"{text}; none has reported {sweep['metric']} yet."
    params = f", with {charts.format_params(best, names)}" if names else ""
    value, name = format_mean(best), f"{noun.capitalize()} {best['number']}"
    reached = "has the best mean of" if noun == "point" else "reached the best"
    text = f"{text}. {name} {reached} {sweep['metric']}, {value}{params}."
    if not (paused := sweep["paused_epochs"]):
        return text
    places = [f"{number} after {fmt.count(epoch, 'epoch')}" for epoch, number in paused.items()]
    verb = "are" if sum(paused.values()) > 1 else "is"
    return (
        f"{text} {fmt.count(sum(paused.values()), 'trial')} {verb} paused, with the best value so "
        f"far: {fmt.join(places)}."
    )


def describe_recommendation(
    sweep: SweepRecord, points: Sequence[PointRecord], details: SweepDetails
) -> str:
    """Return which point is recommended and which are indistinguishable; empty if none is."""
    found, best, noun = details["recommendation"], _find_best(points), point_noun(points)
    if found is None or best is None or len(found["probability_best"]) < 2:
        return ""
    share = found["probability_best"][found["number"]]
    probability = f"over 99{fmt.PERCENT}" if share > 0.99 else fmt.percent(share, 0)
    chance = f"it is the best of those tried with a probability of {probability}"
    text = f"The recommended {noun} is {found['number']}, also the best observed: {chance}."
    if not _is_best_recommended(points, details):
        mean = f"its expected {sweep['metric']} is the best, {fmt.number(found['mean'])}"
        text = f"The recommended {noun} is {found['number']}: {mean}, and {chance}."
    if not (numbers := found["contenders"]):
        return text
    others = [str(number) for number in numbers[:MAX_CONTENDERS]]
    if more := len(numbers) - len(others):
        others.append(f"{more} more")
    plural = "s" * (len(numbers) > 1)
    return f"{text} It is statistically indistinguishable from {noun}{plural} {fmt.join(others)}."


def format_mean(point: PointRecord) -> str:
    """Return the mean of a point and, of several seeds, its standard error."""
    if point["standard_error"] is None:
        return fmt.number(point["value"])
    error = f"{point['standard_error']:.2g}"
    return f"{fmt.number(point['value'])} ± {error} ({fmt.count(point['num_seeds'], 'seed')})"


def summarize_importance(details: SweepDetails) -> str:
    """Return the three most important parameters with their shares; empty without an estimate."""
    shown = [
        f"{name} {share:.0%}"
        for rank, (name, share) in enumerate(islice(details["importances"].items(), 3))
        if rank == 0 or share >= 0.01
    ]
    return f"{', '.join(shown)} (fANOVA, {details['importance_basis']})." if shown else ""


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


def _find_best(points: Iterable[PointRecord]) -> PointRecord | None:
    return next((point for point in points if point["rank"] == 1), None)


def _is_best_recommended(points: Iterable[PointRecord], details: SweepDetails) -> bool:
    found, best = details["recommendation"], _find_best(points)
    return found is None or best is None or found["number"] == best["number"]


def _build_table(
    sweep: SweepRecord,
    trials: Sequence[TrialRecord],
    points: Sequence[PointRecord],
    details: SweepDetails,
    names: Sequence[str],
    url_of: Callable[[str], str | None],
) -> Table:
    point_of = {number: point for point in points for number in point["trials"]}
    trials = sorted(
        trials, key=lambda trial: (point_of[trial["number"]]["rank"] or math.inf, trial["number"])
    )
    has_seeds = point_noun(points) == "point"
    prefix, suffix = "", ""
    first = next((trial for trial in trials if trial["status"] == "finished"), None)
    if first and details["reproduce_commands"]:  # the first of which is that of this trial
        prefix, _, suffix = details["reproduce_commands"][0].rpartition(first["directory"])
    cells: Cells = {
        Column("trial", "Trial", "link"): [
            [f"trial {trial['number']}", url_of(trial["directory"])] for trial in trials
        ],
        Column("rank", "Rank", "integer"): [point_of[t["number"]]["rank"] for t in trials],
        **(
            _point_cells(sweep, [point_of[trial["number"]] for trial in trials])
            if has_seeds
            else {}
        ),
        **_recommendation_cells(details, [point_of[t["number"]]["number"] for t in trials]),
        Column("state", "State", "status"): [trial["status"] for trial in trials],
        Column("objective", sweep["metric"], "number"): [_round(t["value"]) for t in trials],
    }
    if any(trial["seed"] != trials[0]["seed"] for trial in trials):
        # as text, since a mean of seeds says nothing
        cells[Column("seed", "Seed")] = [str(trial["seed"]) for trial in trials]
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
        group_by="point" if has_seeds else None,
        page_size=TRIALS_PER_PAGE,
        is_explorable=True,
        curves=curves,
        brushed_by="parallel",
    )


def _point_cells(sweep: SweepRecord, points: Sequence[PointRecord]) -> Cells:
    """Return the columns that all trials of a point share."""
    return {
        Column("point", "Point", is_shown=False): [f"point {each['number']}" for each in points],
        Column("mean", f"Mean {sweep['metric']}", "number"): [_round(p["value"]) for p in points],
        Column("standard_error", "± standard error", "number"): [
            _round(point["standard_error"]) for point in points
        ],
        Column("num_seeds", "Seeds", "integer"): [point["num_seeds"] for point in points],
    }


def _recommendation_cells(details: SweepDetails, numbers: Sequence[int]) -> Cells:
    """Return the columns that say how probably each of these points is the best."""
    found = details["recommendation"]
    if found is None:
        return {}
    names = dict.fromkeys(found["contenders"], "contender") | {found["number"]: "recommended"}
    probabilities = found["probability_best"]
    return {
        Column("recommendation", "Recommendation"): [names.get(number) for number in numbers],
        Column("probability_best", "P(best)", "percent"): [
            _round(probabilities.get(number), 4) for number in numbers
        ],
    }


def _round(value: float | None, digits: int = 10) -> float | None:
    """Round to significant digits, which keeps a page small."""
    return None if value is None else float(f"{value:.{digits}g}")
