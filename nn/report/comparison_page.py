"""The HTML report that compares runs: scores, settings, learning curves, confusion matrices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import JsonValue

from nn.errors import UserError
from nn.report import confusion
from nn.report import formatting as fmt
from nn.report.axes import epoch_axis
from nn.report.chart import Chart, escape_label, line_trace
from nn.report.coerce import drop_none, flatten_settings, to_finite_float
from nn.report.markup import element
from nn.report.page import Page, Section
from nn.report.palette import theme_color
from nn.report.paths import REPORT_FILE, relative_url, shorten_paths
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
    """Different runs with distinct names."""

    def __init__(self, paths: Sequence[Path]) -> None:
        if len(set(map(Path.resolve, paths))) < len(paths):
            raise UserError("The same run is given twice; pass different runs to compare.")
        self.runs = [RunData(path) for path in paths]
        self.run_names = _distinct_names(paths)

    @property
    def differing_settings(self) -> list[tuple[str, list[JsonValue]]]:
        """Settings that are not equal in all runs, each with its value per run."""
        settings = [
            {**run.choices, **flatten_settings({**run.config, "choices": None})}
            for run in self.runs
        ]
        keys = dict.fromkeys(key for flat in settings for key in flat if "_target_" not in key)
        values_of = [(key, [flat.get(key) for flat in settings]) for key in keys]
        return [(key, values) for key, values in values_of if len(set(map(repr, values))) > 1]


def build_comparison_page(comparison: Comparison, output: Path) -> Page:
    """Build the page that compares runs."""
    runs = comparison.runs
    best = max(
        runs,
        key=lambda run: run.score("test/accuracy") or run.score("val/accuracy") or 0.0,
    )
    accuracy = best.score(f"{best.split}/accuracy")
    num_differing = len(comparison.differing_settings)
    summary = f"{fmt.count(num_differing, 'setting differs', 'settings differ')}."
    if accuracy is not None:
        name, split = comparison.run_names[runs.index(best)], SPLITS[best.split]
        summary += f" {name} has the highest {split} accuracy, {fmt.percent(accuracy)}."
    notices = [
        f"{name}: {notice}"
        for name, run in zip(comparison.run_names, runs, strict=True)
        for notice in run.notices
    ]
    titles = {run.title for run in runs}
    title = titles.pop() if len(titles) == 1 else f"{len(runs)} runs"
    return Page(
        kind="Comparison",
        subtitle=f"{len(runs)} runs",
        title=title,
        summary=summary,
        sections=list(_sections(comparison, output)),
        notices=notices,
        footer=build_footer(),
    )


def _sections(comparison: Comparison, output: Path) -> Iterator[Section]:
    yield _scores_section(comparison, output)
    yield _settings_section(comparison)
    charts = [chart.to_html() for chart in _plot_learning_curves(comparison)]
    if charts:
        body = [element("div", charts, class_="columns")]
        yield Section("curves", "Learning curves", body)
    matrices = [
        confusion.plot_confusion_matrix(
            f"confusion-{index}", name, run.confusion_matrix, run.class_names
        ).to_html()
        for index, (name, run) in enumerate(zip(comparison.run_names, comparison.runs, strict=True))
        if run.confusion_matrix is not None
    ]
    if matrices:
        remark = "Rows are true classes, columns predicted classes; errors are orange."
        body = [element("div", matrices, class_="columns")]
        yield Section("confusion", "Confusion matrices", body, [remark], is_wide=True)


def _scores_section(comparison: Comparison, output: Path) -> Section:
    available = [
        column
        for column in SCORE_COLUMNS
        if any(run.score(column[0]) is not None for run in comparison.runs)
    ]
    columns = [
        Column("Run", is_numeric=False),
        *(Column(title) for _, title, _ in available),
        Column("Parameters"),
        Column("Epochs"),
        Column("Time"),
    ]
    rows = []
    for index, (name, run) in enumerate(zip(comparison.run_names, comparison.runs, strict=True)):
        swatch = element("i", class_="swatch", style=f"--swatch:var(--class-{index % 10})")
        report = run.path / REPORT_FILE
        link = element("a", name, href=relative_url(report, output)) if report.exists() else name
        size = to_finite_float(run.summary.get("num_parameters"))
        rows.append(
            [
                Cell([swatch, link], name),
                *(
                    Cell(formatted(run.score(key)), run.score(key))
                    for key, _, formatted in available
                ),
                Cell(fmt.count(size), size),
                Cell(fmt.count(len(run.epochs)), len(run.epochs)),
                Cell(fmt.duration(run.training_seconds), run.training_seconds),
            ]
        )
    body = [build_table("Scores per run", columns, rows, element_id="scores-table")]
    return Section("scores", "Scores", body, is_wide=True)


def _settings_section(comparison: Comparison) -> Section:
    differing = comparison.differing_settings
    if not differing:
        return Section(
            "settings", "Settings", [element("p", "All settings are equal.", class_="sentence")]
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
    table = build_table("Differing settings", columns, rows, element_id="settings-table")
    return Section("settings", "Differing settings", [table], ["All other settings are equal."])


def _plot_learning_curves(comparison: Comparison) -> Iterator[Chart]:
    longest = max(len(run.epochs) for run in comparison.runs)
    for key, title, number_format in (
        ("val/accuracy", "Validation accuracy", ".2%"),
        ("val/loss", "Validation loss", ".4f"),
        ("train/accuracy", "Training accuracy", ".2%"),
        ("train/loss", "Training loss", ".4f"),
    ):
        traces, legend = [], []
        for index, (name, run) in enumerate(
            zip(comparison.run_names, comparison.runs, strict=True)
        ):
            if not drop_none(run.curve(key)):
                continue
            max_points = max(50, MAX_POINTS * 5 // len(comparison.runs))
            x, (y,) = downsample_curves(run, [key], max_points)
            dash = {"dash": LINE_DASHES[index // 10 % len(LINE_DASHES)]}
            traces.append(
                line_trace(
                    escape_label(name, 30),
                    x,
                    y,
                    theme_color(f"class-{index % 10}"),
                    f"%{{y:{number_format}}}",
                    line=dash,
                )
            )
            legend.append((f"class-{index % 10}", fmt.truncate(name, 30)))
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
                legend=legend if len(legend) <= 6 else (),
            )


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by their paths without the leading directories that all of them share."""
    parts = [path.absolute().parts for path in paths]
    shortest = min(map(len, parts))
    shared = 0
    while shared + 1 < shortest and len({path_parts[shared] for path_parts in parts}) == 1:
        shared += 1
    start = shared if shared > 1 else 0
    return [shorten_paths(str(Path(*path_parts[start:]))) for path_parts in parts]
