"""The W&B report shows the same content as the page."""

from __future__ import annotations

import pytest

from nn.errors import UserError
from nn.report.run_data import RunData
from nn.report.sweep_data import SweepData
from nn.report.wandb_report import ReportTarget, build_run_report, build_sweep_report
from tests.report.factories import make_run, make_sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # when it is imported
REPORT_TARGET = ReportTarget("someone", "digits")


def panel_types(report):
    grids = [block for block in report.blocks if type(block).__name__ == "PanelGrid"]
    return [type(panel).__name__ for grid in grids for panel in grid.panels]


def test_run_report_has_curves_confusion_matrix_and_images(tmp_path):
    run_data = RunData(make_run(tmp_path / "run"))
    report = build_run_report(run_data, REPORT_TARGET)
    assert (report.entity, report.project) == ("someone", "digits")
    assert report.blocks[0].text == run_data.summary_text
    assert panel_types(report) == [*["LinePlot"] * 5, "CustomChart", *["MediaBrowser"] * 2]


def test_sweep_report_has_parameters_and_importance(tmp_path):
    folder = make_sweep(tmp_path / "s", 12)
    for number in range(12):
        (folder / f"trials/{number:04}/config.yaml").write_bytes(config_bytes(tmp_path))
    sweep_data = SweepData(folder)
    report = build_sweep_report(sweep_data, ReportTarget("someone", "digits", "abc123"))
    assert panel_types(report)[:4] == [
        "ParallelCoordinatesPlot", "ParameterImportancePlot", "LinePlot", "RunComparer",
    ]  # fmt: skip
    grid = next(block for block in report.blocks if type(block).__name__ == "PanelGrid")
    shown = [column.display_name for column in grid.panels[0].columns]
    assert shown[:-1] == sweep_data.varied_params
    assert "abc123" in str(grid.runsets[0].filters)


def config_bytes(place):
    if not (place / "run").exists():
        make_run(place / "run", "epochs=1")
    return (place / "run/config.yaml").read_bytes()


@pytest.mark.parametrize("text", ["me", "me/", "a/b/c/d", "me/x?y", ""])
def test_report_target_is_an_entity_and_a_project(text):
    with pytest.raises(UserError, match="write ENTITY/PROJECT"):
        ReportTarget.parse(text)
    assert ReportTarget.parse("me/digits/s1") == ReportTarget("me", "digits", "s1")
