"""The same stories as reports in W&B. No other file imports wandb_workspaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nn.errors import Mistake
from nn.report import formatting as fmt
from nn.report.coerce import mapping
from nn.report.run_data import RunStory
from nn.report.sweep_data import SweepStory
from nn.runs.reader import read_config
from nn.tracking.agent import run_id

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import Report

LONGEST_TITLE = 128
WHOLE, HALF, THIRD = 24, 12, 8
"""Widths of panels in W&B's grid of 24 columns."""


@dataclass(frozen=True)
class Place:
    """The project that a report is about, and the sweep in it."""

    entity: str
    project: str
    sweep: str | None = None

    @classmethod
    def named(cls, text: str) -> Place:
        """Read ENTITY/PROJECT or ENTITY/PROJECT/SWEEP_ID."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(re.fullmatch(r"[\w .-]+", part) for part in parts):
            raise Mistake(f"--wandb {text}: write ENTITY/PROJECT or ENTITY/PROJECT/SWEEP_ID.")
        return cls(*parts)


def of_run(story: RunStory, place: Place) -> Report:
    """Tell a run, which has been sent to W&B before."""
    from wandb_workspaces import expr
    from wandb_workspaces.reports.v2 import interface as wr

    chosen = [expr.Metric("ID") == run_id(story.environment)]
    runs = wr.Runset(entity=place.entity, project=place.project, name=story.title, filters=chosen)
    confusion = [
        wr.H2(text="Confusion"),
        *_paragraphs(story.confusing),
        wr.PanelGrid(runsets=[runs], panels=[_confusion(story.part)]),
    ]
    return _report(
        place,
        f"Run: {story.title}",
        [
            *_opening(story.lead, story.notices, _scores(story)),
            wr.H2(text="Learning"),
            *_paragraphs(story.learning),
            wr.PanelGrid(runsets=[runs], panels=_curves()),
            *(confusion if story.confusion is not None else []),
            wr.H2(text="Predictions"),
            wr.PanelGrid(runsets=[runs], panels=list(_images())),
            wr.H2(text="To run it again"),
            wr.CodeBlock(code=story.repeat),
        ],
    )


def of_sweep(story: SweepStory, place: Place) -> Report:
    """Tell a sweep, whose runs have been sent to W&B before."""
    from wandb_workspaces import expr
    from wandb_workspaces.reports.v2 import interface as wr

    metric, first = story.metric.name, story.metric.sign > 0
    belonging = ("Sweep", place.sweep) if place.sweep else ("Group", _group(story))
    runs = wr.Runset(
        entity=place.entity,
        project=place.project,
        name=story.title,
        filters=[expr.Metric(belonging[0]) == belonging[1]],
        order=[wr.OrderBy(name=wr.SummaryMetric(name=metric), ascending=first)],
    )
    columns = [
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.Config(name=_config_name(name)),
            display_name=name,
            log=story.logarithmic(name),
        )
        for name in story.varied
    ]
    columns.append(
        wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(name=metric), inverted=first)
    )
    panels: list[Any] = [
        wr.ParallelCoordinatesPlot(columns=columns, layout=_layout(0, 0, WHOLE, 10)),
        wr.ParameterImportancePlot(with_respect_to=metric, layout=_layout(0, 10, HALF, 8)),
        wr.LinePlot(x="epoch", y=[metric], title=metric, layout=_layout(HALF, 10, HALF, 8)),
    ]
    best = story.best and [
        wr.H2(text="The best again"),
        wr.P(text=f"Trial {story.best.number}: {story.spelled(story.best)}."),
        wr.CodeBlock(code=story.repeat(story.best)),
    ]
    return _report(
        place,
        f"Sweep: {story.title}",
        [
            *_opening(story.lead, story.notices, [("metric", story.shown_metric)]),
            wr.H2(text="Parameter importance"),
            *_paragraphs(story.finding, story.importance.caution),
            wr.PanelGrid(runsets=[runs], panels=panels),
            wr.H2(text="Side by side"),
            wr.PanelGrid(
                runsets=[runs],
                panels=[wr.RunComparer(diff_only="split", layout=_layout(0, 0, WHOLE, 12))],
            ),
            wr.H2(text="Learning"),
            wr.PanelGrid(runsets=[runs], panels=_curves()),
            wr.H2(text="Confusion"),
            wr.PanelGrid(runsets=[runs], panels=[_confusion("test"), *_images(top=10)]),
            *(best or []),
        ],
    )


def _report(place: Place, title: str, blocks: list[Any]) -> Report:
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.Report(
        project=place.project,
        entity=place.entity,
        title=fmt.clipped(title, LONGEST_TITLE),
        description="Made from run folders by scripts/report.py.",
        blocks=blocks,
        width="fluid",
    )


def _opening(lead: str, notices: list[str], facts: list[tuple[str, str]]) -> Iterator[Any]:
    """Say the findings first."""
    from wandb_workspaces.reports.v2 import interface as wr

    yield wr.P(text=lead)
    for notice in notices:
        yield wr.CalloutBlock(text=notice)
    yield wr.UnorderedList(items=[f"{name}: {value}" for name, value in facts])


def _paragraphs(*texts: str) -> Iterator[Any]:
    from wandb_workspaces.reports.v2 import interface as wr

    yield from (wr.P(text=text) for text in texts if text)


def _scores(story: RunStory) -> list[tuple[str, str]]:
    part = story.part
    found = [
        (f"{part} accuracy", fmt.percent(story.score(f"{part}/accuracy"))),
        (f"{part} loss", fmt.figure(story.score(f"{part}/loss"))),
        ("training time", fmt.duration(story.seconds)),
    ]
    return [(name, value) for name, value in found if value != fmt.MISSING]


def _curves() -> list[Any]:
    from wandb_workspaces.reports.v2 import interface as wr

    wide = [(HALF * place, 0, HALF, 8) for place in range(2)]
    narrow = [(THIRD * place, 8, THIRD, 6) for place in range(3)]
    wanted = [
        ("Loss", ["train/loss", "val/loss"]),
        ("Accuracy", ["train/accuracy", "val/accuracy"]),
        ("Learning rate", ["lr"]),
        ("Norm of the gradient", ["norm/gradient"]),
        ("Norm of the weights", ["norm/weights"]),
    ]
    return [
        wr.LinePlot(title=title, x="epoch", y=list(keys), layout=_layout(*place))
        for (title, keys), place in zip(wanted, (*wide, *narrow), strict=True)
    ]


def _confusion(part: str) -> Any:
    """W&B's own chart of the confusion matrix, over the table that the mirror has sent."""
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"{part}/confusion_matrix_table"}},
        chart_name="wandb/confusion_matrix/v1",
        chart_fields={"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
        chart_strings={"title": "Confusion matrix"},
        layout=_layout(0, 0, WHOLE, 10),
    )


def _images(top: int = 0) -> Iterator[Any]:
    from wandb_workspaces.reports.v2 import interface as wr

    for place, (key, title) in enumerate((("wrong", "Most confidently wrong"), ("right", "Right"))):
        yield wr.MediaBrowser(
            title=title,
            num_columns=8,
            media_keys=[f"examples/{key}"],
            layout=_layout(HALF * place, top, HALF, 10),
        )


def _layout(x: int, y: int, width: int, height: int) -> Any:
    from wandb_workspaces.reports.v2 import interface as wr

    return wr.Layout(x=x, y=y, w=width, h=height)


def _config_name(parameter: str) -> str:
    """Name a parameter as it stands in W&B's config: settings of an option are nested."""
    return f"settings.{parameter}" if "." in parameter else parameter


def _group(story: SweepStory) -> str:
    """The group that the runs of an offline sweep are in."""
    folder = next((trial.folder for trial in story.ranked or story.trials), None)
    if folder is None:
        raise Mistake(f"{story.name}: there is no trial to tell of.")
    group = mapping(read_config(folder).get("tracking")).get("group")
    return str(group or story.title)
