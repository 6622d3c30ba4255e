"""The index lists runs and sweeps with what is known of each, without comparing data sets."""

from __future__ import annotations

import os
import shutil

import pytest
import yaml

from nn.errors import UserError
from nn.report.build import ReportOptions, build_report
from nn.report.data.index import IndexReader
from nn.report.pages import index as index_page
from nn.report.pages.index import build_index_page
from tests.report.factories import XSS_STRING, make_run, make_sweep, update_json


@pytest.fixture(scope="module")
def original_run(tmp_path_factory):
    overrides = ["+tracking.name=baseline", "+tracking.tags=[a,b]", "lr=0.01"]
    return make_run(tmp_path_factory.mktemp("original") / "run", *overrides)


@pytest.fixture
def folder(original_run, tmp_path):
    shutil.copytree(original_run, tmp_path / "runs/first")
    make_sweep(tmp_path / "runs/s", 4)
    return tmp_path / "runs"


def build_page(folder, page_url=lambda path: f"{path.name}/report.html"):
    return build_index_page(IndexReader(folder), page_url)


def read_rows(page):
    """Return the rows of the table as dictionaries by path."""
    table = page.tables["index"]
    keys = [column.key for column in table.columns]
    return {name: dict(zip(keys, row, strict=True)) for name, row in table.rows.items()}


def shown_columns(page):
    return [column.title for column in page.tables["index"].columns if column.is_shown]


def change_config(run, **changes):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | changes))
    return config


def test_runs_have_epochs_and_sweeps_have_trials(folder):
    rows = read_rows(build_page(folder))
    assert (rows["first"]["num_epochs"], rows["first"]["num_trials"]) == (3, None)
    assert (rows["s"]["num_epochs"], rows["s"]["num_trials"]) == (None, 4)
    assert (rows["first"]["kind"], rows["s"]["kind"]) == ("run", "sweep")


def test_newest_comes_first(folder):
    table = build_page(folder).tables["index"]
    assert table.sort == "-started_at"
    assert "started_at" in [column.key for column in table.columns]


def test_sweep_has_the_best_value_of_its_metric(folder):
    row = read_rows(build_page(folder))["s"]
    assert row["metric"] == "val/loss"
    assert 0 < row["value"] == row["val/loss"] < 1
    assert row["curve"] == sorted(row["curve"], reverse=True)


def test_names_tags_scores_and_settings_are_columns(folder):
    page = build_page(folder)
    row = read_rows(page)["first"]
    assert (row["name"], row["tags"], row["lr"]) == ("baseline", "a, b", 0.01)
    assert (row["model"], row["dataset"], row["status"]) == ("mlp", "digits", "finished")
    assert {"test/loss", "optimizer.momentum", "batch_size"} <= row.keys()
    assert not row.keys() & {"model.depth", "model._target_", "tracking.name"}
    assert row["command"].endswith("first")
    shown = shown_columns(page)
    assert shown[:3] == ["Directory", "Val. accuracy", "Test accuracy"]
    assert not {"lr", "Command", "Group"} & {*shown}


def test_columns_without_values_are_hidden(original_run, tmp_path):
    run = shutil.copytree(original_run, tmp_path / "runs/run")
    tracking = change_config(run)["tracking"]
    change_config(run, tracking=tracking | {"name": None, "tags": []})
    shown = shown_columns(build_page(tmp_path / "runs"))
    assert not {"Name", "Tags", "Trials", "Metric"} & {*shown}


def test_accuracies_are_compared_per_data_set(folder):
    other = shutil.copytree(folder / "first", folder / "other")
    choices = change_config(other)["choices"]
    change_config(other, choices=choices | {"dataset": "mnist"})
    update_json(other, "summary.json", **{"test/accuracy": 0.25})
    html = build_page(folder).render_content()
    assert "Highest test accuracy per data set" in html
    assert "25.00 % on mnist (other)" in " ".join(html.split())


def test_rows_of_a_static_index_without_a_page_link_to_their_directory(folder):
    (folder / "first/report.html").write_text("")
    build_report(ReportOptions([folder], folder / "index.html"))
    html = (folder / "index.html").read_text()
    assert '["first","first/report.html"]' in html
    assert '["s","s/"]' in html
    assert "--live" in html
    assert "--live" not in build_page(folder).render_content()


def test_curves_of_all_rows_are_bounded(folder, monkeypatch):
    curves = build_page(folder).tables["index"].curves
    assert set(curves) == {"first"}
    assert curves["first"]["epoch"] == [1, 2, 3]
    assert {"seconds", "samples", "val/loss", "val/accuracy"} <= curves["first"].keys()
    assert len({len(values) for values in curves["first"].values()}) == 1
    monkeypatch.setattr(index_page, "MAX_CURVE_VALUES", 5)
    assert build_page(folder).tables["index"].curves["first"]["epoch"] == [1, 3]


def test_columns_are_limited(folder, monkeypatch):
    monkeypatch.setattr(index_page, "MAX_COLUMNS", 5)
    assert len(build_page(folder).tables["index"].columns) < 32


def test_unreadable_directory_is_a_notice(folder):
    (folder / "first/config.yaml").write_text("lr: [")
    assert "first/config.yaml is damaged" in build_page(folder).render_content()


def test_empty_directory(tmp_path):
    assert "No runs or sweeps yet." in build_page(tmp_path).render_content()
    with pytest.raises(UserError, match="no runs or sweeps found"):
        build_report(ReportOptions([tmp_path]))


def test_hostile_names_and_values_stay_text(folder, monkeypatch):
    monkeypatch.setattr("nn.report.page.read_asset", lambda name: "")
    run = folder / os.fsdecode(b"<img src=x>\xff'\"")
    shutil.copytree(folder / "first", run)
    choices = change_config(run)["choices"]
    change_config(
        run,
        choices=choices | {"dataset": XSS_STRING, "model": {"x": [XSS_STRING]}},
        tracking={"name": XSS_STRING, "tags": [XSS_STRING], "group": XSS_STRING},
        lr=float("nan"),
        **{XSS_STRING: {"status": XSS_STRING}},
    )
    build_report(ReportOptions([folder]))
    html = (folder / "report.html").read_text()
    assert "<img" not in html
    assert "&lt;img src=x" in html
    assert "\\u003cimg src=x" in html
