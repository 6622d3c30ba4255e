"""The HTML report of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nn.report import formatting as fmt
from nn.report import parallel, sweep_curves, sweep_points, timeline
from nn.report.markup import element
from nn.report.page import Page, Section
from nn.report.paths import relative_url
from nn.report.run_page import build_footer, command_block
from nn.report.sweep_data import TRIAL_STATES, SweepData, TrialData
from nn.report.tables import Cell, Column, build_table, definition_list

TRIALS_PER_PAGE = 25
"""Rows per page of the table of trials."""


def build_sweep_page(sweep: SweepData, output: Path, trial_pages: Mapping[int, Path]) -> Page:
    """Build the page of a sweep, with links to the trial pages given by trial number."""
    return Page(
        kind="Sweep",
        subtitle=sweep.display_name,
        title=sweep.title,
        summary=sweep.summary_text,
        sections=list(_sections(sweep, output, trial_pages)),
        notices=sweep.notices,
        stats=_stats(sweep),
        footer=build_footer(sweep.path),
    )


def _stats(sweep: SweepData) -> list[tuple[str, str, object]]:
    stats: list[tuple[str, str, object]] = []
    if sweep.best_trial:
        stats.append(
            (
                f"Best {sweep.metric.name}",
                fmt.number(sweep.best_trial.value),
                sweep.best_trial.value,
            )
        )
        for split, accuracy in (
            ("Validation", sweep.best_trial.val_accuracy),
            ("Test", sweep.best_trial.test_accuracy),
        ):
            stats.append((f"{split} accuracy of best trial", fmt.percent(accuracy), accuracy))
    stats += [
        (f"{state.capitalize()} trials", fmt.count(count), count)
        for state, count in sweep.state_counts.items()
    ]
    stats.append(
        (
            "Running time",
            fmt.duration(sweep.running_time.total_seconds),
            sweep.running_time.total_seconds,
        )
    )
    stats.append(
        ("Total training time", fmt.duration(sweep.training_seconds), sweep.training_seconds)
    )
    return [stat for stat in stats if stat[1] != fmt.MISSING]


def _sections(sweep: SweepData, output: Path, trial_pages: Mapping[int, Path]) -> Iterator[Section]:
    metric = f"Metric: {sweep.metric_text}."
    parallel_coordinate = parallel.plot_parallel_coordinate(sweep)
    if parallel_coordinate:
        yield Section(
            "parallel",
            "Parallel coordinates",
            [parallel_coordinate.to_html()],
            [metric],
            is_wide=True,
        )
    importance = sweep_points.plot_param_importances(sweep)
    if importance:
        method = "Estimated by functional ANOVA on a random forest fitted to the finished trials."
        remarks = [sweep.importance_text, sweep.importance.warning, method]
        yield Section("importance", "Parameter importance", [importance.to_html()], remarks)
    elif sweep.trials:
        reason = "Not available: requires at least four finished trials with different values."
        sentence = element("p", reason, class_="sentence")
        yield Section("importance", "Parameter importance", [sentence])
    histories = sweep_points.plot_optimization_history(sweep)
    if histories:
        charts = element("div", [chart.to_html() for chart in histories], class_="columns")
        remark = "Each point is a trial; the line is the best value so far."
        yield Section("best", "Optimization history", [charts], [remark, metric])
    slices = sweep_points.plot_slices(sweep)
    if slices:
        charts = element("div", [chart.to_html() for chart in slices], class_="columns three")
        remark = f"{sweep.metric.name} against each parameter. A ring marks the best trial."
        pruned = "pruned" in sweep.state_counts and "Open circles are pruned trials."
        yield Section("parameters", "Slice plots", [charts], [remark, pruned])
    curves = sweep_curves.plot_intermediate_values(sweep)
    if curves:
        yield Section("curves", "Learning curves", [curves.to_html()], [metric])
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
        Column("Directory", is_numeric=False),
    ]
    ranks = {trial.number: rank for rank, trial in enumerate(sweep.ranked_trials, 1)}
    unranked = [trial for trial in sweep.trials if trial.number not in ranks]
    ordered = [*sweep.ranked_trials, *unranked]
    rows = [_row(sweep, trial, ranks.get(trial.number), output, trial_pages) for trial in ordered]
    table = build_table(
        "All trials",
        columns,
        rows,
        TRIALS_PER_PAGE,
        has_search=True,
        filter_options=[state for state in TRIAL_STATES if state in sweep.state_counts],
        row_ids=[trial.number for trial in ordered],
        element_id="trials-table",
    )
    remark = (
        "Click a column header to sort. Ranges selected in the parallel coordinate plot filter "
        "this table too."
    )
    return Section("trials", "Trials", [table], [remark], is_wide=True)


def _row(
    sweep: SweepData,
    trial: TrialData,
    rank: int | None,
    output: Path,
    trial_pages: Mapping[int, Path],
) -> list[Cell]:
    directory = trial.folder.relative_to(sweep.path)
    page = trial_pages.get(trial.number)
    link = element("a", directory, href=relative_url(page, output)) if page else directory
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
        Cell(link),
    ]


def _is_numeric(sweep: SweepData, name: str) -> bool:
    values = (trial.params.get(name) for trial in sweep.trials if trial.params)
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _time_section(sweep: SweepData) -> Section:
    chart = timeline.plot_timeline(sweep)
    rows = []
    for state in sweep.state_counts:
        seconds = sum(t.training_seconds or 0.0 for t in sweep.trials if t.status == state)
        share = f" ({seconds / sweep.training_seconds:.0%})" if sweep.training_seconds else ""
        rows.append((f"{state} trials", f"{fmt.duration(seconds)}{share}"))
    slowest = sorted(sweep.trials, key=lambda trial: -(trial.training_seconds or 0.0))[:3]
    rows += [
        (f"longest: trial {trial.number}", fmt.duration(trial.training_seconds))
        for trial in slowest
        if trial.training_seconds
    ]
    remarks = ["Each bar is a trial; trials in different rows ran in parallel.", sweep.pause_text]
    return Section(
        "time",
        "Timeline",
        [
            chart and chart.to_html(),
            rows and [element("h3", "Training time"), definition_list(rows, "Training time")],
        ],
        remarks if chart else [],
    )


def _settings_section(sweep: SweepData) -> Section:
    seed, overrides = sweep.settings.get("seed"), sweep.settings.get("overrides")
    rows: list[tuple[str, object]] = [
        ("method", sweep.config.method),
        ("metric", sweep.metric_text),
        ("seed", None if seed is None else fmt.setting(seed)),
        (
            "overrides",
            " ".join(map(str, overrides)) if isinstance(overrides, list) and overrides else None,
        ),
        *((name, fmt.setting(value)) for name, value in sweep.fixed_params.items()),
    ]
    reproduce = sweep.best_trial and sweep.reproduce_command(sweep.best_trial)
    return Section(
        "settings",
        "Settings",
        [
            reproduce
            and [element("h3", "Reproduce the best trial bit for bit"), command_block(reproduce)],
            element("h3", "Sweep settings"),
            definition_list([row for row in rows if row[1] is not None], "Sweep settings"),
            element("h3", "sweep.yaml"),
            element("pre", sweep.sweep_yaml),
        ],
    )
