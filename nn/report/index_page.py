"""The HTML index of the runs and sweeps below a directory, sortable and searchable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nn.errors import UserError
from nn.io.paths import relpath
from nn.report import formatting as fmt
from nn.report.coerce import drop_none
from nn.report.markup import Markup, element
from nn.report.page import Page, Section
from nn.report.paths import REPORT_FILE, is_run_dir, is_sweep_dir, relative_url, strip_folder
from nn.report.run_data import RunData
from nn.report.run_page import build_footer
from nn.report.sweep_data import SweepData
from nn.report.tables import Cell, Column, build_table
from nn.report.thinning import minmax_downsample

ROWS_PER_PAGE = 50
"""Rows per page of the index."""
SPARKLINE_POINTS = 60
"""Points per sparkline after downsampling."""


@dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """A row of the index: a run, or a sweep with the scores of its best trial."""

    path: Path
    kind: str
    title: str
    settings: str
    status: str
    test_accuracy: float | None
    val_accuracy: float | None
    curve: Sequence[float | None]
    num_epochs: int  # of a sweep, over all trials
    seconds: float | None
    start_timestamp: float


def read_entries(folder: Path) -> tuple[list[IndexEntry], list[str]]:
    """Read the runs and sweeps below a directory.

    Returns:
        The entries, newest first, and the errors of those that cannot be read.
    """
    entries, problems = [], []
    for path in _find_run_and_sweep_dirs(folder):
        try:
            entries.append(_sweep_entry(path) if is_sweep_dir(path) else _run_entry(path))
        except UserError as error:
            problems.append(strip_folder(str(error), folder))
    return sorted(entries, key=lambda entry: -entry.start_timestamp), problems


def build_index_page(
    folder: Path, entries: Sequence[IndexEntry], problems: Sequence[str], output: Path
) -> Page:
    """Build the index page."""
    runs = [entry for entry in entries if entry.kind == "run"]
    sweeps = [entry for entry in entries if entry.kind == "sweep"]
    counts = [
        fmt.count(len(group), noun) for group, noun in ((runs, "run"), (sweeps, "sweep")) if group
    ]
    best = max(
        (entry for entry in entries if entry.test_accuracy is not None),
        key=lambda entry: entry.test_accuracy or 0.0,
        default=None,
    )
    summary = f"{fmt.join(counts)}."
    if best:
        name, accuracy = best.path.relative_to(folder), fmt.percent(best.test_accuracy)
        summary += f" Highest test accuracy: {accuracy} ({name})."
    table = build_table(
        "Runs and sweeps",
        [
            Column("Directory", is_numeric=False),
            Column("Description", is_numeric=False),
            Column("Status", is_numeric=False),
            Column("Test accuracy"),
            Column("Validation accuracy"),
            Column("Curve", is_numeric=False),
            Column("Epochs"),
            Column("Time"),
            Column("Started", is_numeric=False),
        ],
        [_row(entry, folder, output) for entry in entries],
        ROWS_PER_PAGE,
        has_search=True,
        filter_options=sorted({entry.status for entry in entries}),
        element_id="index",
    )
    remarks = [
        "Accuracies are those of a run's selected weights or of a sweep's best trial. The curve "
        "shows the validation accuracy by epoch, or a sweep's best value so far by trial; the "
        "epochs of a sweep are those of all its trials. Directories with a report of their own "
        "are links."
    ]
    section = Section("runs", "Runs and sweeps", [table], remarks, is_wide=True)
    return Page(
        kind="Index",
        title=folder.absolute().name,
        summary=summary,
        sections=[section],
        notices=problems,
        footer=build_footer(folder),
    )


def _row(entry: IndexEntry, folder: Path, output: Path) -> list[Cell]:
    name = entry.path.relative_to(folder)
    report = entry.path / REPORT_FILE
    linked_name = element("a", name, href=relative_url(report, output)) if report.exists() else name
    description = [
        element("b", entry.title),
        element("span", entry.settings, class_="under") if entry.settings else None,
    ]
    started = datetime.fromtimestamp(entry.start_timestamp)
    return [
        Cell(linked_name, name),
        Cell(description, entry.title),
        Cell(entry.status),
        Cell(fmt.percent(entry.test_accuracy), entry.test_accuracy),
        Cell(fmt.percent(entry.val_accuracy), entry.val_accuracy),
        Cell(sparkline(entry.curve), next(reversed(drop_none(entry.curve)), None)),
        Cell(fmt.count(entry.num_epochs), entry.num_epochs),
        Cell(fmt.duration(entry.seconds), entry.seconds),
        Cell(f"{started:%Y-%m-%d %H:%M}", f"{started:%Y-%m-%d %H:%M:%S}"),
    ]


def sparkline(values: Sequence[float | None]) -> Markup | None:
    """Draw a curve as an inline SVG scaled to its range; None for fewer than two values."""
    kept = [values[index] for index in minmax_downsample([values], SPARKLINE_POINTS)]
    points = [(index, value) for index, value in enumerate(kept) if value is not None]
    if len(points) < 2:
        return None
    low, high = (bound(value for _, value in points) for bound in (min, max))
    x_scale, y_scale = 118 / (len(kept) - 1), 26 / ((high - low) or 1.0)
    line = " ".join(
        f"{1 + x_scale * index:.1f},{27 - y_scale * (value - low):.1f}" for index, value in points
    )
    return element(
        "svg",
        element("polyline", points=line),
        class_="spark",
        viewBox="0 0 120 28",
        role="img",
        aria_label=f"from {fmt.number(points[0][1])} to {fmt.number(points[-1][1])}",
    )


def _find_run_and_sweep_dirs(folder: Path) -> Iterator[Path]:
    """Walk a directory without descending into runs, sweeps or symbolic links."""
    if is_sweep_dir(folder) or is_run_dir(folder):
        yield folder
        return
    try:
        children = sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())
    except OSError as error:
        raise UserError(f"{relpath(folder)} cannot be read: {error.strerror}.") from None
    for child in children:
        yield from _find_run_and_sweep_dirs(child)


def _run_entry(path: Path) -> IndexEntry:
    run = RunData(path)
    settings = ", ".join(
        f"{key}={fmt.short_setting(run.config[key])}" for key in ("lr", "batch_size")
    )
    optimizer = run.choices.get("optimizer")
    curve = run.curve("val/accuracy")
    return IndexEntry(
        path=path,
        kind="run",
        title=run.title,
        settings=f"{optimizer}, {settings}" if optimizer else settings,
        status=run.status,
        test_accuracy=run.score("test/accuracy"),
        val_accuracy=run.score("val/accuracy"),
        curve=curve if drop_none(curve) else run.curve("train/accuracy"),
        num_epochs=len(run.epochs),
        seconds=run.training_seconds,
        start_timestamp=run.start_timestamp or _modified_timestamp(path / "config.yaml"),
    )


def _sweep_entry(path: Path) -> IndexEntry:
    sweep = SweepData(path)
    best = sweep.best_trial
    trials = fmt.count(len(sweep.trials), "trial")
    return IndexEntry(
        path=path,
        kind="sweep",
        title=f"sweep {sweep.title}",
        settings=f"{trials} over {fmt.join(sweep.varied_params)}"
        if sweep.varied_params
        else trials,
        status="running" if sweep.state_counts.get("running") else "finished",
        test_accuracy=best.test_accuracy if best else None,
        val_accuracy=best.val_accuracy if best else None,
        curve=sweep.cumulative_best(sweep.scored_trials),
        num_epochs=sum(len(trial.epochs) for trial in sweep.trials),
        seconds=sweep.running_time.total_seconds,
        start_timestamp=_modified_timestamp(path / "sweep.yaml"),
    )


def _modified_timestamp(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
