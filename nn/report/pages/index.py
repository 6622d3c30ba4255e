"""The page that lists the runs and sweeps below a directory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from nn.config.schema import HYPERPARAMETERS
from nn.errors import format_value
from nn.io.coerce import drop_none
from nn.io.command_line import format_command
from nn.io.paths import relpath
from nn.io.serialization import JsonObject
from nn.report import formatting as fmt
from nn.report.data.comparison import name_settings
from nn.report.data.index import IndexEntry, IndexReader
from nn.report.page import Page
from nn.report.paths import PageUrl, display_path, normalize_command
from nn.report.tables import Cells, Column, ColumnKind, Table, join_cells

PAGE_SIZE = 50
MAX_COLUMNS = 300
"""Columns of scores and settings; those of most rows are listed."""
MAX_CURVE_VALUES = 200_000
"""Numbers in the curves of all rows."""
MAX_NAME_LENGTH, MAX_VALUE_LENGTH = 40, 200
KINDS = {"run": "run", "sweep": "sweep", "wandb": "W&B run"}
PERCENTAGES = ("accuracy", "top3", "calibration_error")
"""Scores that are shown as percentages, by the part of their names after the split."""
SCORE_TITLES = {
    "val/accuracy": "Val. accuracy",
    "test/accuracy": "Test accuracy",
    "val/loss": "Val. loss",
    "test/loss": "Test loss",
    "val/top3": "Val. top-3 accuracy",
    "test/top3": "Test top-3 accuracy",
    "val/calibration_error": "Val. calibration error",
    "test/calibration_error": "Test calibration error",
}


def build_index_page(index: IndexReader, page_url: PageUrl) -> Page:
    """Build the page; a URL that ends in a slash is that of a directory without a page."""
    entries = index.entries
    urls = {entry["path"]: page_url(index.directory / entry["path"]) for entry in entries}
    counted = Counter(KINDS[entry["kind"]] for entry in entries)
    live_command = normalize_command(format_command("report", relpath(index.directory), "--live"))
    return Page(
        template="index.html",
        title=index.directory.absolute().name,
        context={
            "path": display_path(index.directory),
            "counts": [fmt.count(counted[kind], kind) for kind in KINDS.values() if counted[kind]],
            "num_pending": index.num_pending,
            "num_running": sum(entry["status"] == "running" for entry in entries),
            "best_entries": _find_best_per_dataset(entries),
            "notices": index.errors,
            "live_command": live_command,
            "has_directory_links": any(not url or url.endswith("/") for url in urls.values()),
        },
        tables={"index": _build_table(entries, urls)},
    )


def _find_best_per_dataset(entries: Sequence[IndexEntry]) -> list[IndexEntry]:
    """Return the entry with the highest test accuracy on each data set, most used first."""
    by_dataset: dict[str, list[IndexEntry]] = {}
    for entry in entries:
        if entry["dataset"] and entry["kind"] != "wandb" and "test/accuracy" in entry["scores"]:
            by_dataset.setdefault(entry["dataset"], []).append(entry)
    return [
        max(group, key=lambda entry: entry["scores"]["test/accuracy"])
        for group in sorted(by_dataset.values(), key=len, reverse=True)
    ]


def _build_table(entries: Sequence[IndexEntry], urls: Mapping[str, str | None]) -> Table:
    """Build the table; at first it shows what is known of any entry, without the settings."""
    cells: Cells = {
        Column("path", "Directory", "link"): [[*item] for item in urls.items()],
        score_column("val/accuracy"): [each["scores"].get("val/accuracy") for each in entries],
        score_column("test/accuracy"): [each["scores"].get("test/accuracy") for each in entries],
        Column("curve", "Curve", "sparkline"): [_sparkline(each["curve"]) for each in entries],
        Column("status", "Status", "status"): [each["status"] for each in entries],
        Column("name", "Name"): [_shorten(each["name"] or "") for each in entries],
        Column("kind", "Kind"): [KINDS[each["kind"]] for each in entries],
        Column("model", "Model"): [setting_cell(each["settings"].get("model")) for each in entries],
        Column("dataset", "Data set"): [each["dataset"] for each in entries],
        Column("num_epochs", "Epochs", "integer"): [
            each["num_epochs"] if each["kind"] == "run" else None for each in entries
        ],
        Column("num_trials", "Trials", "integer"): [each["num_trials"] for each in entries],
        Column("seconds", "Time", "duration"): [each["seconds"] for each in entries],
        Column("started_at", "Started", "time"): [each["started_at"] for each in entries],
        Column("metric", "Metric"): [each["metric"] for each in entries],
        Column("value", "Value of metric", "number"): [
            each["scores"].get(each["metric"] or "") for each in entries
        ],
        Column("tags", "Tags"): [_shorten(", ".join(each["tags"])) for each in entries],
        Column("group", "Group"): [_shorten(each["group"] or "") for each in entries],
    }
    cells = {
        replace(column, is_shown=any(value is not None for value in values)): values
        for column, values in cells.items()
    }
    runs = [each for each in entries if each["kind"] == "run"]
    cells |= settings_column(
        [each["path"] for each in entries], {each["path"]: each["settings"] for each in runs}
    )
    cells[Column("command", "Command", is_shown=False)] = [each["command"] for each in entries]
    keys = {column.key for column in cells}
    for name in _most_common(each["scores"] for each in entries):
        if name not in keys:
            cells[score_column(name, is_shown=False)] = [e["scores"].get(name) for e in entries]
    keys = {column.key for column in cells}
    for name in _most_common(each["settings"] for each in entries):
        if name not in keys and not _is_redundant(name):
            values = [setting_cell(each["settings"].get(name)) for each in entries]
            cells[Column(name, name, is_shown=False)] = values
    return Table(
        columns=[*cells],
        rows=join_cells(cells, urls),
        sort="-started_at",
        page_size=PAGE_SIZE,
        is_explorable=True,
        curves=_thin_curves(entries),
    )


def settings_column(ids: Sequence[str], settings: Mapping[str, JsonObject]) -> Cells:
    """Return the column that groups runs which differ in their seed only, if there are any.

    Args:
        ids: Of all rows.
        settings: Of the rows that are runs.
    """
    labels = dict(zip(settings, name_settings([*settings], [*settings.values()]), strict=True))
    if len({*labels.values()}) == len(labels):
        return {}
    column = Column("settings", "Everything but the seed", is_shown=False)
    return {column: [labels.get(each, each) for each in ids]}


def score_column(name: str, is_shown: bool = True) -> Column:
    """Return the column of a score, by its name in summary.json."""
    is_percentage = name in SCORE_TITLES and name.partition("/")[2] in PERCENTAGES
    kind: ColumnKind = "percent" if is_percentage else "number"
    return Column(name, SCORE_TITLES.get(name, name), kind, is_shown)


def setting_cell(value: JsonValue) -> JsonValue:
    """Return a number as it is up to ten digits, and any other setting as text."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.10g}")  # which keeps a page small
    if value is None or isinstance(value, int):
        return value
    return fmt.truncate(format_value(value), MAX_VALUE_LENGTH)


