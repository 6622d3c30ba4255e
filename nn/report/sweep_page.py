"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nn.report import formatting as fmt
from nn.report import parallel, sweep_curves, sweep_points, timeline
from nn.report.links import linked
from nn.report.markup import element
from nn.report.page import Page, Section
from nn.report.run_page import command, footer
from nn.report.sweep_data import STATES, SweepStory, Trial
from nn.report.tables import Cell, Column, pairs, table

ROWS = 25
"""Trials that are listed at a time."""


def page(story: SweepStory, output: Path, pages: Mapping[int, Path]) -> Page:
    """Tell a sweep; some of its trials have pages."""
    return Page(
        "Sweep",
        story.name,
        story.title,
        story.lead,
        list(_sections(story, output, pages)),
        story.notices,
        _figures(story),
        None,
        footer(story.path),
    )


def _figures(story: SweepStory) -> list[tuple[str, str, object]]:
    figures: list[tuple[str, str, object]] = []
    if story.best:
        figures.append(
            (f"Best {story.metric.name}", fmt.figure(story.best.value), story.best.value)
        )
        for part, accuracy in (
            ("validation", story.best.val_accuracy),
            ("test", story.best.accuracy),
        ):
            figures.append((f"Its {part} accuracy", fmt.percent(accuracy), accuracy))
    figures += [
        (f"Trials {state}", fmt.count(times), times) for state, times in story.states.items()
    ]
    figures.append(("Running time", fmt.duration(story.time.total), story.time.total))
    figures.append(("Training in all", fmt.duration(story.seconds), story.seconds))
    return [each for each in figures if each[1] != fmt.MISSING]


def _sections(story: SweepStory, output: Path, pages: Mapping[int, Path]) -> Iterator[Section]:
    lines = parallel.chart(story)
    if lines:
        yield Section(
            "parallel",
            "Parameters and metric",
            [lines.markup()],
            [f"By {story.shown_metric}."],
            wide=True,
        )
    importance = sweep_points.importance(story)
    if importance:
        basis = "Estimated by functional ANOVA of a random forest that is fitted to these trials."
        remarks = [story.finding, story.importance.caution, basis]
        yield Section("importance", "Parameter importance", [importance.markup()], remarks)
    elif story.trials:
        few = "It is estimated from four finished trials on whose values differ."
        shown = element("p", few, class_="sentence")
        yield Section("importance", "Parameter importance", [shown])
    best = sweep_points.best_so_far(story)
    if best:
        shown = element("div", [chart.markup() for chart in best], class_="columns")
        yield Section(
            "best",
            "Best so far",
            [shown],
            [f"Points are trials; the line is the best until then. {story.shown_metric}."],
        )
    single = sweep_points.by_parameter(story)
    if single:
        shown = element("div", [chart.markup() for chart in single], class_="columns three")
        remark = f"The {story.metric.name} of each trial by one parameter at a time."
        pruned = "pruned" in story.states and "Open circles were pruned: ended early."
        yield Section(
            "parameters", "One by one", [shown], [remark, pruned, "A ring marks the best."]
        )
    curves = sweep_curves.chart(story)
    if curves:
        yield Section("curves", "Learning curves", [curves.markup()], [f"{story.shown_metric}."])
    if story.trials:
        yield _trials(story, output, pages)
    yield _time(story)
    yield _settings(story)


def _trials(story: SweepStory, output: Path, pages: Mapping[int, Path]) -> Section:
    columns = [
        Column("Rank"),
        Column("Trial"),
        Column("State", numeric=False),
        Column(story.metric.name),
        *(Column(name, numeric=_numeric(story, name)) for name in story.varied),
        Column("Validation accuracy"),
        Column("Test accuracy"),
        Column("Epochs"),
        Column("Seconds"),
        Column("Folder", numeric=False),
    ]
    ranks = {trial.number: rank for rank, trial in enumerate(story.ranked, 1)}
    unranked = [trial for trial in story.trials if trial.number not in ranks]
    ordered = [*story.ranked, *unranked]
    rows = [_row(story, trial, ranks.get(trial.number), output, pages) for trial in ordered]
    listed = table(
        "All trials",
        columns,
        rows,
        ROWS,
        sought=True,
        choices=[state for state in STATES if state in story.states],
        row_ids=[trial.number for trial in ordered],
        name="trials-table",
    )
    remark = "A click on a title sorts. Ranges chosen above, among the lines, choose here as well."
    return Section("trials", "Trials", [listed], [remark], wide=True)


def _row(
    story: SweepStory, trial: Trial, rank: int | None, output: Path, pages: Mapping[int, Path]
) -> list[Cell]:
    place = trial.folder.relative_to(story.path)
    page_of = pages.get(trial.number)
    folder = element("a", place, href=linked(page_of, output)) if page_of else place
    values = [trial.point.get(name) for name in story.varied]
    return [
        Cell(fmt.MISSING if rank is None else rank, rank),
        Cell(trial.number, trial.number),
        Cell(trial.status),
        Cell(fmt.figure(trial.value), trial.value),
        *(Cell(fmt.MISSING if value is None else fmt.brief(value), value) for value in values),
        Cell(fmt.percent(trial.val_accuracy), trial.val_accuracy),
        Cell(fmt.percent(trial.accuracy), trial.accuracy),
        Cell(fmt.count(len(trial.epochs)), len(trial.epochs)),
        Cell(fmt.MISSING if trial.seconds is None else f"{trial.seconds:.2f}", trial.seconds),
        Cell(folder),
    ]


def _numeric(story: SweepStory, name: str) -> bool:
    values = (trial.point.get(name) for trial in story.trials if trial.point)
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _time(story: SweepStory) -> Section:
    ran = timeline.chart(story)
    by_state = []
    for state in story.states:
        spent = [trial.seconds or 0.0 for trial in story.trials if trial.status == state]
        share = f" ({sum(spent) / story.seconds:.0%})" if story.seconds else ""
        by_state.append((f"training of {state} trials", f"{fmt.duration(sum(spent))}{share}"))
    slow = sorted(story.trials, key=lambda trial: -(trial.seconds or 0.0))[:3]
    by_state += [
        (f"longest: trial {trial.number}", fmt.duration(trial.seconds))
        for trial in slow
        if trial.seconds
    ]
    return Section(
        "time",
        "Where time went",
        [ran and ran.markup(), pairs(by_state, "Seconds by state")],
        ["Each bar is a trial; those one above the other ran side by side.", story.paused]
        if ran
        else [],
    )


def _settings(story: SweepStory) -> Section:
    seed, fixed = story.settings.get("seed"), story.settings.get("overrides")
    rows: list[tuple[str, object]] = [
        ("method", story.sweep.method),
        ("metric", story.shown_metric),
        ("seed", None if seed is None else fmt.setting(seed)),
        (
            "for all trials",
            " ".join(map(str, fixed)) if isinstance(fixed, list) and fixed else None,
        ),
        *((name, fmt.setting(value)) for name, value in story.fixed.items()),
    ]
    again = story.best and [
        element("h3", "To run the best again, to the same bits"),
        command(story.repeat(story.best)),
    ]
    return Section(
        "settings",
        "Settings",
        [
            again,
            element("h3", "The search"),
            pairs([row for row in rows if row[1] is not None], "The search"),
            element("h3", "sweep.yaml"),
            element("pre", story.text),
        ],
    )
