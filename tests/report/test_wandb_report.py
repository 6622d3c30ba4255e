"""The W&B report says what the page says."""

from __future__ import annotations

import pytest

from nn.errors import Mistake
from nn.report.run_data import RunStory
from nn.report.sweep_data import SweepStory
from nn.report.wandb_report import Place, of_run, of_sweep
from tests.report.made import made_run, made_sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # on its import
PLACE = Place("someone", "digits")


def kinds(report):
    grids = [block for block in report.blocks if type(block).__name__ == "PanelGrid"]
    return [type(panel).__name__ for grid in grids for panel in grid.panels]


def test_a_run_is_told_with_curves_confusion_and_images(tmp_path):
    story = RunStory(made_run(tmp_path / "run"))
    report = of_run(story, PLACE)
    assert (report.entity, report.project) == ("someone", "digits")
    assert report.blocks[0].text == story.lead
    assert kinds(report) == [*["LinePlot"] * 5, "CustomChart", *["MediaBrowser"] * 2]


def test_a_sweep_is_told_with_its_parameters_and_what_mattered(tmp_path):
    folder = made_sweep(tmp_path / "s", 12)
    for number in range(12):
        (folder / f"trials/{number:04}/config.yaml").write_bytes(made_config(tmp_path))
    story = SweepStory(folder)
    report = of_sweep(story, Place("someone", "digits", "abc123"))
    assert kinds(report)[:4] == [
        "ParallelCoordinatesPlot", "ParameterImportancePlot", "LinePlot", "RunComparer",
    ]  # fmt: skip
    grid = next(block for block in report.blocks if type(block).__name__ == "PanelGrid")
    shown = [column.display_name for column in grid.panels[0].columns]
    assert shown[:-1] == story.varied
    assert "abc123" in str(grid.runsets[0].filters)


def made_config(place):
    if not (place / "run").exists():
        made_run(place / "run", "epochs=1")
    return (place / "run/config.yaml").read_bytes()


@pytest.mark.parametrize("text", ["me", "me/", "a/b/c/d", "me/x?y", ""])
def test_a_place_is_an_entity_and_a_project(text):
    with pytest.raises(Mistake, match="write ENTITY/PROJECT"):
        Place.named(text)
    assert Place.named("me/digits/s1") == Place("me", "digits", "s1")
