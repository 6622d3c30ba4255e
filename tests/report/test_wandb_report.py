"""The W&B report shows the same content as the page."""

from __future__ import annotations

import pytest

from nn.errors import UserError
from nn.report.build import ReportOptions, build_report
from nn.report.data.run import RunReader
from nn.report.data.sweep import SweepReader
from nn.report.pages.run import summarize_run
from nn.report.pages.sweep import rank_params
from tests.report.factories import make_run, make_sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # when it is imported


def panel_types(report):
    grids = [block for block in report.blocks if type(block).__name__ == "PanelGrid"]
    return [type(panel).__name__ for grid in grids for panel in grid.panels]


def test_run_report_has_curves_confusion_matrix_and_images(tmp_path):
    from nn.report.wandb_report import build_run_report  # slow to import

    run = RunReader(make_run(tmp_path / "run"))
    report = build_run_report(run, "someone", "digits")
    assert (report.entity, report.project) == ("someone", "digits")
    assert report.blocks[0].text == summarize_run(run.record())
    assert panel_types(report) == [*["LinePlot"] * 5, "CustomChart", *["MediaBrowser"] * 2]


def test_sweep_report_has_parameters_and_importance(tmp_path):
    from nn.report.wandb_report import build_sweep_report

    folder = make_sweep(tmp_path / "s", 12)
    for number in range(12):
        (folder / f"trials/{number:04}/config.yaml").write_bytes(config_bytes(tmp_path))
    sweep = SweepReader(folder)
    report = build_sweep_report(sweep, "someone", "digits", "abc123")
    assert panel_types(report)[:4] == [
        "ParallelCoordinatesPlot", "ParameterImportancePlot", "LinePlot", "RunComparer",
    ]  # fmt: skip
    grid = next(block for block in report.blocks if type(block).__name__ == "PanelGrid")
    shown = [column.display_name for column in grid.panels[0].columns]
    assert shown[:-1] == rank_params(sweep.record(), sweep.details())
    assert "abc123" in str(grid.runsets[0].filters)


def config_bytes(place):
    if not (place / "run").exists():
        make_run(place / "run", "epochs=1")
    return (place / "run/config.yaml").read_bytes()


@pytest.mark.parametrize("text", ["me", "me/", "a/b/c/d", "me/x?y", "", "a/b/", "a/b\n"])
def test_report_target_is_an_entity_and_a_project(tmp_path, text):
    folder = make_sweep(tmp_path / "s", 1)
    with pytest.raises(UserError, match="write ENTITY/PROJECT"):
        build_report(ReportOptions([folder], wandb_path=text))
