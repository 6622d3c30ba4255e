"""PNG export of the charts of any run or sweep directory."""

from __future__ import annotations

import pytest
from PIL import Image

from nn.report.build import ReportOptions, build_report
from tests.report.factories import make_run, make_sweep, replace_classes, update_json


def export_pngs(folder, output_dir):
    build_report(ReportOptions([folder], None, False, None, output_dir))
    png_files = sorted(output_dir.glob("*.png"))
    for file in png_files:
        assert file.stat().st_size < 200_000
        with Image.open(file) as image:
            image.verify()
    return [file.stem for file in png_files]


def test_run_gives_curves_confusion_matrix_and_predictions(tmp_path):
    run = make_run(tmp_path / "run")
    assert export_pngs(run, tmp_path / "pictures") == ["confusion", "curves", "predictions"]
    assert not (run / "report.html").exists()


def test_sweep_gives_parallel_coordinates_and_learning_curves(tmp_path):
    sweep_dir = make_sweep(tmp_path / "s", 30, states=("finished", "pruned", "failed"))
    assert export_pngs(sweep_dir, tmp_path / "pictures") == ["curves", "parallel"]


@pytest.mark.parametrize("classes", [2, 27, 90])
def test_any_number_of_classes_with_any_names_is_plotted(tmp_path, classes):
    run = make_run(tmp_path / "run", "epochs=1")
    replace_classes(run, classes)
    update_json(run, "summary.json", class_names=["$a^2$ _ \\frac", *map(str, range(1, classes))])
    assert export_pngs(run, tmp_path / "pictures") == ["confusion", "curves", "predictions"]