def _is_redundant(name: str) -> bool:
    """Whether a setting repeats a hyperparameter, such as model.depth, or only concerns W&B."""
    is_repeated = "." in name and name.rpartition(".")[2] in (*HYPERPARAMETERS, "_target_")
    return is_repeated or name == "tracking" or name.startswith("tracking.")


def _sparkline(curve: Sequence[float | None]) -> JsonValue:
    values = drop_none(curve)
    return [*values] if len(values) > 1 else None


def _shorten(text: str) -> str | None:
    return fmt.truncate(text, MAX_NAME_LENGTH) or None


def _most_common(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the keys of these mappings in order, or those of most mappings if there are many."""
    counted = Counter(key for mapping in mappings for key in mapping)
    if len(counted) > MAX_COLUMNS:
        return [key for key, _ in counted.most_common(MAX_COLUMNS)]
    return list(counted)


def _thin_curves(
    entries: Sequence[IndexEntry],
) -> dict[str, Mapping[str, Sequence[float | None]]]:
    """Return the curves by row, downsampled so that their total size is bounded."""
    curves = {entry["path"]: entry["curves"] for entry in entries if len(entry["curves"]) > 1}
    num_values = sum(len(values) for each in curves.values() for values in each.values())
    step = -(-num_values // MAX_CURVE_VALUES) or 1
    return {
        path: {key: [*values[:-1:step], *values[-1:]] for key, values in each.items()}
        for path, each in curves.items()
    }
