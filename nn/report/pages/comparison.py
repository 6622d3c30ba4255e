"""The page that compares runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nn.io.coerce import drop_none
from nn.report import formatting as fmt
from nn.report.charts.curves import plot_mean_metric, plot_metric_of_runs
from nn.report.charts.run import plot_confusion_matrix
from nn.report.data.comparison import (
    ClassComparison,
    ComparisonReader,
    DifferingSetting,
    flat_settings,
    name_settings,
)
from nn.report.data.run import CurveRecord, RunRecord, thin_curves
from nn.report.data.setting import compare_settings
from nn.report.page import Page
from nn.report.pages.index import SCORE_TITLES, score_column, setting_cell, settings_column
from nn.report.palette import DASHES
from nn.report.paths import PageUrl
from nn.report.tables import Cells, Column, ColumnKind, Table, join_cells
from nn.runs.seeds import PairedDifference

CURVES = {
    "val/accuracy": "Validation accuracy",
    "val/loss": "Validation loss",
    "train/accuracy": "Training accuracy",
    "train/loss": "Training loss",
}
SHOWN_SCORES = ("test/accuracy", "val/accuracy", "test/loss", "val/loss")
MAX_OVERLAY_POINTS = 200
"""Points per curve that the table of scores can overlay."""
MAX_NAME_LENGTH = 28
MAX_PREDICTIONS = 8
"""Runs whose predictions of a sample are listed."""


DIFFERENCE_COLUMNS = ("Score", "A", "B", "B - A", "95 % interval", "Seeds")


def build_comparison_page(comparison: ComparisonReader, page_url: PageUrl) -> Page:
    """Build the page."""
    names = _shorten(comparison.run_names)
    records = [run.record() for run in comparison.runs]
    curves = [run.curves() for run in comparison.runs]
    differences, details = comparison.record(), comparison.details()
    titles = {record["title"] for record in records}
    class_names = [[each["name"] for each in record["classes"]] for record in records]
    settings = differences["settings"]
    groups = comparison.seed_groups()
    has_seeds, curve_names = len(groups) < len(records), names
    if has_seeds:
        labels = name_settings(names, [flat_settings(record) for record in records])
        curve_names = [fmt.truncate(labels[group[0]], MAX_NAME_LENGTH) for group in groups]
    figures = {
        key.replace("/", "-"): plot_mean_metric(
            key, curve_names, [[curves[index] for index in group] for group in groups]
        )
        if has_seeds
        else plot_metric_of_runs(key, names, curves)
        for key in CURVES
    }
    charts = {name: chart for name, chart in figures.items() if chart}
    for index, record in enumerate(records):
        if (matrix := record["confusion_matrix"]) is not None:
            charts[f"confusion-{index}"] = plot_confusion_matrix(matrix, class_names[index])
    tables = {
        "scores": _build_score_table(comparison, records, curves, settings, page_url),
        "settings": _build_settings_table(names, settings),
    }
    if any(len(drop_none(each["f1"])) > 1 for each in differences["classes"]):
        tables["classes"] = _build_class_table(names, differences["classes"])
    pair = [[comparison.runs[index] for index in group] for group in groups]
    if len(groups) == 2 and (paired := compare_settings(*pair)):
        tables["differences"] = Table(
            columns=[Column(title, title) for title in DIFFERENCE_COLUMNS],
            rows={name: format_difference(name, each) for name, each in paired.items()},
        )
    return Page(
        template="comparison.html",
        title=titles.pop() if len(titles) == 1 else fmt.count(len(records), "run"),
        context={
            "names": names,
            "curve_names": curve_names,
            "has_seeds": has_seeds,
            "dashes": DASHES,
            "best": _find_best(names, records),
            "pair": [[names[index] for index in group] for group in groups],
            "num_settings": len(settings),
            "curves": [(key.replace("/", "-"), title) for key, title in CURVES.items()],
            "num_matrices": sum(name.startswith("confusion-") for name in charts),
            "details": details,
            "class_names": [class_names[index] for index in details["runs"]],
            "max_predictions": MAX_PREDICTIONS,
            "runs": list(zip(names, records, strict=True)),
        },
        charts=charts,
        tables=tables,
    )


def format_difference(name: str, difference: PairedDifference) -> list[str]:
    """Return the cells of `DIFFERENCE_COLUMNS`; differences of percentages are in points."""
    kind, (low, high) = score_column(name).kind, difference.interval or (None, None)
    means = [fmt.percent(m) if kind == "percent" else fmt.number(m) for m in difference.means]
    interval = "needs two seeds"
    if low is not None and high is not None:
        interval = f"{_format_signed(low, kind)} to {_format_signed(high, kind)}"
    delta, num_seeds = _format_signed(difference.difference, kind), str(difference.num_seeds)
    return [SCORE_TITLES.get(name, name), *means, delta, interval, num_seeds]


def _format_signed(value: float, kind: ColumnKind) -> str:
    return f"{100 * value:+.2f}\u00a0pp" if kind == "percent" else f"{value:+#.3g}"


def _shorten(names: Sequence[str]) -> list[str]:
    """Return the last parts of paths if they differ, and not more than the end of each."""
    last_parts = [name.rpartition("/")[2] for name in names]
    chosen = last_parts if len(set(last_parts)) == len(names) else names
    return [
        name if len(name) <= MAX_NAME_LENGTH else f"…{name[1 - MAX_NAME_LENGTH :]}"
        for name in chosen
    ]


def _find_best(names: Sequence[str], records: Sequence[RunRecord]) -> tuple[str, str, float] | None:
    """Return the name, the split and the accuracy of the best run, if all have the same data."""
    if len({str(record["choices"].get("dataset")) for record in records}) > 1:
        return None
    for split in ("test", "val"):
        scores = [record["scores"].get(f"{split}/accuracy") for record in records]
        if known := drop_none(scores):
            return names[scores.index(max(known))], split, max(known)
    return None


def _build_score_table(
    comparison: ComparisonReader,
    records: Sequence[RunRecord],
    curves: Sequence[CurveRecord],
    settings: Sequence[DifferingSetting],
    page_url: PageUrl,
) -> Table:
    scores = [name for name in SCORE_TITLES if any(name in each["scores"] for each in records)]
    scores.sort(key=lambda name: name not in SHOWN_SCORES)
    names = comparison.run_names
    cells: Cells = {
        Column("run", "Run", "link"): [
            [name, page_url(run.path)] for name, run in zip(names, comparison.runs, strict=True)
        ]
    }
    for name in scores:
        column = score_column(name, name in SHOWN_SCORES)
        cells[column] = [each["scores"].get(name) for each in records]
    cells |= {
        Column("num_parameters", "Parameters", "integer"): [r["num_parameters"] for r in records],
        Column("num_epochs", "Epochs", "integer"): [each["num_epochs"] for each in records],
        Column("seconds", "Time", "duration"): [each["training_seconds"] for each in records],
        Column("status", "Status", "status"): [each["status"] for each in records],
        Column("started_at", "Started", "time", False): [each["started_at"] for each in records],
        Column("command", "Command", is_shown=False): [r["reproduce_command"] for r in records],
    }
    grouping = settings_column(
        names, {name: flat_settings(r) for name, r in zip(names, records, strict=True)}
    )
    cells |= grouping
    for setting in settings:
        column = Column(f"setting.{setting['name']}", setting["name"], is_shown=False)
        cells[column] = [*map(setting_cell, setting["values"])]
    thinned = [thin_curves(each, CURVES, MAX_OVERLAY_POINTS) for each in curves]
    return Table(
        columns=[*cells],
        rows=join_cells(cells, names),
        group_by="settings" if grouping else None,
        is_explorable=True,
        curves={name: {**x, **y} for name, (x, y) in zip(names, thinned, strict=True)},
    )


def _build_settings_table(names: Sequence[str], settings: Iterable[DifferingSetting]) -> Table:
    rows: dict[str, Sequence[object]] = {}
    for each in settings:
        values = [f"{v:.6g}" if isinstance(v, float) else setting_cell(v) for v in each["values"]]
        rows[each["name"]] = [each["name"], *values]
    columns = [Column("setting", "Setting"), *_run_columns(names, "text")]
    return Table(columns=columns, rows=rows)


def _build_class_table(names: Sequence[str], classes: Iterable[ClassComparison]) -> Table:
    rows: dict[str, Sequence[object]] = {}
    for each in classes:
        f1 = drop_none(each["f1"])
        difference = max(f1) - min(f1) if len(f1) > 1 else None
        # the id is not a number, since JavaScript would put those in order
        rows[f"class {each['name']}"] = [each["name"], *each["f1"], difference]
    difference_column = Column("difference", "Largest difference", "percent")
    return Table(
        columns=[Column("class", "Class"), *_run_columns(names, "percent"), difference_column],
        rows=rows,
        page_size=20,
    )


def _run_columns(names: Sequence[str], kind: ColumnKind) -> list[Column]:
    return [Column(f"run{index}", name, kind) for index, name in enumerate(names)]
