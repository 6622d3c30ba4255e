"""The index of a folder: its runs and sweeps, to be sorted and filtered, with small curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nn.errors import Mistake
from nn.io.paths import short
from nn.report import formatting as fmt
from nn.report.coerce import known
from nn.report.links import is_run, is_sweep, linked
from nn.report.markup import Markup, element
from nn.report.page import Page, Section
from nn.report.paths import without_folder
from nn.report.run_data import RunStory
from nn.report.run_page import footer
from nn.report.sweep_data import SweepStory
from nn.report.tables import Cell, Column, table
from nn.report.thinning import kept_points

ROWS = 50
"""Entries that are listed at a time."""
SPARK = 60
"""Points of a small curve."""


@dataclass(frozen=True)
class Entry:
    """A run or a sweep, as the index shows it."""

    path: Path
    kind: str
    title: str
    settings: str
    status: str
    test: float | None
    val: float | None
    curve: Sequence[float | None]
    epochs: int
    seconds: float | None
    when: float


def entries(folder: Path) -> tuple[list[Entry], list[str]]:
    """Read the runs and sweeps in a folder, and say which cannot be read."""
    found, problems = [], []
    for path in _places(folder):
        try:
            found.append(_sweep(path) if is_sweep(path) else _run(path))
        except Mistake as mistake:
            problems.append(without_folder(str(mistake), folder))
    return sorted(found, key=lambda entry: -entry.when), problems


def page(folder: Path, found: Sequence[Entry], problems: Sequence[str], output: Path) -> Page:
    """Show them all."""
    runs = [entry for entry in found if entry.kind == "run"]
    sweeps = [entry for entry in found if entry.kind == "sweep"]
    counted = [
        fmt.count(len(each), name) for each, name in ((runs, "run"), (sweeps, "sweep")) if each
    ]
    best = max(
        (entry for entry in found if entry.test is not None),
        key=lambda e: e.test or 0.0,
        default=None,
    )
    lead = f"{fmt.listed(counted)}."
    if best:
        name, reached = best.path.relative_to(folder), fmt.percent(best.test)
        lead += f" The highest test accuracy is {reached}, of {name}."
    listed = table(
        "Runs and sweeps",
        [
            Column("Folder", numeric=False),
            Column("What", numeric=False),
            Column("Status", numeric=False),
            Column("Test"),
            Column("Validation"),
            Column("Curve", numeric=False),
            Column("Epochs"),
            Column("Time"),
            Column("Begun", numeric=False),
        ],
        [_row(entry, folder, output) for entry in found],
        ROWS,
        sought=True,
        choices=sorted({entry.status for entry in found}),
        name="index",
    )
    remarks = [
        "Accuracies are those of the kept weights, and of a sweep's best trial. The small curve is "
        "the validation accuracy by epoch, or a sweep's best value by trial. An underlined name "
        "leads to a page that was made before."
    ]
    section = Section("runs", "Runs and sweeps", [listed], remarks, wide=True)
    return Page(
        "Index", "", folder.absolute().name, lead, [section], problems, (), None, footer(folder)
    )


def _row(entry: Entry, folder: Path, output: Path) -> list[Cell]:
    name = entry.path.relative_to(folder)
    report = entry.path / "report.html"
    linked_name = element("a", name, href=linked(report, output)) if report.exists() else name
    what = [
        element("b", entry.title),
        element("span", entry.settings, class_="under") if entry.settings else None,
    ]
    when = datetime.fromtimestamp(entry.when)
    return [
        Cell(linked_name, name),
        Cell(what, entry.title),
        Cell(entry.status),
        Cell(fmt.percent(entry.test), entry.test),
        Cell(fmt.percent(entry.val), entry.val),
        Cell(spark(entry.curve), next(reversed(known(entry.curve)), None)),
        Cell(fmt.count(entry.epochs), entry.epochs),
        Cell(fmt.duration(entry.seconds), entry.seconds),
        Cell(f"{when:%Y-%m-%d %H:%M}", f"{when:%Y-%m-%d %H:%M:%S}"),
    ]


def spark(values: Sequence[float | None]) -> Markup | None:
    """Draw a small curve, which stretches over what it has."""
    kept = [values[place] for place in kept_points([values], SPARK)]
    shown = [(place, value) for place, value in enumerate(kept) if value is not None]
    if len(shown) < 2:
        return None
    low, high = (end(value for _, value in shown) for end in (min, max))
    right, up = 118 / (len(kept) - 1), 26 / ((high - low) or 1.0)
    points = " ".join(
        f"{1 + right * place:.1f},{27 - up * (value - low):.1f}" for place, value in shown
    )
    says = f"from {fmt.figure(shown[0][1])} to {fmt.figure(shown[-1][1])}"
    line = element("polyline", points=points)
    return element("svg", line, class_="spark", viewBox="0 0 120 28", role="img", aria_label=says)


def _places(folder: Path) -> Iterator[Path]:
    """Go through a folder, but not into what is a run or a sweep."""
    if is_sweep(folder) or is_run(folder):
        yield folder
        return
    try:
        below = sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
    except OSError as error:
        raise Mistake(f"{short(folder)} cannot be read: {error.strerror}.") from None
    for each in below:
        yield from _places(each)


def _run(path: Path) -> Entry:
    story = RunStory(path)
    settings = ", ".join(f"{key}={fmt.brief(story.config[key])}" for key in ("lr", "batch_size"))
    optimizer = story.choices.get("optimizer")
    curve = story.curve("val/accuracy")
    return Entry(
        path,
        "run",
        story.title,
        f"{optimizer}, {settings}" if optimizer else settings,
        story.status,
        story.score("test/accuracy"),
        story.score("val/accuracy"),
        curve if known(curve) else story.curve("train/accuracy"),
        len(story.epochs),
        story.seconds,
        story.began or _time(path / "config.yaml"),
    )


def _sweep(path: Path) -> Entry:
    story = SweepStory(path)
    best = story.best
    return Entry(
        path,
        "sweep",
        f"sweep {story.title}",
        f"{fmt.listed(story.varied)}" if story.varied else "",
        "running" if story.states.get("running") else "finished",
        best.accuracy if best else None,
        best.val_accuracy if best else None,
        story.best_so_far(story.scored),
        len(story.trials),
        story.time.total,
        _time(path / "sweep.yaml"),
    )


def _time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
