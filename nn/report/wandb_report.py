"""W&B reports of runs and sweeps. No other module imports wandb_workspaces, which takes seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress

from wandb_workspaces import expr
from wandb_workspaces.reports.v2 import interface as wr

from nn.errors import SaveError, UserError
from nn.io.coerce import to_mapping
from nn.io.files import atomic_write
from nn.io.paths import relpath
from nn.report import formatting as fmt
from nn.report.charts.parallel import point_noun
from nn.report.charts.sweep import format_params
from nn.report.data.run import RunReader
from nn.report.data.sweep import SweepReader
from nn.report.pages.run import SPLITS, summarize_confusion, summarize_run
from nn.report.pages.sweep import (
    format_metric,
    list_notices,
    rank_params,
    summarize_importance,
    summarize_sweep,
)
from nn.runs.reader import read_config, read_json
from nn.tracking.wandb_ids import WandbIds
from nn.tracking.wandb_run import format_reason

REPORT_IDS_FILE = "wandb-report.json"
"""In the run or sweep directory: W&B report id by `ENTITY/PROJECT`."""
MAX_TITLE_LENGTH = 128
"""W&B's limit for the title of a report."""
FULL_WIDTH, HALF_WIDTH, THIRD_WIDTH = 24, 12, 8
"""Panel widths in columns of W&B's grid, which has 24."""


def prepare_report(
    reader: RunReader | SweepReader, entity: str, project: str, sweep_id: str | None
) -> Callable[[], str]:
    """Build the report of a run or sweep.

    Returns:
        A function that uploads it, in place of one that was uploaded before, and returns its URL.
    """
    if isinstance(reader, SweepReader):
        report = build_sweep_report(reader, entity, project, sweep_id)
    else:
        report = build_run_report(reader, entity, project)
    key, report_ids = f"{entity}/{project}", read_json(reader.path, REPORT_IDS_FILE)

    def send() -> str:
        report_id = report_ids.get(key)
        try:
            if isinstance(report_id, str):
                report.id = report_id
                with suppress(Exception):  # it may have been deleted in W&B
                    return str(report.save().url)
                report.id = ""
            report.save()
        except Exception as error:
            reason = format_reason(error)
            raise SaveError(f"--wandb={key}: W&B rejected the report: {reason}") from None
        try:
            atomic_write(
                reader.path / REPORT_IDS_FILE, json.dumps(report_ids | {key: report.id}).encode()
            )
        except OSError as error:
            raise SaveError(
                f"{relpath(reader.path / REPORT_IDS_FILE)} cannot be written: {error.strerror}; "
                f"the next upload will create a new report in place of updating {report.url}."
            ) from None
        return str(report.url)

    return send


def build_run_report(run: RunReader, entity: str, project: str) -> wr.Report:
    """Build the report of a run that is already in this W&B project."""
    record = run.record()
    split, scores = record["split"], record["scores"]
    filters = [expr.Metric("ID") == WandbIds.from_environment(run.environment).run_id]
    runs = wr.Runset(entity=entity, project=project, name=record["title"], filters=filters)
    key_figures = {
        f"{SPLITS[split]} accuracy": fmt.percent(scores.get(f"{split}/accuracy")),
        f"{SPLITS[split]} loss": fmt.number(scores.get(f"{split}/loss")),
        "training time": fmt.duration(record["training_seconds"]),
    }
    blocks: list[wr.BlockTypes] = [wr.P(text=summarize_run(record))]
    if record["status"] != "finished":
        blocks.append(wr.CalloutBlock(text=f"The status of this run is {record['status']}."))
    blocks += [
        wr.UnorderedList(
            items=[f"{name}: {text}" for name, text in key_figures.items() if text != fmt.MISSING]
        ),
        wr.H2(text="Learning curves"),
        wr.PanelGrid(runsets=[runs], panels=_learning_panels()),
    ]
    if record["confusion_matrix"] is not None:
        blocks += [
            wr.H2(text="Confusion matrix"),
            wr.P(text=summarize_confusion(record)),
            wr.PanelGrid(runsets=[runs], panels=[_confusion_panel(split)]),
        ]
    blocks += [
        wr.H2(text="Predictions"),
        wr.PanelGrid(runsets=[runs], panels=list(_example_panels())),
        *_command_blocks("Reproduce this run", record["reproduce_command"]),
    ]
    return _make_report(entity, project, f"Run: {record['title']}", blocks)


