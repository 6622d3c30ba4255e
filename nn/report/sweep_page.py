"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nn.report import formatting as fmt
from nn.report import parallel, sweep_curves, sweep_points, timeline
from nn.report.links import relative_url
from nn.report.markup import element
from nn.report.page import Page, Section
from nn.report.run_page import build_footer, command_block
from nn.report.sweep_data import TRIAL_STATES, SweepData, TrialData
from nn.report.tables import Cell, Column, build_table, definition_list

TRIALS_PER_PAGE = 25
"""Trials that are listed at a time."""


def build_sweep_page(sweep: SweepData, output: Path, trial_pages: Mapping[int, Path]) -> Page:
    """Tell a sweep; some of its trials have pages."""
    return Page(
        "Sweep",
        sweep.display_name,
        sweep.title,
        sweep.summary_text,
        list(_sections(sweep, output, trial_pages)),
        sweep.notices,
        _stats(sweep),
        None,
        build_footer(sweep.path),
    )


def _stats(sweep: SweepData) -> list[tuple[str, str, object]]:
    figures: list[tuple[str, str, object]] = []
    if sweep.best_trial:
        figures.append(
            (
                f"Best {sweep.metric.name}",
                fmt.number(sweep.best_trial.value),
                sweep.best_trial.value,
            )
        )
        for part, accuracy in (
            ("validation", sweep.best_trial.val_accuracy),
            ("test", sweep.best_trial.test_accuracy),
        ):
            figures.append((f"Its {part} accuracy", fmt.percent(accuracy), accuracy))
    figures += [
        (f"Trials {state}", fmt.count(times), times) for state, times in sweep.state_counts.items()
    ]
    figures.append(
        (
            "Running time",
            fmt.duration(sweep.running_time.total_seconds),
            sweep.running_time.total_seconds,
        )
    )
    figures.append(
        ("Training in all", fmt.duration(sweep.training_seconds), sweep.training_seconds)
    )
    return [each for each in figures if each[1] != fmt.MISSING]


def _sections(sweep: SweepData, output: Path, trial_pages: Mapping[int, Path]) -> Iterator[Section]:
    lines = parallel.plot_parallel_coordinate(sweep)
    if lines:
        yield Section(
            "parallel",
            "Parameters and metric",
            [lines.to_html()],
            [f"By {sweep.metric_text}."],
            is_wide=True,
        )
    importance = sweep_points.plot_param_importances(sweep)
    if importance:
        basis = "Estimated by functional ANOVA of a random forest that is fitted to these trials."
        remarks = [sweep.importance_text, sweep.importance.warning, basis]
        yield Section("importance", "Parameter importance", [importance.to_html()], remarks)
    elif sweep.trials:
        few = "It is estimated from four finished trials on whose values differ."
        shown = element("p", few, class_="sentence")
        yield Section("importance", "Parameter importance", [shown])
    best = sweep_points.plot_optimization_history(sweep)
    if best:
        shown = element("div", [chart.to_html() for chart in best], class_="columns")
        yield Section(
            "best",
            "Best so far",
            [shown],
            [f"Points are trials; the line is the best until then. {sweep.metric_text}."],
        )
    single = sweep_points.plot_slices(sweep)
    if single:
        shown = element("div", [chart.to_html() for chart in single], class_="columns three")
        remark = f"The {sweep.metric.name} of each trial by one parameter at a time."
        pruned = "pruned" in sweep.state_counts and "Open circles were pruned: ended early."
        yield Section(
            "parameters", "One by one", [shown], [remark, pruned, "A ring marks the best."]
        )
    curves = sweep_curves.plot_intermediate_values(sweep)
    if curves:
        yield Section("curves", "Learning curves", [curves.to_html()], [f"{sweep.metric_text}."])
    if sweep.trials:
        yield _trials_section(sweep, output, trial_pages)
    yield _time_section(sweep)
    yield _settings_section(sweep)


