"""The same stories as reports in W&B. No other file imports wandb_workspaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nn.errors import UserError
from nn.report import formatting as fmt
from nn.report.coerce import to_mapping
from nn.report.run_data import RunData
from nn.report.sweep_data import SweepData
from nn.runs.reader import read_config
from nn.tracking.agent import get_run_id

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import Report

MAX_TITLE_LENGTH = 128
FULL_WIDTH, HALF_WIDTH, THIRD_WIDTH = 24, 12, 8
"""Widths of panels in W&B's grid of 24 columns."""


@dataclass(frozen=True)
class ReportTarget:
    """The project that a report is about, and the sweep in it."""

    entity: str
    project: str
    sweep_id: str | None = None

    @classmethod
    def parse(cls, text: str) -> ReportTarget:
        """Read ENTITY/PROJECT or ENTITY/PROJECT/SWEEP_ID."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(re.fullmatch(r"[\w .-]+", part) for part in parts):
            raise UserError(f"--wandb {text}: write ENTITY/PROJECT or ENTITY/PROJECT/SWEEP_ID.")
        return cls(*parts)


def build_run_report(run: RunData, target: ReportTarget) -> Report:
    """Tell a run, which has been sent to W&B before."""
    from wandb_workspaces import expr
    from wandb_workspaces.reports.v2 import interface as wr

    chosen = [expr.Metric("ID") == get_run_id(run.environment)]
    runs = wr.Runset(entity=target.entity, project=target.project, name=run.title, filters=chosen)
    confusion = [
        wr.H2(text="Confusion"),
        *_paragraphs(run.confusion_text),
        wr.PanelGrid(runsets=[runs], panels=[_confusion_panel(run.split)]),
    ]
    return _make_report(
        target,
        f"Run: {run.title}",
        [
            *_summary_blocks(run.summary_text, run.notices, _score_items(run)),
            wr.H2(text="Learning"),
            *_paragraphs(run.learning_text),
            wr.PanelGrid(runsets=[runs], panels=_learning_panels()),
            *(confusion if run.confusion_matrix is not None else []),
            wr.H2(text="Predictions"),
            wr.PanelGrid(runsets=[runs], panels=list(_example_panels())),
            wr.H2(text="To run it again"),
            wr.CodeBlock(code=run.reproduce_command),
        ],
    )


def build_sweep_report(sweep: SweepData, target: ReportTarget) -> Report:
    """Tell a sweep, whose runs have been sent to W&B before."""
    from wandb_workspaces import expr
    from wandb_workspaces.reports.v2 import interface as wr

    metric, first = sweep.metric.name, sweep.metric.minimization_sign > 0
    belonging = ("Sweep", target.sweep_id) if target.sweep_id else ("Group", _wandb_group(sweep))
    runs = wr.Runset(
        entity=target.entity,
        project=target.project,
        name=sweep.title,
        filters=[expr.Metric(belonging[0]) == belonging[1]],
        order=[wr.OrderBy(name=wr.SummaryMetric(name=metric), ascending=first)],
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
        wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(name=metric), inverted=first)
    )
    panels: list[Any] = [
        wr.ParallelCoordinatesPlot(columns=columns, layout=_panel_layout(0, 0, FULL_WIDTH, 10)),
        wr.ParameterImportancePlot(
            with_respect_to=metric, layout=_panel_layout(0, 10, HALF_WIDTH, 8)
        ),
        wr.LinePlot(
            x="epoch", y=[metric], title=metric, layout=_panel_layout(HALF_WIDTH, 10, HALF_WIDTH, 8)
        ),
    ]
    best = sweep.best_trial and [
        wr.H2(text="The best again"),
        wr.P(text=f"Trial {sweep.best_trial.number}: {sweep.format_params(sweep.best_trial)}."),
        wr.CodeBlock(code=sweep.reproduce_command(sweep.best_trial)),
    ]
    return _make_report(
        target,
        f"Sweep: {sweep.title}",
        [
            *_summary_blocks(sweep.summary_text, sweep.notices, [("metric", sweep.metric_text)]),
            wr.H2(text="Parameter importance"),
            *_paragraphs(sweep.importance_text, sweep.importance.warning),
            wr.PanelGrid(runsets=[runs], panels=panels),
            wr.H2(text="Side by side"),
            wr.PanelGrid(
                runsets=[runs],
                panels=[
                    wr.RunComparer(diff_only="split", layout=_panel_layout(0, 0, FULL_WIDTH, 12))
                ],
            ),
            wr.H2(text="Learning"),
            wr.PanelGrid(runsets=[runs], panels=_learning_panels()),
            wr.H2(text="Confusion"),
            wr.PanelGrid(
                runsets=[runs], panels=[_confusion_panel("test"), *_example_panels(top=10)]
            ),
            *(best or []),
        ],
    )


def _make_report(target: ReportTarget, title: str, blocks: list[Any]) -> Report:
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.Report(
        project=target.project,
        entity=target.entity,
        title=fmt.truncate(title, MAX_TITLE_LENGTH),
        description="Made from run folders by scripts/report.py.",
        blocks=blocks,
        width="fluid",
    )


def _summary_blocks(
    summary: str, notices: list[str], items: list[tuple[str, str]]
) -> Iterator[Any]:
    """Say the findings first."""
    from wandb_workspaces.reports.v2 import interface as wr

    yield wr.P(text=summary)
    for notice in notices:
        yield wr.CalloutBlock(text=notice)
    yield wr.UnorderedList(items=[f"{name}: {value}" for name, value in items])


def _paragraphs(*texts: str) -> Iterator[Any]:
    from wandb_workspaces.reports.v2 import interface as wr

    yield from (wr.P(text=text) for text in texts if text)


def _score_items(run: RunData) -> list[tuple[str, str]]:
    part = run.split
    found = [
        (f"{part} accuracy", fmt.percent(run.score(f"{part}/accuracy"))),
        (f"{part} loss", fmt.number(run.score(f"{part}/loss"))),
        ("training time", fmt.duration(run.training_seconds)),
    ]
    return [(name, value) for name, value in found if value != fmt.MISSING]


def _learning_panels() -> list[Any]:
    from wandb_workspaces.reports.v2 import interface as wr

    wide = [(HALF_WIDTH * place, 0, HALF_WIDTH, 8) for place in range(2)]
    narrow = [(THIRD_WIDTH * place, 8, THIRD_WIDTH, 6) for place in range(3)]
    wanted = [
        ("Loss", ["train/loss", "val/loss"]),
        ("Accuracy", ["train/accuracy", "val/accuracy"]),
        ("Learning rate", ["lr"]),
        ("Norm of the gradient", ["norm/gradient"]),
        ("Norm of the weights", ["norm/weights"]),
    ]
    return [
        wr.LinePlot(title=title, x="epoch", y=list(keys), layout=_panel_layout(*place))
        for (title, keys), place in zip(wanted, (*wide, *narrow), strict=True)
    ]


def _confusion_panel(split: str) -> Any:
    """W&B's own chart of the confusion matrix, over the table that the mirror has sent."""
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"{split}/confusion_matrix_table"}},
        chart_name="wandb/confusion_matrix/v1",
        chart_fields={"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
        chart_strings={"title": "Confusion matrix"},
        layout=_panel_layout(0, 0, FULL_WIDTH, 10),
    )


def _example_panels(top: int = 0) -> Iterator[Any]:
    from wandb_workspaces.reports.v2 import interface as wr

    for place, (key, title) in enumerate((("wrong", "Most confidently wrong"), ("right", "Right"))):
        yield wr.MediaBrowser(
            title=title,
            num_columns=8,
            media_keys=[f"examples/{key}"],
            layout=_panel_layout(HALF_WIDTH * place, top, HALF_WIDTH, 10),
        )


def _panel_layout(x: int, y: int, width: int, height: int) -> Any:
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.Layout(x=x, y=y, w=width, h=height)


def _wandb_config_key(parameter: str) -> str:
    """Name a parameter as it stands in W&B's config: settings of an option are nested."""
    return f"settings.{parameter}" if "." in parameter else parameter


def _wandb_group(sweep: SweepData) -> str:
    """The group that the runs of an offline sweep are in."""
    folder = next((trial.folder for trial in sweep.ranked_trials or sweep.trials), None)
    if folder is None:
        raise UserError(f"{sweep.display_name}: there is no trial to tell of.")
    group = to_mapping(read_config(folder).get("tracking")).get("group")
    return str(group or sweep.title)
