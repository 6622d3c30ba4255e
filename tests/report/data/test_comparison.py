"""A comparison lists what differs between runs, and follows them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml

from nn.errors import UserError
from nn.report.data.comparison import ComparisonReader
from nn.report.data.run import RunReader
from tests.report.data.hostile import assert_plain_json
from tests.report.factories import append_epoch, make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs")
    return [make_run(directory / "one"), make_run(directory / "two", "lr=0.003")]


def compare(paths):
    return ComparisonReader([RunReader(path) for path in paths])


def test_settings_that_differ_are_listed_once(runs, tmp_path):
    other = shutil.copytree(runs[0], tmp_path / "other")
    config = yaml.safe_load((other / "config.yaml").read_text())
    config |= {"depth": 7, "checkpoint_every": 1234.0}
    config["model"]["depth"] = 7
    config["tracking"]["notes"] = "new"
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    settings = compare([runs[0], other]).record()["settings"]
    assert [setting["name"] for setting in settings] == ["depth"]
    names = [setting["name"] for setting in compare(runs).record()["settings"]]
    assert "lr" in names
    assert "optimizer.lr" not in names


def test_samples_on_which_runs_disagree(runs):
    comparison = compare(runs)
    record, details = comparison.record(), comparison.details()
    assert_plain_json([record, details])
    assert comparison.run_names == ["one", "two"]
    correct = [
        p.probabilities.argmax(axis=1) == p.labels
        for p in (run.predictions for run in comparison.runs)
    ]
    assert details["num_disagreements"] == np.count_nonzero(correct[0] != correct[1]) > 0
    for first, second in details["disagreements"]:
        assert first["index"] == second["index"]
        assert (first["predicted"] == first["label"]) != (second["predicted"] == second["label"])
    f1 = [each["f1"] for each in record["classes"]]
    spreads = [0.0 if None in pair else abs(pair[0] - pair[1]) for pair in f1]
    assert spreads == sorted(spreads, reverse=True)


def test_runs_of_other_samples_are_not_compared(runs, tmp_path):
    other = make_run(tmp_path / "other", "dataset.max_samples=300")
    details = compare([runs[0], other]).details()
    assert (details["runs"], details["num_samples"]) == ([], 0)
    assert compare([runs[0], other, runs[1]]).details()["runs"] == [0, 2]


def test_update_reads_all_runs(runs, tmp_path):
    copies = [shutil.copytree(path, tmp_path / path.name) for path in runs]
    comparison = compare(copies)
    assert not comparison.update()
    for path in copies:
        append_epoch(path, 4)
    assert comparison.update()
    assert not comparison.update()
    assert [run.curves()["epochs"][-1] for run in comparison.runs] == [4, 4]


def test_same_run_is_refused(runs):
    with pytest.raises(UserError, match="given twice"):
        compare([runs[0], runs[0]])
