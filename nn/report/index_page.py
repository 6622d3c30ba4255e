"""The index of a folder: its runs and sweeps, to be sorted and filtered, with small curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nn.errors import UserError
from nn.io.paths import relpath
from nn.report import formatting as fmt
from nn.report.coerce import drop_none
from nn.report.links import is_run_dir, is_sweep_dir, relative_url
from nn.report.markup import Markup, element
from nn.report.page import Page, Section
from nn.report.paths import strip_folder
from nn.report.run_data import RunData
from nn.report.run_page import build_footer
from nn.report.sweep_data import SweepData
from nn.report.tables import Cell, Column, build_table
from nn.report.thinning import minmax_downsample

ROWS_PER_PAGE = 50
"""Entries that are listed at a time."""
SPARKLINE_POINTS = 60
"""Points of a small curve."""


@dataclass(frozen=True)
class IndexEntry:
    """A run or a sweep, as the index shows it."""

    path: Path
    kind: str
    title: str
    settings: str
    status: str
    test_accuracy: float | None
    val_accuracy: float | None
    curve: Sequence[float | None]
    num_epochs: int
    seconds: float | None
    start_timestamp: float


def read_entries(folder: Path) -> tuple[list[IndexEntry], list[str]]:
    """Read the runs and sweeps in a folder, and say which cannot be read."""
    found, problems = [], []
    for path in _find_folders(folder):
        try:
            found.append(_sweep_entry(path) if is_sweep_dir(path) else _run_entry(path))
        except UserError as mistake:
            problems.append(strip_folder(str(mistake), folder))
    return sorted(found, key=lambda entry: -entry.start_timestamp), problems


def build_index_page(
    folder: Path, entries: Sequence[IndexEntry], problems: Sequence[str], output: Path
) -> Page:
    """Show them all."""
    runs = [entry for entry in entries if entry.kind == "run"]
    sweeps = [entry for entry in entries if entry.kind == "sweep"]
    counted = [
        fmt.count(len(each), name) for each, name in ((runs, "run"), (sweeps, "sweep")) if each
    ]
    best = max(
        (entry for entry in entries if entry.test_accuracy is not None),
        key=lambda e: e.test_accuracy or 0.0,
        default=None,
    )
    lead = f"{fmt.join(counted)}."
    if best:
        name, reached = best.path.relative_to(folder), fmt.percent(best.test_accuracy)
        lead += f" The highest test accuracy is {reached}, of {name}."
    listed = build_table(
        "Runs and sweeps",
        [
            Column("Folder", is_numeric=False),
            Column("What", is_numeric=False),
            Column("Status", is_numeric=False),
            Column("Test"),
            Column("Validation"),
            Column("Curve", is_numeric=False),
            Column("Epochs"),
            Column("Time"),
            Column("Begun", is_numeric=False),
        ],
        [_row(entry, folder, output) for entry in entries],
        ROWS_PER_PAGE,
        has_search=True,
        filter_options=sorted({entry.status for entry in entries}),
        element_id="index",
    )
    remarks = [
        "Accuracies are those of the kept weights, and of a sweep's best trial. The small curve is "
        "the validation accuracy by epoch, or a sweep's best value by trial. An underlined name "
        "leads to a page that was made before."
    ]
    section = Section("runs", "Runs and sweeps", [listed], remarks, is_wide=True)
    return Page(
        "Index",
        "",
        folder.absolute().name,
        lead,
        [section],
        problems,
        (),
        None,
        build_footer(folder),
    )


def _row(entry: IndexEntry, folder: Path, output: Path) -> list[Cell]:
    name = entry.path.relative_to(folder)
    report = entry.path / "report.html"
    linked_name = element("a", name, href=relative_url(report, output)) if report.exists() else name
    what = [
        element("b", entry.title),
        element("span", entry.settings, class_="under") if entry.settings else None,
    ]
    when = datetime.fromtimestamp(entry.start_timestamp)
    return [
        Cell(linked_name, name),
        Cell(what, entry.title),
        Cell(entry.status),
        Cell(fmt.percent(entry.test_accuracy), entry.test_accuracy),
        Cell(fmt.percent(entry.val_accuracy), entry.val_accuracy),
        Cell(sparkline(entry.curve), next(reversed(drop_none(entry.curve)), None)),
        Cell(fmt.count(entry.num_epochs), entry.num_epochs),
        Cell(fmt.duration(entry.seconds), entry.seconds),
        Cell(f"{when:%Y-%m-%d %H:%M}", f"{when:%Y-%m-%d %H:%M:%S}"),
    ]


def sparkline(values: Sequence[float | None]) -> Markup | None:
    """Draw a small curve, which stretches over what it has."""
    kept = [values[place] for place in minmax_downsample([values], SPARKLINE_POINTS)]
    shown = [(place, value) for place, value in enumerate(kept) if value is not None]
    if len(shown) < 2:
        return None
    low, high = (end(value for _, value in shown) for end in (min, max))
    right, up = 118 / (len(kept) - 1), 26 / ((high - low) or 1.0)
    points = " ".join(
        f"{1 + right * place:.1f},{27 - up * (value - low):.1f}" for place, value in shown
    )
    says = f"from {fmt.number(shown[0][1])} to {fmt.number(shown[-1][1])}"
    line = element("polyline", points=points)
    return element("svg", line, class_="spark", viewBox="0 0 120 28", role="img", aria_label=says)


def _find_folders(folder: Path) -> Iterator[Path]:
    """Go through a folder, but not into what is a run or a sweep."""
    if is_sweep_dir(folder) or is_run_dir(folder):
        yield folder
        return
    try:
        below = sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
    except OSError as error:
        raise UserError(f"{relpath(folder)} cannot be read: {error.strerror}.") from None
    for each in below:
        yield from _find_folders(each)


def _run_entry(path: Path) -> IndexEntry:
    run = RunData(path)
    settings = ", ".join(
        f"{key}={fmt.short_setting(run.config[key])}" for key in ("lr", "batch_size")
    )
    optimizer = run.choices.get("optimizer")
    curve = run.curve("val/accuracy")
    return IndexEntry(
        path,
        "run",
        run.title,
        f"{optimizer}, {settings}" if optimizer else settings,
        run.status,
        run.score("test/accuracy"),
        run.score("val/accuracy"),
        curve if drop_none(curve) else run.curve("train/accuracy"),
        len(run.epochs),
        run.training_seconds,
        run.start_timestamp or _modified_timestamp(path / "config.yaml"),
    )


def _sweep_entry(path: Path) -> IndexEntry:
    sweep = SweepData(path)
    best = sweep.best_trial
    return IndexEntry(
        path,
        "sweep",
        f"sweep {sweep.title}",
        f"{fmt.join(sweep.varied_params)}" if sweep.varied_params else "",
        "running" if sweep.state_counts.get("running") else "finished",
        best.test_accuracy if best else None,
        best.val_accuracy if best else None,
        sweep.cumulative_best(sweep.scored_trials),
        len(sweep.trials),
        sweep.running_time.total_seconds,
        _modified_timestamp(path / "sweep.yaml"),
    )


def _modified_timestamp(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
