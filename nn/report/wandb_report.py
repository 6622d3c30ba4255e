"""W&B reports of runs and sweeps. No other module imports wandb_workspaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nn.errors import UserError
from nn.report import formatting as fmt
from nn.report.coerce import to_mapping
from nn.report.run_data import SPLITS, RunData
from nn.report.sweep_data import SweepData
from nn.runs.reader import read_config
from nn.tracking.wandb_ids import WandbIds

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import BlockTypes, Layout, PanelTypes, Report

MAX_TITLE_LENGTH = 128
"""W&B's limit for the title of a report."""
FULL_WIDTH, HALF_WIDTH, THIRD_WIDTH = 24, 12, 8
"""Panel widths in columns of W&B's grid, which has 24."""


@dataclass(frozen=True)
class ReportTarget:
    """The W&B project that holds the runs of a report, and their sweep if any."""

    entity: str
    project: str
    sweep_id: str | None = None

    @classmethod
    def parse(cls, text: str) -> ReportTarget:
        """Parse `ENTITY/PROJECT` or `ENTITY/PROJECT/SWEEP_ID`."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(re.fullmatch(r"[\w .-]+", part) for part in parts):
            raise UserError(f"--wandb {text}: write ENTITY/PROJECT or ENTITY/PROJECT/SWEEP_ID.")
        return cls(*parts)


def build_run_report(run: RunData, target: ReportTarget) -> Report:
    """Build the report of a run that is already in W&B."""
    from wandb_workspaces import expr
    from wandb_workspaces.reports.v2 import interface as wr

    filters = [expr.Metric("ID") == WandbIds.from_environment(run.environment).run_id]
    runs = wr.Runset(entity=target.entity, project=target.project, name=run.title, filters=filters)
    confusion = [
        wr.H2(text="Confusion matrix"),
        *_paragraphs(run.confusion_text),
        wr.PanelGrid(runsets=[runs], panels=[_confusion_panel(run.split)]),
    ]
    return _make_report(
        target,
        f"Run: {run.title}",
        [
            *_summary_blocks(run.summary_text, run.notices, _score_items(run)),
            wr.H2(text="Learning curves"),
            *_paragraphs(run.learning_text),
            wr.PanelGrid(runsets=[runs], panels=_learning_panels()),
            *(confusion if run.confusion_matrix is not None else []),
            wr.H2(text="Predictions"),
            wr.PanelGrid(runsets=[runs], panels=list(_example_panels())),
            *_reproduce_blocks("Reproduce this run", run.reproduce_command),
        ],
    )


def build_sweep_report(sweep: SweepData, target: ReportTarget) -> Report:
    """Build the report of a sweep whose runs are already in W&B."""
    from wandb_workspaces import expr
    from wandb_workspaces.reports.v2 import interface as wr

    metric, is_minimized = sweep.metric.name, sweep.metric.minimization_sign > 0
    column, value = (
        ("Sweep", target.sweep_id) if target.sweep_id else ("Group", _wandb_group(sweep))
    )
    runs = wr.Runset(
        entity=target.entity,
        project=target.project,
        name=sweep.title,
        filters=[expr.Metric(column) == value],
        order=[wr.OrderBy(name=wr.SummaryMetric(name=metric), ascending=is_minimized)],
    )
    columns = [
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.Config(name=_wandb_config_key(name)),
            display_name=name,
            log=sweep.has_log_scale(name),
        )
        for name in sweep.varied_params
    ]
    columns.append(
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.SummaryMetric(name=metric), inverted=is_minimized
        )
    )
    panels: list[PanelTypes] = [
        wr.ParallelCoordinatesPlot(columns=columns, layout=_panel_layout(0, 0, FULL_WIDTH, 10)),
        wr.ParameterImportancePlot(
            with_respect_to=metric, layout=_panel_layout(0, 10, HALF_WIDTH, 8)
        ),
        wr.LinePlot(
            x="epoch", y=[metric], title=metric, layout=_panel_layout(HALF_WIDTH, 10, HALF_WIDTH, 8)
        ),
    ]
    best_blocks: list[BlockTypes] = []
    if best := sweep.best_trial:
        best_blocks = [
            wr.H2(text="Best trial"),
            wr.P(text=f"Trial {best.number}: {sweep.format_params(best)}."),
            *_reproduce_blocks("Reproduce the best trial", sweep.reproduce_command(best)),
        ]
    return _make_report(
        target,
        f"Sweep: {sweep.title}",
        [
            *_summary_blocks(sweep.summary_text, sweep.notices, [("metric", sweep.metric_text)]),
            wr.H2(text="Parameter importance"),
            *_paragraphs(sweep.importance_text, sweep.importance.warning),
            wr.PanelGrid(runsets=[runs], panels=panels),
            wr.H2(text="Run comparer"),
            wr.PanelGrid(
                runsets=[runs],
                panels=[
                    wr.RunComparer(diff_only="split", layout=_panel_layout(0, 0, FULL_WIDTH, 12))
                ],
            ),
            wr.H2(text="Learning curves"),
            wr.PanelGrid(runsets=[runs], panels=_learning_panels()),
            wr.H2(text="Confusion matrix and examples"),
            wr.PanelGrid(
                runsets=[runs], panels=[_confusion_panel("test"), *_example_panels(top=10)]
            ),
            *best_blocks,
        ],
    )


def _make_report(target: ReportTarget, title: str, blocks: list[BlockTypes]) -> Report:
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.Report(
        project=target.project,
        entity=target.entity,
        title=fmt.truncate(title, MAX_TITLE_LENGTH),
        description="Generated from run directories by scripts/report.py.",
        blocks=blocks,
        width="fluid",
    )


def _summary_blocks(
    summary: str, notices: list[str], items: list[tuple[str, str]]
) -> Iterator[BlockTypes]:
    """Yield the summary, the notices as callouts and the key figures as a list."""
    from wandb_workspaces.reports.v2 import interface as wr

    yield wr.P(text=summary)
    for notice in notices:
        yield wr.CalloutBlock(text=notice)
    yield wr.UnorderedList(items=[f"{name}: {value}" for name, value in items])


def _paragraphs(*texts: str) -> Iterator[BlockTypes]:
    from wandb_workspaces.reports.v2 import interface as wr

    yield from (wr.P(text=text) for text in texts if text)


def _reproduce_blocks(heading: str, command: str | None) -> Iterator[BlockTypes]:
    from wandb_workspaces.reports.v2 import interface as wr

    if command:
        yield from (wr.H2(text=heading), wr.CodeBlock(code=command))


def _score_items(run: RunData) -> list[tuple[str, str]]:
    split, split_name = run.split, SPLITS[run.split]
    items = [
        (f"{split_name} accuracy", fmt.percent(run.score(f"{split}/accuracy"))),
        (f"{split_name} loss", fmt.number(run.score(f"{split}/loss"))),
        ("training time", fmt.duration(run.training_seconds)),
    ]
    return [(name, value) for name, value in items if value != fmt.MISSING]


def _learning_panels() -> list[PanelTypes]:
    from wandb_workspaces.reports.v2 import interface as wr

    wide = [(HALF_WIDTH * column, 0, HALF_WIDTH, 8) for column in range(2)]
    narrow = [(THIRD_WIDTH * column, 8, THIRD_WIDTH, 6) for column in range(3)]
    plots = [
        ("Loss", ["train/loss", "val/loss"]),
        ("Accuracy", ["train/accuracy", "val/accuracy"]),
        ("Learning rate", ["lr"]),
        ("Gradient norm", ["norm/gradient"]),
        ("Weight norm", ["norm/weights"]),
    ]
    return [
        wr.LinePlot(title=title, x="epoch", y=list(keys), layout=_panel_layout(*layout))
        for (title, keys), layout in zip(plots, (*wide, *narrow), strict=True)
    ]


def _confusion_panel(split: str) -> PanelTypes:
    """Build W&B's confusion matrix chart over the table that the W&B logger has uploaded."""
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"{split}/confusion_matrix_table"}},
        chart_name="wandb/confusion_matrix/v1",
        chart_fields={"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
        chart_strings={"title": "Confusion matrix"},
        layout=_panel_layout(0, 0, FULL_WIDTH, 10),
    )


def _example_panels(top: int = 0) -> Iterator[PanelTypes]:
    from wandb_workspaces.reports.v2 import interface as wr

    for column, (key, title) in enumerate(
        (("wrong", "Most confident errors"), ("right", "Correct"))
    ):
        yield wr.MediaBrowser(
            title=title,
            num_columns=8,
            media_keys=[f"examples/{key}"],
            layout=_panel_layout(HALF_WIDTH * column, top, HALF_WIDTH, 10),
        )


def _panel_layout(x: int, y: int, width: int, height: int) -> Layout:
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.Layout(x=x, y=y, w=width, h=height)


def _wandb_config_key(parameter: str) -> str:
    """Return a parameter's key in W&B's config, where settings of options are nested."""
    return f"settings.{parameter}" if "." in parameter else parameter


def _wandb_group(sweep: SweepData) -> str:
    """Return the W&B group of the runs of an offline sweep."""
    folder = next((trial.folder for trial in sweep.ranked_trials or sweep.trials), None)
    if folder is None:
        raise UserError(f"{sweep.display_name}: the sweep has no trials to report.")
    group = to_mapping(read_config(folder).get("tracking")).get("group")
    return str(group or sweep.title)
