"""Several runs side by side: what differs in their settings, their curves, what they confuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nn.errors import UserError
from nn.report import confusion
from nn.report import formatting as fmt
from nn.report.axes import epoch_axis
from nn.report.chart import Chart, escape_label, line_trace
from nn.report.coerce import drop_none, flatten_settings, to_finite_float
from nn.report.links import relative_url
from nn.report.markup import element
from nn.report.page import Page, Section
from nn.report.palette import theme_color
from nn.report.paths import shorten_paths
from nn.report.run_curves import MAX_POINTS, downsample_curves
from nn.report.run_data import SPLITS, RunData
from nn.report.run_page import build_footer
from nn.report.tables import Cell, Column, build_table

LINE_DASHES = ("solid", "dash", "dot", "dashdot")
SCORE_COLUMNS = (
    ("test/accuracy", "Test accuracy", fmt.percent),
    ("val/accuracy", "Validation accuracy", fmt.percent),
    ("test/loss", "Test loss", fmt.number),
    ("val/loss", "Validation loss", fmt.number),
)


class Comparison:
    """Runs to be compared, each with a name of its own."""

    def __init__(self, paths: Sequence[Path]) -> None:
        if len(set(map(Path.resolve, paths))) < len(paths):
            raise UserError("A run is named twice; to compare takes different ones.")
        self.runs = [RunData(path) for path in paths]
        self.run_names = _distinct_names(paths)

    @property
    def differing_settings(self) -> list[tuple[str, list[Any]]]:
        """The settings that are not the same in all runs, and their values."""
        settings = [
            {**run.choices, **flatten_settings({**run.config, "choices": None})}
            for run in self.runs
        ]
        keys = dict.fromkeys(key for each in settings for key in each if "_target_" not in key)
        found = [(key, [each.get(key) for each in settings]) for key in keys]
        return [(key, values) for key, values in found if len(set(map(repr, values))) > 1]


def build_comparison_page(comparison: Comparison, output: Path) -> Page:
    """Compare runs."""
    stories = comparison.runs
    best = max(
        stories,
        key=lambda run: run.score("test/accuracy") or run.score("val/accuracy") or 0.0,
    )
    accuracy = best.score(f"{best.split}/accuracy")
    lead = f"{fmt.count(len(comparison.differing_settings), 'setting differs', 'settings differ')}."
    if accuracy is not None:
        name = comparison.run_names[stories.index(best)]
        lead += f" {name} has the highest {SPLITS[best.split]} accuracy, {fmt.percent(accuracy)}."
    notices = [
        f"{name}: {notice}"
        for name, run in zip(comparison.run_names, stories, strict=True)
        for notice in run.notices
    ]
    titles = {run.title for run in stories}
    title = titles.pop() if len(titles) == 1 else f"{len(stories)} runs"
    return Page(
        "Comparison",
        f"{len(stories)} runs",
        title,
        lead,
        list(_sections(comparison, output)),
        notices,
        (),
        None,
        build_footer(),
    )


def _sections(comparison: Comparison, output: Path) -> Iterator[Section]:
    yield _scores_section(comparison, output)
    yield _settings_section(comparison)
    charts = [chart.to_html() for chart in _plot_learning_curves(comparison)]
    if charts:
        body = [element("div", charts, class_="columns")]
        yield Section("curves", "Curves", body, ["Each run by epoch."])
    confused = [
        confusion.plot_confusion_matrix(
            f"confusion-{place}", name, run.confusion_matrix, run.class_names
        ).to_html()
        for place, (name, run) in enumerate(zip(comparison.run_names, comparison.runs, strict=True))
        if run.confusion_matrix is not None
    ]
    if confused:
        remark = "Rows are true classes, columns predicted ones; mistakes are orange."
        body = [element("div", confused, class_="columns")]
        yield Section("confusion", "Confusion", body, [remark], is_wide=True)


def _scores_section(comparison: Comparison, output: Path) -> Section:
    used = [
        each for each in SCORE_COLUMNS if any(s.score(each[0]) is not None for s in comparison.runs)
    ]
    columns = [
        Column("Run", is_numeric=False),
        *(Column(title) for _, title, _ in used),
        Column("Parameters"),
        Column("Epochs"),
        Column("Time"),
    ]
    rows = []
    for place, (name, run) in enumerate(zip(comparison.run_names, comparison.runs, strict=True)):
        swatch = element("i", class_="swatch", style=f"--swatch:var(--class-{place % 10})")
        report = run.path / "report.html"
        called = element("a", name, href=relative_url(report, output)) if report.exists() else name
        size = to_finite_float(run.summary.get("num_parameters"))
        rows.append(
            [
                Cell([swatch, called], name),
                *(Cell(write(run.score(key)), run.score(key)) for key, _, write in used),
                Cell(fmt.count(size), size),
                Cell(fmt.count(len(run.epochs)), len(run.epochs)),
                Cell(fmt.duration(run.training_seconds), run.training_seconds),
            ]
        )
    body = [build_table("Scores of each run", columns, rows, element_id="scores-table")]
    return Section("scores", "Scores", body, is_wide=True)


def _settings_section(comparison: Comparison) -> Section:
    differing = comparison.differing_settings
    if not differing:
        return Section(
            "settings", "Settings", [element("p", "All settings are the same.", class_="sentence")]
        )
    columns = [
        Column("Setting", is_numeric=False),
        *(Column(name, is_numeric=False) for name in comparison.run_names),
    ]
    rows = [
        [
            Cell(key),
            *(
                Cell(
                    fmt.MISSING if value is None else fmt.truncate(fmt.setting(value), 60),
                    value,
                )
                for value in values
            ),
        ]
        for key, values in differing
    ]
    listed = build_table("Settings that differ", columns, rows, element_id="settings-table")
    return Section("settings", "What differs", [listed], ["All other settings are the same."])


def _plot_learning_curves(comparison: Comparison) -> Iterator[Chart]:
    longest = max(len(run.epochs) for run in comparison.runs)
    for key, title, form in (
        ("val/accuracy", "Validation accuracy", ".2%"),
        ("val/loss", "Validation loss", ".4f"),
        ("train/accuracy", "Training accuracy", ".2%"),
        ("train/loss", "Training loss", ".4f"),
    ):
        traces, keys = [], []
        for place, (name, run) in enumerate(
            zip(comparison.run_names, comparison.runs, strict=True)
        ):
            if not drop_none(run.curve(key)):
                continue
            most = max(50, MAX_POINTS * 5 // len(comparison.runs))
            x, (y,) = downsample_curves(run, [key], most)
            dash = {"dash": LINE_DASHES[place // 10 % len(LINE_DASHES)]}
            traces.append(
                line_trace(
                    escape_label(name, 30),
                    x,
                    y,
                    theme_color(f"class-{place % 10}"),
                    f"%{{y:{form}}}",
                    line=dash,
                )
            )
            keys.append((f"class-{place % 10}", fmt.truncate(name, 30)))
        if traces:
            yield Chart(
                key.replace("/", "-"),
                title,
                f"{title} of {len(traces)} runs by epoch.",
                traces,
                {
                    "xaxis": epoch_axis(longest),
                    "yaxis": {"tickformat": "~%"} if "accuracy" in key else {},
                    "hovermode": "x unified" if len(traces) <= 12 else "closest",
                },
                legend=keys if len(keys) <= 6 else (),
            )


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by the parts of their paths in which they differ."""
    parts = [path.absolute().parts for path in paths]
    shared = 0
    while (
        all(len(each) > shared + 1 for each in parts) and len({each[shared] for each in parts}) == 1
    ):
        shared += 1
    return [shorten_paths(str(Path(*each[shared if shared > 1 else 0 :]))) for each in parts]
