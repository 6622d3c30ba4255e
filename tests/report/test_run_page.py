"""The page of a run shows the content of its directory, however incomplete."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import yaml

from nn.config.compose import compose_config
from nn.config.schema import validate_config
from nn.errors import UserError
from nn.report.build import ReportOptions, build_report
from nn.report.run_data import RunData
from nn.report.sample_map import MAP_FILE
from nn.runs.checkpoint import load
from nn.runs.experiment import prepare
from nn.runs.reader import SavedRun, read_config
from nn.runs.runner import run
from tests.faulty_disk import raise_disk_full
from tests.report.made import NASTY, changed, made_run, of_letters
from tests.report.pages import Page

TOLD = {
    "Test accuracy": "test/accuracy",
    "Test loss": "test/loss",
    "Validation accuracy": "val/accuracy",
    "Top-3 accuracy": "test/top3",
    "Calibration error": "test/calibration_error",
    "Parameters": "num_parameters",
    "Training time": "seconds",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("original") / "run", "restore_best=true", "epochs=12")


@pytest.fixture(name="folder")
def fixture_folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


def report(*folders, **wanted):
    """Build a page and read it back."""
    settings = {
        "output": None,
        "open_browser": False,
        "num_trial_pages": None,
        "png_dir": None,
    } | wanted
    build_report(ReportOptions(folders, **settings))
    return Page(settings["output"] or folders[0] / "report.html")


def test_the_numbers_on_the_page_are_those_in_the_folder(folder):
    page, saved = report(folder), SavedRun.read(folder)
    assert page.figures == {name: saved.summary[key] for name, key in TOLD.items()}

    for what in ("loss", "accuracy"):
        traces = page.charts[what]["traces"]
        assert [trace["name"] for trace in traces] == ["training", "validation"]
        for trace, part in zip(traces, ("train", "val"), strict=True):
            assert trace["x"] == [record["epoch"] for record in saved.history]
            assert trace["y"] == [record[f"{part}/{what}"] for record in saved.history]
    for name, key in (("lr", "lr"), ("gradient", "norm/gradient"), ("weights", "norm/weights")):
        (trace,) = page.charts[name]["traces"]
        assert trace["y"] == [record[key] for record in saved.history]
    (kept,) = page.charts["loss"]["layout"]["shapes"]
    assert kept["x0"] == kept["x1"] == saved.summary["best/epoch"]

    counts = page.charts["confusion"]["views"][0]["layout"]["annotations"]
    matrix = saved.summary["confusion_matrix"]
    assert {(cell["y"], cell["x"]): int(cell["text"].replace(",", "")) for cell in counts} == {
        (truth, predicted): count
        for truth, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if count
    }
    hover = page.charts["confusion"]["traces"][0]["text"][0][0]
    assert f"<b>{matrix[0][0]}</b> of {sum(matrix[0])}" in hover
    for number, row in enumerate(page.rows("classes-table")):
        scores = [saved.summary[key][number] for key in ("precision", "recall", "f1")]
        assert [float(value) for value in row] == [number, *scores, sum(matrix[number])]


@pytest.mark.parametrize("status", ["interrupted", "pruned", "diverged"])
def test_only_a_finished_run_shows_a_command_that_reproduces_it(folder, status):
    changed(folder, "summary.json", status=status)
    assert "reproduce=" not in report(folder).text


def test_settings_environment_and_the_command_that_repeats_it_are_there(folder):
    text = report(folder).text
    saved = SavedRun.read(folder)
    assert "reproduce=" in text
    assert f"model.hidden {'[12]'}" in text
    assert saved.environment["packages"]["numpy"] in text
    assert saved.environment["cpu_model"] in text
    assert saved.summary["weights/sha256"][:16] in text


def test_the_layers_are_those_that_the_terminal_shows(folder):
    network = prepare(validate_config(read_config(folder))).network
    page = report(folder)
    (_, inputs, *layers, total) = network.layer_table().splitlines()
    assert f"{len(layers)} layers with {total.strip()} parameters" in page.text
    cells = re.search(r'id="layers-table".*?</table>', page.html, re.DOTALL)[0]
    rows = re.findall(r"<tr.*?</tr>", cells, re.DOTALL)[1:]
    shown = [" ".join(re.sub("<[^>]+>", " ", row).split()) for row in rows]
    assert shown == [" ".join(line.split()) for line in (f"input {inputs}", *layers)]
    described = json.loads((folder / "model.json").read_text())
    assert described["num_parameters"] == SavedRun.read(folder).summary["num_parameters"]


def test_the_layers_of_a_model_of_ones_own_are_shown_without_its_code(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["_target_"] = "mine.models.Wide"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert "architecture" in report(folder).sections


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"layers": 3}',
        '{"input_shape": [8], "layers": [1]}',
        '{"input_shape": [8], "layers": []}',
        '{"input_shape": [8], '
        '"layers": [{"name": "a", "output_shape": [true], "num_parameters": 1}]}',
        '{"input_shape": [8], "layers": [{"name": "a", "output_shape": "8", "num_parameters": 1}]}',
        '{"input_shape": [8], '
        '"layers": [{"name": "a", "output_shape": [8], "num_parameters": -1}]}',
        '{"input_shape": [1e400], '
        '"layers": [{"name": "a", "output_shape": [8], "num_parameters": 1}]}',
        None,
    ],
)
def test_layers_that_were_not_recorded_or_are_damaged_are_left_out(folder, content):
    (folder / "model.json").unlink()
    if content is not None:
        (folder / "model.json").write_text(content)
    assert "architecture" not in report(folder).sections


def test_the_names_of_layers_are_text(folder):
    odd = {"name": NASTY, "output_shape": [8], "num_parameters": 1}
    (folder / "model.json").write_text(json.dumps({"input_shape": [8], "layers": [odd]}))
    page = report(folder)
    assert "<img src=x" not in page.html
    assert NASTY in page.text


def test_every_sample_on_the_map_has_its_class_and_its_image(folder):
    page, read = report(folder), SavedRun.read(folder).predictions
    chart = page.charts["map"]
    points = {
        number: trace["name"]
        for trace in chart["traces"]
        for number in trace["customdata"]
    }  # fmt: skip
    assert points == {place: str(read.labels[each]) for place, each in enumerate(read.mapped)}
    assert len(chart["cards"]) == len(read.mapped)
    assert chart["sheet"]["columns"] * chart["sheet"]["rows"] >= len(read.mapped)


def test_the_map_is_made_once(folder):
    page = report(folder)
    kept = (folder / MAP_FILE).stat().st_mtime_ns
    assert report(folder).charts["map"] == page.charts["map"]
    assert (folder / MAP_FILE).stat().st_mtime_ns == kept
    (folder / MAP_FILE).write_bytes(b"damaged")
    assert report(folder).charts["map"] == page.charts["map"]
    assert load(folder / MAP_FILE).arrays["places"].shape == (len(page.charts["map"]["cards"]), 2)


def test_a_page_is_made_of_a_folder_in_which_nothing_can_be_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nn.runs.checkpoint.atomic_write", raise_disk_full)
    page = report(folder, output=tmp_path / "page.html")
    assert "map" in page.charts
    assert not (folder / MAP_FILE).exists()


def test_names_with_html_and_script_in_them_show_as_text(folder):
    of_letters(folder)
    environment = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(
        json.dumps(environment | {"host": NASTY, "command": NASTY})
    )
    page = report(folder)
    assert "<img src=x" not in page.html
    assert page.text.count(NASTY) >= 4
    hover = page.charts["confusion"]["traces"][0]["text"][0][0]
    assert "&lt;img" in hover
    assert "<img" not in hover


def test_many_classes_have_each_their_row_and_the_weakest_their_place_in_the_chart(folder):
    names = of_letters(folder, classes=120, samples=900)
    page = report(folder)
    assert len(page.rows("classes-table")) == len(names)
    assert len(page.charts["classes"]["traces"][1]["x"]) == 40
    assert len(page.charts["confusion"]["layout"]["xaxis"]["tickvals"]) <= 40


def test_a_run_without_validation_and_one_of_one_epoch(tmp_path):
    page = report(made_run(tmp_path / "run", "dataset.validation=0", "epochs=1"))
    assert [trace["name"] for trace in page.charts["loss"]["traces"]] == ["training"]
    assert page.charts["loss"]["traces"][0]["mode"] == "markers"
    assert "Test accuracy" in page.figures


def test_there_is_no_map_without_a_hidden_layer(tmp_path):
    run(compose_config(["tracking=disabled", "epochs=1", "model=linear"]), tmp_path / "run")
    page = report(tmp_path / "run")
    assert "map" not in page.charts
    assert "the network has no hidden layer" in page.text
    assert "weights" in page.sections


def test_there_is_no_map_of_a_handful_of_samples(folder):
    of_letters(folder, classes=3, samples=20)
    page = report(folder)
    assert "map" not in page.charts
    assert "too few samples" in page.text


def without(name):
    def change(run):
        (run / name).unlink()

    return change


def written(name, content):
    def change(run):
        (run / name).write_bytes(content)

    return change


def torn(run):
    file = run / "history.jsonl"
    file.write_bytes(file.read_bytes()[:-40])


def ended(status):
    def change(run):
        changed(run, "summary.json", status=status, **{"test/accuracy": None, "test/loss": None})
        (run / "predictions.safetensors").unlink()

    return change


@pytest.mark.parametrize(
    ("change", "sentence", "missing"),
    {
        "still going": (without("summary.json"), "covers 12 of 12 epochs", []),
        "torn": (torn, "mlp on digits", []),
        "no history": (without("history.jsonl"), "No epochs have been recorded.", ["loss"]),
        "damaged history": (
            written("history.jsonl", b"{}\n[\n"),
            "learning curves are not available",
            ["loss"],
        ),
        "damaged summary": (written("summary.json", b"{"), "summary.json is damaged", []),
        "damaged predictions": (
            written("predictions.safetensors", b"none"),
            "predictions.safetensors is damaged",
            ["map", "calibration"],
        ),
        "no checkpoint": (lambda run: shutil.rmtree(run / "checkpoints"), "mlp on digits", []),
        "interrupted": (ended("interrupted"), "was interrupted", ["map"]),
        "diverged": (ended("diverged"), "Training diverged", ["map"]),
        "crashed": (ended("crashed"), "This run crashed", ["map"]),
    }.values(),
)
def test_what_is_missing_is_left_out_and_said(folder, change, sentence, missing):
    change(folder)
    page = report(folder)
    assert sentence in page.text
    assert not set(missing) & set(page.charts)
    assert "settings" in page.sections


def test_a_torn_line_costs_only_itself(folder):
    epochs = len(SavedRun.read(folder).history)
    torn(folder)
    assert len(report(folder).charts["loss"]["traces"][0]["y"]) == epochs - 1


def test_a_thousand_epochs_are_drawn_with_every_peak(folder):
    line = json.loads((folder / "history.jsonl").read_text().splitlines()[0])
    rng = np.random.default_rng(0)
    losses = rng.uniform(0.1, 0.2, 9000).tolist()
    losses[5000] = 7.0
    lines = [line | {"epoch": e, "val/loss": loss} for e, loss in enumerate(losses, 1)]
    (folder / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    page = report(folder)
    (trace,) = [each for each in page.charts["loss"]["traces"] if each["name"] == "validation"]
    assert len(trace["x"]) <= 2000
    assert trace["y"][trace["x"].index(5001)] == 7.0
    assert len(page.html) < 15e6


def test_a_folder_without_a_configuration_is_no_run(tmp_path):
    with pytest.raises(UserError):
        RunData(tmp_path)