def build_sweep_report(
    sweep: SweepReader, entity: str, project: str, sweep_id: str | None
) -> wr.Report:
    """Build the report of a sweep, whose runs in this W&B project have its group or sweep id."""
    record, points, details = sweep.record(), sweep.point_records(), sweep.details()
    metric, is_minimized = record["metric"], record["goal"] == "minimize"
    objective = wr.SummaryMetric(name=metric)
    column, value = ("Sweep", sweep_id) if sweep_id else ("Group", _find_wandb_group(sweep))
    runs = wr.Runset(
        entity=entity,
        project=project,
        name=record["title"],
        filters=[expr.Metric(column) == value],
        order=[wr.OrderBy(name=objective, ascending=is_minimized)],
    )
    names, half = rank_params(record, details), HALF_WIDTH
    log_scaled = {each["name"] for each in record["parameters"] if each["is_log"]}
    new_axis = wr.ParallelCoordinatesPlotColumn
    axes = [
        new_axis(metric=_wandb_config(name), display_name=name, log=name in log_scaled)
        for name in names
    ]
    axes.append(new_axis(metric=objective, inverted=is_minimized))
    panels: list[wr.PanelTypes] = [
        wr.ParallelCoordinatesPlot(columns=axes, layout=_layout(0, 0, FULL_WIDTH, 10)),
        wr.ParameterImportancePlot(with_respect_to=metric, layout=_layout(0, 10, half, 8)),
        wr.LinePlot(x="epoch", y=[metric], title=metric, layout=_layout(half, 10, half, 8)),
    ]
    comparer = wr.RunComparer(diff_only="split", layout=_layout(0, 0, FULL_WIDTH, 12))
    examples = [_confusion_panel("test"), *_example_panels(top=10)]
    blocks: list[wr.BlockTypes] = [
        wr.P(text=summarize_sweep(record, points, details)),
        *(wr.CalloutBlock(text=notice) for notice in list_notices(record)),
        wr.UnorderedList(items=[f"metric: {format_metric(record)}"]),
        wr.H2(text="Parameter importance"),
        wr.P(text=summarize_importance(details) or "Too few trials have finished."),
        wr.PanelGrid(runsets=[runs], panels=panels),
        wr.H2(text="Run comparer"),
        wr.PanelGrid(runsets=[runs], panels=[comparer]),
        wr.H2(text="Learning curves"),
        wr.PanelGrid(runsets=[runs], panels=_learning_panels()),
        wr.H2(text="Confusion matrix and examples"),
        wr.PanelGrid(runsets=[runs], panels=examples),
    ]
    for best in (point for point in points if point["rank"] == 1):
        blocks += [
            wr.H2(text=f"Best {point_noun(points)}"),
            wr.P(text=f"Number {best['number']}: {format_params(best, names)}."),
            *_command_blocks(
                f"Reproduce the best {point_noun(points)}", "\n".join(details["reproduce_commands"])
            ),
        ]
    return _make_report(entity, project, f"Sweep: {record['title']}", blocks)


def _make_report(entity: str, project: str, title: str, blocks: list[wr.BlockTypes]) -> wr.Report:
    return wr.Report(
        project=project,
        entity=entity,
        title=fmt.truncate(title, MAX_TITLE_LENGTH),
        description="Generated from run directories by scripts/report.py.",
        blocks=blocks,
        width="fluid",
    )


def _command_blocks(heading: str, command: str | None) -> list[wr.BlockTypes]:
    return [wr.H2(text=heading), wr.CodeBlock(code=command)] if command else []


def _learning_panels() -> list[wr.PanelTypes]:
    half, third = HALF_WIDTH, THIRD_WIDTH
    return [
        wr.LinePlot(title=title, x="epoch", y=list(keys), layout=_layout(*layout))
        for title, keys, layout in (
            ("Loss", ["train/loss", "val/loss"], (0, 0, half, 8)),
            ("Accuracy", ["train/accuracy", "val/accuracy"], (half, 0, half, 8)),
            ("Learning rate", ["lr"], (0, 8, third, 6)),
            ("Gradient norm", ["norm/gradient"], (third, 8, third, 6)),
            ("Weight norm", ["norm/weights"], (2 * third, 8, third, 6)),
        )
    ]


def _confusion_panel(split: str) -> wr.PanelTypes:
    """Build W&B's confusion matrix chart over the table that the W&B logger has uploaded."""
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"{split}/confusion_matrix_table"}},
        chart_name="wandb/confusion_matrix/v1",
        chart_fields={"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
        chart_strings={"title": "Confusion matrix"},
        layout=_layout(0, 0, FULL_WIDTH, 10),
    )


def _example_panels(top: int = 0) -> Iterator[wr.PanelTypes]:
    for x, key, title in (
        (0, "examples/wrong", "Most confident errors"),
        (HALF_WIDTH, "examples/right", "Correct"),
    ):
        layout = _layout(x, top, HALF_WIDTH, 10)
        yield wr.MediaBrowser(title=title, num_columns=8, media_keys=[key], layout=layout)


def _layout(x: int, y: int, width: int, height: int) -> wr.Layout:
    return wr.Layout(x=x, y=y, w=width, h=height)


def _wandb_config(parameter: str) -> wr.Config:
    """Return a parameter in W&B's config, where settings of options are nested."""
    return wr.Config(name=f"settings.{parameter}" if "." in parameter else parameter)


def _find_wandb_group(sweep: SweepReader) -> str:
    """Return the W&B group of the runs of an offline sweep."""
    trials = sorted(sweep.trial_records(), key=lambda trial: trial["rank"] is None)
    if not trials:
        raise UserError(f"{sweep.record()['path']}: the sweep has no trials to report.")
    config = read_config(sweep.path / trials[0]["directory"])
    return str(to_mapping(config.get("tracking")).get("group") or sweep.record()["title"])
