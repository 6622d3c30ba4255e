"""A run's data: complete, plain JSON, and read incrementally."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nn.config.compose import compose_config
from nn.errors import UserError
from nn.io.files import acquire_lock
from nn.io.serialization import parse_json
from nn.report.data.run import RunReader
from nn.runs.history import HistoryReader
from nn.runs.reader import read_json
from nn.runs.resume import resume_run
from nn.runs.runner import run
from tests.report.data.hostile import assert_plain_json, fuzz_settings, json_values, round_trip
from tests.report.factories import (
    QUICK_OVERRIDES,
    append_epoch,
    make_history_record,
    make_run,
    update_json,
)


@pytest.fixture(scope="module")
def original_run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("original") / "run")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["tracking"] |= {"name": "first", "notes": "a note", "tags": ["small", "quick"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(name="folder")
def fixture_folder(original_run, tmp_path):
    return shutil.copytree(original_run, tmp_path / "run")


def epochs(reader):
    return reader.curves()["epochs"]


def test_record_is_complete(folder):
    record, summary = RunReader(folder).record(), read_json(folder, "summary.json")
    assert_plain_json(record)
    assert (record["name"], record["notes"], record["tags"]) == (
        "first", "a note", ["small", "quick"],
    )  # fmt: skip
    assert (record["status"], record["title"]) == ("finished", "mlp on digits")
    assert record["scores"] == {
        key: summary[key]
        for key in summary
        if key.startswith(("test/", "val/")) and summary[key] is not None
    }
    assert record["confusion_matrix"] == summary["confusion_matrix"]
    assert [each["f1"] for each in record["classes"]] == summary["f1"]
    assert record["layers"][0]["name"] == "input"
    assert sum(layer["num_parameters"] for layer in record["layers"]) == summary["num_parameters"]
    assert record["hyperparameters"]["epochs"] == 3
    assert record["settings"]["model.hidden"] == [12]
    assert "reproduce=" in record["reproduce_command"]
    assert record["initial_epochs"] == record["planned_epochs"] == record["num_epochs"] == 3


def test_details_have_samples_map_and_filters(folder):
    run_reader = RunReader(folder)
    details, predictions = run_reader.details(), run_reader.predictions
    assert_plain_json(details)
    assert all(each["label"] == each["predicted"] for each in details["correct"])
    assert all(each["label"] != each["predicted"] for each in details["misclassified"])
    assert all(each["image"].startswith("data:image/png") for each in details["correct"])
    assert sum(each["num_samples"] for each in details["calibration"]) == len(predictions.labels)
    assert len(details["sample_map"]["x"]) == len(predictions.embedded_indices)
    assert len(details["filters"]["images"]) == details["filters"]["num_units"] == 12


def test_details_are_read_once(folder, monkeypatch):
    reader = RunReader(folder)
    assert reader.details() is reader.details()
    os.utime(folder / "predictions.safetensors", (0, 0))
    reader.update()
    monkeypatch.setattr("nn.report.data.run.example_records", lambda *_: ["new"])
    assert reader.details()["correct"] == ["new"]


def test_only_new_lines_are_read(folder, monkeypatch):
    reader, read = RunReader(folder), []
    assert reader.curves()["epochs"] == [1, 2, 3]
    assert not reader.update()

    append_epoch(folder, 4)
    monkeypatch.setattr(
        "nn.runs.history.parse_json", lambda text: read.append(text) or json.loads(text)
    )
    assert reader.update()
    assert [json.loads(text)[0]["epoch"] for text in read] == [4]
    curves = reader.curves()
    assert curves["epochs"] == [1, 2, 3, 4]
    assert curves["columns"]["val/loss"][3] == make_history_record(4, 0.1)["val/loss"]
    assert reader.record()["num_epochs"] == 4


def test_torn_line_waits(folder):
    reader = RunReader(folder)
    append_epoch(folder, 4, end="")
    reader.update()
    assert epochs(reader) == [1, 2, 3]
    with (folder / "history.jsonl").open("a") as file:
        file.write("\n")
    assert reader.update()
    assert epochs(reader) == [1, 2, 3, 4]


def test_damaged_line_empties_the_history_until_it_is_replaced(folder):
    reader, content = RunReader(folder), (folder / "history.jsonl").read_bytes()
    append_epoch(folder, 4, end="")
    append_epoch(folder, 5)  # in the same line
    append_epoch(folder, 6)
    reader.update()
    assert epochs(reader) == []
    assert reader.record()["damaged_files"] == ["history.jsonl"]
    (folder / "history.jsonl").write_bytes(content)
    reader.update()
    assert epochs(reader) == [1, 2, 3]


def test_redone_epochs_replace_all_curves(folder):
    reader = RunReader(folder)
    lines = (folder / "history.jsonl").read_text().splitlines(keepends=True)
    with (folder / "history.jsonl").open("r+") as file:  # as a resumed run does
        file.truncate(len(lines[0]))
    append_epoch(folder, 2)
    append_epoch(folder, 3)
    append_epoch(folder, 4)
    reader.update()
    assert epochs(reader) == [1, 2, 3, 4]
    assert reader.curves()["columns"]["seconds"][1:] == [0.1] * 3


def test_vanished_directory_is_reported_until_it_is_back(folder, tmp_path):
    reader = RunReader(folder)
    folder.rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(UserError, match="is not a run directory"):
            reader.update()
    (tmp_path / "elsewhere").rename(folder)
    append_epoch(folder, 4)
    assert reader.update()
    assert epochs(reader) == [1, 2, 3, 4]


def test_status_is_that_of_the_process_until_there_is_a_summary(folder):
    summary = (folder / "summary.json").read_bytes()
    (folder / "summary.json").unlink()
    reader = RunReader(folder)
    assert reader.status == "killed"
    descriptor = acquire_lock(folder / ".lock")
    assert reader.update()
    assert reader.status == "running"
    os.close(descriptor)
    assert reader.update()
    assert reader.status == "killed"
    (folder / "summary.json").write_bytes(summary)
    assert reader.update()
    assert reader.status == "finished"


def test_status_on_another_machine_depends_on_the_age_of_the_files(folder):
    (folder / "summary.json").unlink()
    update_json(folder, "environment.json", host="elsewhere")
    assert RunReader(folder).status == "running"
    for name in ("history.jsonl", "config.yaml"):
        os.utime(folder / name, (time.time() - 400,) * 2)
    assert RunReader(folder).status == "stale"
    records = (folder / "history.jsonl").read_text().splitlines()
    slow = json.dumps(json.loads(records[-1]) | {"seconds": 100.0})
    (folder / "history.jsonl").write_text("\n".join([*records[:-1], slow]) + "\n")
    os.utime(folder / "history.jsonl", (time.time() - 400,) * 2)
    assert RunReader(folder).status == "running"


def test_lengthened_run_knows_its_initial_epochs(tmp_path):
    config = compose_config([*QUICK_OVERRIDES, "epochs=1"])
    run(config, tmp_path / "run")
    resume_run(tmp_path / "run", config, "2")
    record = RunReader(tmp_path / "run").record()
    assert (record["initial_epochs"], record["planned_epochs"]) == (1, 2)
    assert len(record["sessions"]) == 2


RECORD_KEYS = (
    "epoch", "val/loss", "val/accuracy", "train/accuracy", "seconds", "status", "test/accuracy",
    "best/epoch", "confusion_matrix", "class_names", "f1", "val/confusion_matrix", "sessions",
    "packages", "git", "command", "host", "started_at", "initial_epochs", "cpu_count",
)  # fmt: skip
records = st.dictionaries(st.sampled_from(RECORD_KEYS), json_values, max_size=10)


@fuzz_settings
@given(summary=records, environment=records, lines=st.lists(records, max_size=4))
def test_any_json_gives_a_record(original_run, tmp_path, summary, environment, lines):
    folder = shutil.copytree(original_run, tmp_path / "run", dirs_exist_ok=True)
    update_json(folder, "summary.json", **summary)
    update_json(folder, "environment.json", **environment)
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    reader = RunReader(folder)
    received, curves = round_trip(reader.record()), round_trip(reader.curves())
    assert not reader.update()
    assert received["num_epochs"] == len(curves["epochs"])


@fuzz_settings
@given(
    lines=st.lists(records | json_values, max_size=6),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    tail=st.binary(max_size=3),
)
def test_history_does_not_depend_on_when_it_is_read(tmp_path, lines, cuts, tail):
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines) + tail
    file, incremental = tmp_path / "history.jsonl", HistoryReader(tmp_path)
    file.unlink(missing_ok=True)
    for cut in [*sorted(cuts), 1.0]:
        with file.open("ab") as handle:
            handle.write(content[handle.tell() : int(cut * len(content))])
        incremental.update()
    whole = HistoryReader(tmp_path)
    whole.update()
    assert incremental.epochs == whole.epochs
    assert incremental.is_damaged == whole.is_damaged
    assert set(incremental.columns) == set(whole.columns)
    assert all(incremental.column(key) == whole.column(key) for key in whole.columns)


def test_number_of_columns_is_limited(tmp_path):
    lines = [json.dumps({f"key{number}": 1.0}) for number in range(1000)]
    (tmp_path / "history.jsonl").write_text("\n".join(lines) + "\n")
    history = HistoryReader(tmp_path)
    history.update()
    assert len(history.epochs) == 1000
    assert len(history.columns) == 200
    assert len(history.column("key7")) == 1000


@pytest.mark.parametrize(
    "line", ["seconds: 2026-01-01", "x: !!binary aGk=", "? [1]\n: 2", "a: &b 1"]
)
def test_config_with_other_types_of_yaml(folder, line):
    with (folder / "config.yaml").open("a") as file:
        file.write(f"more:\n  {line}\n")
    try:
        record = RunReader(folder).record()
    except UserError as error:
        assert "is damaged" in str(error)
    else:
        assert round_trip(record)["settings"]


def test_times_that_add_up_to_infinity_are_unknown(folder):
    (folder / "summary.json").unlink()
    lines = [json.dumps({"epoch": epoch, "seconds": 1e308}) for epoch in range(3)]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    assert RunReader(folder).record()["training_seconds"] is None


@given(value=json_values)
def test_json_is_parsed_as_by_the_standard_library(value):
    text = json.dumps(value)
    assert repr(parse_json(text)) == repr(json.loads(text))