def _trials_section(sweep: SweepData, output: Path, trial_pages: Mapping[int, Path]) -> Section:
    columns = [
        Column("Rank"),
        Column("Trial"),
        Column("State", is_numeric=False),
        Column(sweep.metric.name),
        *(Column(name, is_numeric=_is_numeric(sweep, name)) for name in sweep.varied_params),
        Column("Validation accuracy"),
        Column("Test accuracy"),
        Column("Epochs"),
        Column("Seconds"),
        Column("Folder", is_numeric=False),
    ]
    ranks = {trial.number: rank for rank, trial in enumerate(sweep.ranked_trials, 1)}
    unranked = [trial for trial in sweep.trials if trial.number not in ranks]
    ordered = [*sweep.ranked_trials, *unranked]
    rows = [_row(sweep, trial, ranks.get(trial.number), output, trial_pages) for trial in ordered]
    listed = build_table(
        "All trials",
        columns,
        rows,
        TRIALS_PER_PAGE,
        has_search=True,
        filter_options=[state for state in TRIAL_STATES if state in sweep.state_counts],
        row_ids=[trial.number for trial in ordered],
        element_id="trials-table",
    )
    remark = "A click on a title sorts. Ranges chosen above, among the lines, choose here as well."
    return Section("trials", "Trials", [listed], [remark], is_wide=True)


def _row(
    sweep: SweepData,
    trial: TrialData,
    rank: int | None,
    output: Path,
    trial_pages: Mapping[int, Path],
) -> list[Cell]:
    place = trial.folder.relative_to(sweep.path)
    page_of = trial_pages.get(trial.number)
    folder = element("a", place, href=relative_url(page_of, output)) if page_of else place
    values = [trial.params.get(name) for name in sweep.varied_params]
    return [
        Cell(fmt.MISSING if rank is None else rank, rank),
        Cell(trial.number, trial.number),
        Cell(trial.status),
        Cell(fmt.number(trial.value), trial.value),
        *(
            Cell(fmt.MISSING if value is None else fmt.short_setting(value), value)
            for value in values
        ),
        Cell(fmt.percent(trial.val_accuracy), trial.val_accuracy),
        Cell(fmt.percent(trial.test_accuracy), trial.test_accuracy),
        Cell(fmt.count(len(trial.epochs)), len(trial.epochs)),
        Cell(
            fmt.MISSING if trial.training_seconds is None else f"{trial.training_seconds:.2f}",
            trial.training_seconds,
        ),
        Cell(folder),
    ]


def _is_numeric(sweep: SweepData, name: str) -> bool:
    values = (trial.params.get(name) for trial in sweep.trials if trial.params)
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _time_section(sweep: SweepData) -> Section:
    ran = timeline.plot_timeline(sweep)
    by_state = []
    for state in sweep.state_counts:
        spent = [trial.training_seconds or 0.0 for trial in sweep.trials if trial.status == state]
        share = f" ({sum(spent) / sweep.training_seconds:.0%})" if sweep.training_seconds else ""
        by_state.append((f"training of {state} trials", f"{fmt.duration(sum(spent))}{share}"))
    slow = sorted(sweep.trials, key=lambda trial: -(trial.training_seconds or 0.0))[:3]
    by_state += [
        (f"longest: trial {trial.number}", fmt.duration(trial.training_seconds))
        for trial in slow
        if trial.training_seconds
    ]
    return Section(
        "time",
        "Where time went",
        [ran and ran.to_html(), definition_list(by_state, "Seconds by state")],
        ["Each bar is a trial; those one above the other ran side by side.", sweep.pause_text]
        if ran
        else [],
    )


def _settings_section(sweep: SweepData) -> Section:
    seed, fixed = sweep.settings.get("seed"), sweep.settings.get("overrides")
    rows: list[tuple[str, object]] = [
        ("method", sweep.config.method),
        ("metric", sweep.metric_text),
        ("seed", None if seed is None else fmt.setting(seed)),
        (
            "for all trials",
            " ".join(map(str, fixed)) if isinstance(fixed, list) and fixed else None,
        ),
        *((name, fmt.setting(value)) for name, value in sweep.fixed_params.items()),
    ]
    again = sweep.best_trial and [
        element("h3", "To run the best again, to the same bits"),
        command_block(sweep.reproduce_command(sweep.best_trial)),
    ]
    return Section(
        "settings",
        "Settings",
        [
            again,
            element("h3", "The search"),
            definition_list([row for row in rows if row[1] is not None], "The search"),
            element("h3", "sweep.yaml"),
            element("pre", sweep.sweep_yaml),
        ],
    )
