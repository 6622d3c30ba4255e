"""Several runs side by side: what differs in their settings, their curves, what they confuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nn.errors import Mistake
from nn.report import confusion
from nn.report import formatting as fmt
from nn.report.axes import epoch_axis
from nn.report.chart import Chart, label, line
from nn.report.coerce import flat, known, number
from nn.report.links import linked
from nn.report.markup import element
from nn.report.page import Page, Section
from nn.report.palette import colour
from nn.report.paths import shorten
from nn.report.run_curves import POINTS, thinned
from nn.report.run_data import PARTS, RunStory
from nn.report.run_page import footer
from nn.report.tables import Cell, Column, table

DASHES = ("solid", "dash", "dot", "dashdot")
FIGURES = (
    ("test/accuracy", "Test accuracy", fmt.percent),
    ("val/accuracy", "Validation accuracy", fmt.percent),
    ("test/loss", "Test loss", fmt.figure),
    ("val/loss", "Validation loss", fmt.figure),
)


class Comparison:
    """Runs to be compared, each with a name of its own."""

    def __init__(self, paths: Sequence[Path]) -> None:
        if len(set(map(Path.resolve, paths))) < len(paths):
            raise Mistake("A run is named twice; to compare takes different ones.")
        self.stories = [RunStory(path) for path in paths]
        self.names = _names(paths)

    @property
    def differing(self) -> list[tuple[str, list[Any]]]:
        """The settings that are not the same in all runs, and their values."""
        settings = [
            {**story.choices, **flat({**story.config, "choices": None})} for story in self.stories
        ]
        keys = dict.fromkeys(key for each in settings for key in each if "_target_" not in key)
        found = [(key, [each.get(key) for each in settings]) for key in keys]
        return [(key, values) for key, values in found if len(set(map(repr, values))) > 1]


def page(comparison: Comparison, output: Path) -> Page:
    """Compare runs."""
    stories = comparison.stories
    best = max(
        stories,
        key=lambda story: story.score("test/accuracy") or story.score("val/accuracy") or 0.0,
    )
    accuracy = best.score(f"{best.part}/accuracy")
    lead = f"{fmt.count(len(comparison.differing), 'setting differs', 'settings differ')}."
    if accuracy is not None:
        name = comparison.names[stories.index(best)]
        lead += f" {name} has the highest {PARTS[best.part]} accuracy, {fmt.percent(accuracy)}."
    notices = [
        f"{name}: {notice}"
        for name, story in zip(comparison.names, stories, strict=True)
        for notice in story.notices
    ]
    titles = {story.title for story in stories}
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
        footer(),
    )


def _sections(comparison: Comparison, output: Path) -> Iterator[Section]:
    yield _scores(comparison, output)
    yield _settings(comparison)
    charts = [chart.markup() for chart in _curves(comparison)]
    if charts:
        body = [element("div", charts, class_="columns")]
        yield Section("curves", "Curves", body, ["Each run by epoch."])
    confused = [
        confusion.chart(f"confusion-{place}", name, story.confusion, story.names).markup()
        for place, (name, story) in enumerate(
            zip(comparison.names, comparison.stories, strict=True)
        )
        if story.confusion is not None
    ]
    if confused:
        remark = "Rows are true classes, columns predicted ones; mistakes are orange."
        body = [element("div", confused, class_="columns")]
        yield Section("confusion", "Confusion", body, [remark], wide=True)


def _scores(comparison: Comparison, output: Path) -> Section:
    used = [
        each for each in FIGURES if any(s.score(each[0]) is not None for s in comparison.stories)
    ]
    columns = [
        Column("Run", numeric=False),
        *(Column(title) for _, title, _ in used),
        Column("Parameters"),
        Column("Epochs"),
        Column("Time"),
    ]
    rows = []
    for place, (name, story) in enumerate(zip(comparison.names, comparison.stories, strict=True)):
        swatch = element("i", class_="swatch", style=f"--swatch:var(--class-{place % 10})")
        report = story.path / "report.html"
        called = element("a", name, href=linked(report, output)) if report.exists() else name
        size = number(story.summary.get("parameters"))
        rows.append(
            [
                Cell([swatch, called], name),
                *(Cell(write(story.score(key)), story.score(key)) for key, _, write in used),
                Cell(fmt.count(size), size),
                Cell(fmt.count(len(story.epochs)), len(story.epochs)),
                Cell(fmt.duration(story.seconds), story.seconds),
            ]
        )
    body = [table("Scores of each run", columns, rows, name="scores-table")]
    return Section("scores", "Scores", body, wide=True)


def _settings(comparison: Comparison) -> Section:
    differing = comparison.differing
    if not differing:
        return Section(
            "settings", "Settings", [element("p", "All settings are the same.", class_="sentence")]
        )
    columns = [
        Column("Setting", numeric=False),
        *(Column(name, numeric=False) for name in comparison.names),
    ]
    rows = [
        [
            Cell(key),
            *(
                Cell(
                    fmt.MISSING if value is None else fmt.clipped(fmt.setting(value), 60),
                    value,
                )
                for value in values
            ),
        ]
        for key, values in differing
    ]
    listed = table("Settings that differ", columns, rows, name="settings-table")
    return Section("settings", "What differs", [listed], ["All other settings are the same."])


def _curves(comparison: Comparison) -> Iterator[Chart]:
    longest = max(len(story.epochs) for story in comparison.stories)
    for key, title, form in (
        ("val/accuracy", "Validation accuracy", ".2%"),
        ("val/loss", "Validation loss", ".4f"),
        ("train/accuracy", "Training accuracy", ".2%"),
        ("train/loss", "Training loss", ".4f"),
    ):
        traces, keys = [], []
        for place, (name, story) in enumerate(
            zip(comparison.names, comparison.stories, strict=True)
        ):
            if not known(story.curve(key)):
                continue
            most = max(50, POINTS * 5 // len(comparison.stories))
            x, (y,) = thinned(story, [key], most)
            dash = {"dash": DASHES[place // 10 % len(DASHES)]}
            traces.append(
                line(
                    label(name, 30),
                    x,
                    y,
                    colour(f"class-{place % 10}"),
                    f"%{{y:{form}}}",
                    line=dash,
                )
            )
            keys.append((f"class-{place % 10}", fmt.clipped(name, 30)))
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
                keys=keys if len(keys) <= 6 else (),
            )


def _names(paths: Sequence[Path]) -> list[str]:
    """Name runs by the parts of their paths in which they differ."""
    parts = [path.absolute().parts for path in paths]
    shared = 0
    while (
        all(len(each) > shared + 1 for each in parts) and len({each[shared] for each in parts}) == 1
    ):
        shared += 1
    return [shorten(str(Path(*each[shared if shared > 1 else 0 :]))) for each in parts]
