"""The page of a run shows the content of its directory, however incomplete."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml

from nn.config.compose import compose_config
from nn.config.schema import validate_config
from nn.errors import UserError
from nn.report.data.run import RunReader
from nn.report.pages.run import build_run_page, summarize_confusion
from nn.runs.experiment import prepare
from nn.runs.reader import SavedRun, read_config
from nn.runs.runner import run
from tests.faulty_disk import raise_disk_full
from tests.report.factories import XSS_STRING, make_run, replace_classes, update_json
from tests.report.report_page import ReportPage

KEY_FIGURES = {
    "Test accuracy": "test/accuracy",
    "Test loss": "test/loss",
    "Validation accuracy": "val/accuracy",
    "Top-3 accuracy": "test/top3",
    "Calibration error": "test/calibration_error",
    "Parameters": "num_parameters",
    "Training time": "seconds",
}


@pytest.fixture(scope="module")
def original_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("original") / "run", "restore_best=true", "epochs=12")


@pytest.fixture(name="folder")
def fixture_folder(original_run, tmp_path):
    return shutil.copytree(original_run, tmp_path / "run")


def build_page(folder):
    """Build the page of a run and read it back."""
    return ReportPage(build_run_page(RunReader(folder)))


def test_numbers_on_the_page_match_the_run_directory(folder):
    page, saved = build_page(folder), SavedRun(folder)
    assert page.key_figures == {name: saved.summary[key] for name, key in KEY_FIGURES.items()}

    for metric in ("loss", "accuracy"):
        chart = page.charts[metric]
        assert [trace["name"] for trace in chart["data"]] == ["training", "validation"]
        for trace, part in zip(chart["data"], ("train", "val"), strict=True):
            assert trace["x"] == [record["epoch"] for record in saved.history]
            assert trace["y"] == [record[f"{part}/{metric}"] for record in saved.history]
        seconds = np.cumsum([record["seconds"] for record in saved.history])
        assert chart["xAxes"]["seconds"] == pytest.approx(seconds)
        assert list(chart["xAxes"]) == ["epoch", "seconds", "samples"]
    for name, key in (("lr", "lr"), ("gradient", "norm/gradient"), ("weights", "norm/weights")):
        (trace,) = page.charts[name]["data"]
        assert trace["y"] == [record[key] for record in saved.history]
    (best_epoch_line,) = page.charts["loss"]["layout"]["shapes"]
    assert best_epoch_line["x0"] == best_epoch_line["x1"] == saved.summary["best/epoch"]

    matrix = saved.summary["confusion_matrix"]
    for number, row in enumerate(page.table_rows("classes")):
        scores = [saved.summary[key][number] for key in ("precision", "recall", "f1")]
        assert row == [str(number), *scores, sum(matrix[number])]


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        ([[8, 1, 1], [4, 5, 1], [0, 0, 9]], "7 of 29 samples are misclassified. Most frequent "
         "error: b predicted as a (4 times, 40.0\N{NO-BREAK SPACE}% of class b)."),
        ([[8, 0, 0], [0, 5, 0], [0, 0, 0]], "All 13 samples are classified correctly."),
    ],
)  # fmt: skip
def test_most_frequent_error_is_named(folder, matrix, sentence):
    update_json(folder, "summary.json", confusion_matrix=matrix, class_names=["a", "b", "c"])
    assert summarize_confusion(RunReader(folder).record()) == sentence


def test_confusion_matrix_has_counts_and_percentages(folder):
    matrix = np.array(SavedRun(folder).summary["confusion_matrix"])
    chart = build_page(folder).charts["confusion"]
    (trace,) = chart["data"]
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    counts, totals, fractions = np.moveaxis(np.array(trace["customdata"]), -1, 0)
    assert counts.tolist() == matrix.tolist()
    assert totals[:, 0].tolist() == matrix.sum(axis=1).tolist()
    assert fractions.astype(float) == pytest.approx(shares)
    texts = {name: view["data"]["text"] for name, view in chart["views"].items()}
    assert texts["Counts"] == [[f"{n:,}" if n else "" for n in row] for row in matrix.tolist()]
    assert texts["% of row"][3][3] == f"{100 * shares[3, 3]:.1f}"
    correct = np.eye(len(matrix), dtype=bool)
    assert (np.array(trace["z"])[correct] > 0).all()
    assert np.array_equal(np.array(trace["z"])[~correct] < 0, matrix[~correct] > 0)
    assert trace["x"] == trace["y"] == [str(number) for number in range(10)]


def test_classes_of_the_same_name_have_rows_of_their_own(folder):
    update_json(folder, "summary.json", class_names=["same"] * 10)
    (trace,) = build_page(folder).charts["confusion"]["data"]
    assert len(set(trace["x"])) == len(set(trace["y"])) == 10


@pytest.mark.parametrize("status", ["interrupted", "pruned", "diverged"])
def test_only_a_finished_run_shows_a_command_that_reproduces_it(folder, status):
    update_json(folder, "summary.json", status=status)
    assert "reproduce=" not in build_page(folder).text


def test_page_has_settings_environment_and_reproduce_command(folder):
    text = build_page(folder).text
    saved = SavedRun(folder)
    assert "reproduce=" in text
    assert f"model.hidden {'[12]'}" in text
    assert saved.environment["packages"]["numpy"] in text
    assert saved.environment["cpu_model"] in text
    assert saved.summary["weights/sha256"][:16] in text


def test_layer_table_matches_the_terminal(folder):
    network = prepare(validate_config(read_config(folder))).network
    page = build_page(folder)
    (_, inputs, *layers, total) = network.layer_table().splitlines()
    assert f"{len(layers)} layers with {total.strip()} parameters" in page.text
    assert "1 x 8 x 8 → flatten1 (64) → dense1 (12) → dense2 (10)" in page.text
    shown = [
        " ".join([name, shape, *([f"{count:,}"] if count else [])])
        for name, shape, count in page.table_rows("layers")
    ]
    assert shown == [" ".join(line.split()) for line in (f"input {inputs}", *layers)]
    described = json.loads((folder / "model.json").read_text())
    assert described["num_parameters"] == SavedRun(folder).summary["num_parameters"]


def test_custom_model_layers_are_shown_without_its_code(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["_target_"] = "mine.models.Wide"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert "architecture" in build_page(folder).sections


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
def test_missing_or_damaged_layers_are_omitted(folder, content):
    (folder / "model.json").unlink()
    if content is not None:
        (folder / "model.json").write_text(content)
    assert "architecture" not in build_page(folder).sections


def test_layer_names_are_escaped(folder):
    odd = {"name": XSS_STRING, "output_shape": [8], "num_parameters": 1}
    (folder / "model.json").write_text(json.dumps({"input_shape": [8], "layers": [odd]}))
    page = build_page(folder)
    assert "<img src=x" not in page.html
    assert XSS_STRING in page.text


def test_map_samples_have_their_class_and_image(folder):
    page, predictions = build_page(folder), SavedRun(folder).predictions
    chart = page.charts["map"]
    points = {
        number: trace["name"]
        for trace in chart["data"]
        for number in trace["customdata"]
    }  # fmt: skip
    assert points == {
        place: str(predictions.labels[each])
        for place, each in enumerate(predictions.embedded_indices)
    }
    assert len(chart["cards"]) == len(predictions.embedded_indices)
    assert chart["sheet"]["columns"] * chart["sheet"]["rows"] >= len(predictions.embedded_indices)


def test_read_only_run_directory_has_a_page(folder, monkeypatch):
    monkeypatch.setattr("nn.runs.checkpoint.atomic_write", raise_disk_full)
    assert "map" in build_page(folder).charts
    assert not (folder / "map.safetensors").exists()


def test_html_in_names_is_escaped(folder):
    replace_classes(folder)
    environment = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(
        json.dumps(environment | {"host": XSS_STRING, "command": XSS_STRING})
    )
    page = build_page(folder)
    assert "<img src=x" not in page.html
    assert page.text.count(XSS_STRING) >= 3
    (trace,) = page.charts["confusion"]["data"]
    assert trace["x"][0].startswith("&lt;img")
    assert "<img" not in json.dumps(page.charts["map"]["data"])


def test_many_classes_are_all_listed_and_the_weakest_charted(folder):
    names = replace_classes(folder, classes=300, samples=900)
    page = build_page(folder)
    assert [row[0] for row in page.table_rows("classes")] == names
    assert len(page.charts["classes"]["data"][1]["x"]) == 40
    assert np.array(page.charts["confusion"]["data"][0]["z"]).shape == (200, 200)
    assert "The 200 of 300 classes with the most errors." in page.text
    assert len(page.charts["confusion"]["layout"]["xaxis"]["tickvals"]) <= 40
    assert len(page.charts["map"]["data"]) == 2


def test_run_without_validation_and_with_one_epoch(tmp_path):
    page = build_page(make_run(tmp_path / "run", "dataset.validation=0", "epochs=1"))
    (trace,) = page.charts["loss"]["data"]
    assert (trace["name"], trace["mode"]) == ("training", "markers")
    assert "Test accuracy" in page.key_figures


def test_name_notes_tags_and_group_are_shown(tmp_path):
    page = build_page(make_run(
        tmp_path / "run", "tracking.name=baseline", "tracking.notes='wide, no dropout'",
        "tracking.tags=[paper,digits]", "tracking.group=widths",
    ))  # fmt: skip
    assert "baseline" in page.text.split("finished")[0]
    assert "wide, no dropout finished mlp on digits group widths paper digits" in page.text


def test_lengthened_run_shows_its_first_length_and_its_sessions(folder):
    update_json(folder, "environment.json", initial_epochs=5)
    times = ["2026-03-01T10:00:00+00:00", "2026-03-01T10:00:20+00:00"]
    update_json(folder, "summary.json", sessions=[times, ["2026-03-02" + t[10:] for t in times]])
    page = build_page(folder)
    assert "lengthened from 5 to 12 epochs" in page.text
    assert page.text.count("20.0 s") == 2


def test_time_has_a_section_of_its_own(folder):
    page = build_page(folder)
    assert page.sections.index("time") < page.sections.index("settings")
    assert [trace["name"] for trace in page.charts["timing"]["data"]] == ["training", "validation"]


def test_there_is_no_map_without_a_hidden_layer(tmp_path):
    run(compose_config(["tracking=disabled", "epochs=1", "model=linear"]), tmp_path / "run")
    page = build_page(tmp_path / "run")
    assert "map" not in page.charts
    assert "the network has no hidden layer" in page.text
    assert "weights" in page.sections


def test_there_is_no_map_of_too_few_samples(folder):
    replace_classes(folder, classes=3, samples=20)
    page = build_page(folder)
    assert "map" not in page.charts
    assert "too few samples" in page.text


def remove_file(name):
    def change(run):
        (run / name).unlink()

    return change


def overwrite_file(name, content):
    def change(run):
        (run / name).write_bytes(content)

    return change


def truncate_history(run):
    file = run / "history.jsonl"
    file.write_bytes(file.read_bytes()[:-40])


def end_with_status(status):
    def change(run):
        update_json(
            run, "summary.json", status=status, **{"test/accuracy": None, "test/loss": None}
        )
        (run / "predictions.safetensors").unlink()

    return change


@pytest.mark.parametrize(
    ("change", "message", "missing"),
    {
        "killed": (remove_file("summary.json"), "covers 12 of 12 epochs", []),
        "torn": (truncate_history, "mlp on digits", []),
        "no history": (remove_file("history.jsonl"), "No epochs have been recorded.", ["loss"]),
        "damaged history": (
            overwrite_file("history.jsonl", b"{}\n[\n"),
            "learning curves are not available",
            ["loss"],
        ),
        "damaged summary": (overwrite_file("summary.json", b"{"), "summary.json is damaged", []),
        "damaged predictions": (
            overwrite_file("predictions.safetensors", b"none"),
            "predictions.safetensors is damaged",
            ["map", "calibration"],
        ),
        "no checkpoint": (lambda run: shutil.rmtree(run / "checkpoints"), "mlp on digits", []),
        "interrupted": (end_with_status("interrupted"), "was interrupted", ["map"]),
        "diverged": (end_with_status("diverged"), "Training diverged", ["map"]),
        "crashed": (end_with_status("crashed"), "This run crashed", ["map"]),
    }.values(),
)
def test_missing_parts_are_omitted_and_reported(folder, change, message, missing):
    change(folder)
    page = build_page(folder)
    assert message in page.text
    assert not set(missing) & set(page.charts)
    assert "settings" in page.sections


def test_torn_history_line_loses_only_itself(folder):
    epochs = len(SavedRun(folder).history)
    truncate_history(folder)
    assert len(build_page(folder).charts["loss"]["data"][0]["y"]) == epochs - 1


def test_thinned_curves_keep_every_peak(folder):
    line = json.loads((folder / "history.jsonl").read_text().splitlines()[0])
    rng = np.random.default_rng(0)
    losses = rng.uniform(0.1, 0.2, 9000).tolist()
    losses[5000] = 7.0
    lines = [line | {"epoch": e, "val/loss": loss} for e, loss in enumerate(losses, 1)]
    (folder / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    page = build_page(folder)
    (trace,) = [each for each in page.charts["loss"]["data"] if each["name"] == "validation"]
    assert len(trace["x"]) <= 2000
    assert trace["y"][trace["x"].index(5001)] == 7.0
    assert len(page.html) < 6e6


def test_directory_without_config_is_not_a_run(tmp_path):
    with pytest.raises(UserError):
        RunReader(tmp_path)
