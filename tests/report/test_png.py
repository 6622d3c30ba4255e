"""PNG pictures of any run, sweep or comparison."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from nn.report import png
from nn.report.data.index import open_reader
from nn.report.png import GridImage, render_image_grid, render_pngs
from tests.conftest import RunDir
from tests.report.factories import make_run, make_sweep, replace_classes, update_json


def names_of(pictures):
    for _, content in pictures:
        assert len(content) < 200_000
        Image.open(io.BytesIO(content)).verify()
    return [name for name, _ in pictures]


def test_run_gives_curves_confusion_matrix_and_predictions(tmp_path):
    run = make_run(tmp_path / "run")
    assert names_of(render_pngs(open_reader([run]))) == ["curves", "confusion", "predictions"]
    (run / "predictions.safetensors").unlink()
    (run / "summary.json").unlink()
    (run / "history.jsonl").unlink()
    assert names_of(render_pngs(open_reader([run]))) == []


def test_sweep_gives_parallel_coordinates_curves_and_importances(tmp_path):
    sweep_dir = make_sweep(tmp_path / "s", 40, states=("finished", "paused", "pruned", "failed"))
    assert names_of(render_pngs(open_reader([sweep_dir]))) == ["parallel", "curves", "importance"]
    few_trials = make_sweep(tmp_path / "few", 1, epochs=1)
    assert names_of(render_pngs(open_reader([few_trials]))) == ["curves"]


def test_comparison_gives_curves_of_runs_with_any_name(tmp_path):
    runs = [make_run(tmp_path / name, "epochs=1") for name in ("$x^2$ _" * 20, "_hidden", "c")]
    assert names_of(render_pngs(open_reader(runs))) == ["curves"]


def test_runs_that_differ_in_their_seed_only_are_one_line_with_a_band(tmp_path, monkeypatch):
    monkeypatch.setattr(png, "_to_png", lambda figure: figure)
    settings = [("lr=0.1", "seed=0"), ("lr=0.1", "seed=1"), ("lr=0.2", "seed=0")]
    runs = [make_run(tmp_path / " ".join(each), *each) for each in settings]
    ((_, figure),) = render_pngs(open_reader(runs))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["lr=0.1", "lr=0.2"]
    losses = [[line["val/loss"] for line in RunDir(run).history] for run in runs]
    for plot in figure.axes:
        assert len(plot.lines) == 2
        assert len(plot.collections) == 1  # a single seed has no band
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), np.mean(losses[:2], axis=0))


@pytest.mark.parametrize("classes", [2, 27, 90])
def test_any_number_of_classes_with_any_names_is_plotted(tmp_path, classes):
    run = make_run(tmp_path / "run", "epochs=1")
    replace_classes(run, classes)
    update_json(run, "summary.json", class_names=["$a^2$ _ \\frac", *map(str, range(1, classes))])
    assert names_of(render_pngs(open_reader([run]))) == ["curves", "confusion", "predictions"]


@pytest.mark.parametrize("values", [(1.7e308, -1e308, 1), (1e-320, 1.7e308, 5), (0, 0, 0)])
def test_extreme_values_are_plotted(tmp_path, values):
    sweep_dir = make_sweep(tmp_path / "s", 4)
    records = [
        {"epoch": 10 ** (7 * index), "train/loss": value, "val/loss": value, "val/accuracy": value}
        for index, value in enumerate(values)
    ]
    history = "".join(f"{json.dumps(record)}\n" for record in records)
    run = make_run(tmp_path / "run", "epochs=1")
    for folder in (run, sweep_dir / "trials/0000", sweep_dir / "trials/0001"):
        (folder / "history.jsonl").write_text(history)
    assert names_of(render_pngs(open_reader([run])))[0] == "curves"
    assert "curves" in names_of(render_pngs(open_reader([sweep_dir])))


@pytest.mark.parametrize("metric_name", ["_loss", "$loss_{x}$"])
def test_legend_lies_below_the_curves(tmp_path, metric_name, monkeypatch):
    """A label that starts with an underscore is shown too."""
    from nn.report import png

    figures = []
    monkeypatch.setattr(png, "_to_png", lambda figure: figures.append(figure) or b"")
    sweep_dir = make_sweep(
        tmp_path / "s",
        sweep_config={
            "method": "random",
            "metric": {"name": metric_name, "goal": "minimize"},
            "parameters": {"lr": {"min": 0.1, "max": 0.2}},
        },
    )
    render_pngs(open_reader([sweep_dir]))
    names = ("_a", "b" * 60, *"cdefg")
    runs = [make_run(tmp_path / name, "epochs=2", f"lr=0.0{i}") for i, name in enumerate(names, 1)]
    render_pngs(open_reader(runs))
    for figure in figures:
        figure.draw_without_rendering()
        plots = [axes.get_window_extent() for axes in figure.axes]
        legends = [legend.get_window_extent() for legend in figure.legends]
        assert all(legend.y1 < plot.y0 for legend in legends for plot in plots)
    assert [len(figure.legends[0].get_texts()) for figure in figures[-1:]] == [7]


def test_grid_of_images_in_color_and_gray_with_and_without_truth():
    gray, rgb = np.zeros((1, 8, 6), np.uint8), np.zeros((3, 8, 6), np.uint8)
    images = [GridImage(gray, "a", 0.5, None, "a.png"), GridImage(rgb, "$a_", 1.0, "b")] * 10
    assert Image.open(io.BytesIO(render_image_grid(images))).width > 1000
