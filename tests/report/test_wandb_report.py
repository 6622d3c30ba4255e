"""The W&B report shows the same content as the page."""

from __future__ import annotations

import pytest

from nn.errors import UserError
from nn.report.run_data import RunData
from nn.report.sweep_data import SweepData
from nn.report.wandb_report import ReportTarget, build_run_report, build_sweep_report
from tests.report.made import made_run, made_sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # when it is imported
PLACE = ReportTarget("someone", "digits")


def kinds(report):
    grids = [block for block in report.blocks if type(block).__name__ == "PanelGrid"]
    return [type(panel).__name__ for grid in grids for panel in grid.panels]


def test_a_run_is_told_with_curves_confusion_and_images(tmp_path):
    story = RunData(made_run(tmp_path / "run"))
    report = build_run_report(story, PLACE)
    assert (report.entity, report.project) == ("someone", "digits")
    assert report.blocks[0].text == story.summary_text
    assert kinds(report) == [*["LinePlot"] * 5, "CustomChart", *["MediaBrowser"] * 2]


def test_a_sweep_is_told_with_its_parameters_and_what_mattered(tmp_path):
    folder = made_sweep(tmp_path / "s", 12)
    for number in range(12):
        (folder / f"trials/{number:04}/config.yaml").write_bytes(made_config(tmp_path))
    story = SweepData(folder)
    report = build_sweep_report(story, ReportTarget("someone", "digits", "abc123"))
    assert kinds(report)[:4] == [
        "ParallelCoordinatesPlot", "ParameterImportancePlot", "LinePlot", "RunComparer",
    ]  # fmt: skip
    grid = next(block for block in report.blocks if type(block).__name__ == "PanelGrid")
    shown = [column.display_name for column in grid.panels[0].columns]
    assert shown[:-1] == story.varied_params
    assert "abc123" in str(grid.runsets[0].filters)


def made_config(place):
    if not (place / "run").exists():
        made_run(place / "run", "epochs=1")
    return (place / "run/config.yaml").read_bytes()


@pytest.mark.parametrize("text", ["me", "me/", "a/b/c/d", "me/x?y", ""])
def test_a_place_is_an_entity_and_a_project(text):
    with pytest.raises(UserError, match="write ENTITY/PROJECT"):
        ReportTarget.parse(text)
    assert ReportTarget.parse("me/digits/s1") == ReportTarget("me", "digits", "s1")
