"""PNG export of the charts of any run or sweep directory."""

from __future__ import annotations

import pytest
from PIL import Image

from nn.report.build import ReportOptions, build_report
from tests.report.made import changed, made_run, made_sweep, of_letters


def drawn(folder, place):
    build_report(ReportOptions([folder], None, False, None, place))
    found = sorted(place.glob("*.png"))
    for file in found:
        assert file.stat().st_size < 200_000
        with Image.open(file) as image:
            image.verify()
    return [file.stem for file in found]


def test_a_run_gives_curves_confusion_and_predictions(tmp_path):
    run = made_run(tmp_path / "run")
    assert drawn(run, tmp_path / "pictures") == ["confusion", "curves", "predictions"]
    assert not (run / "report.html").exists()


def test_a_sweep_gives_parallel_coordinates_and_learning_curves(tmp_path):
    swept = made_sweep(tmp_path / "s", 30, states=("finished", "pruned", "failed"))
    assert drawn(swept, tmp_path / "pictures") == ["curves", "parallel"]


@pytest.mark.parametrize("classes", [2, 27, 90])
def test_classes_of_any_number_and_name_are_drawn(tmp_path, classes):
    run = made_run(tmp_path / "run", "epochs=1")
    of_letters(run, classes)
    changed(run, "summary.json", class_names=["$a^2$ _ \\frac", *map(str, range(1, classes))])
    assert drawn(run, tmp_path / "pictures") == ["confusion", "curves", "predictions"]
