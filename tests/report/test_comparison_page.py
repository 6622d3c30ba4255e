"""The comparison shows what differs between runs: settings, curves, classes and predictions."""

from __future__ import annotations

import shutil

import pytest
import yaml

from nn.report.data.comparison import ComparisonReader
from nn.report.data.run import RunReader
from nn.report.pages.comparison import build_comparison_page
from tests.report.factories import XSS_STRING, make_run, replace_classes, update_json


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs")
    return [make_run(directory / "one", "lr=0.0123456789"), make_run(directory / "two", "lr=0.003")]


def build_page(paths):
    comparison = ComparisonReader([RunReader(path) for path in paths])
    return build_comparison_page(comparison, lambda path: f"{path.name}.html")


def get_text(page):
    return " ".join(page.render_content().split())


def change_config(run, **changes):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | changes))


def test_settings_have_at_most_six_digits(runs):
    page = build_page(runs)
    assert page.tables["settings"].rows["lr"] == ["lr", "0.0123457", "0.003"]
    assert "1 setting differs." in get_text(page)


def test_scores_are_explorable_with_settings_and_curves(runs):
    table = build_page(runs).tables["scores"]
    titles = [column.title for column in table.columns]
    assert titles[:3] == ["Run", "Val. accuracy", "Test accuracy"]
    assert table.rows["one"][0] == ["one", "one.html"]
    assert table.rows["one"][titles.index("lr")] == 0.0123456789
    assert table.is_explorable
    assert {"epoch", "seconds", "samples", "val/loss"} <= table.curves["two"].keys()


def test_best_run_is_named_only_for_equal_data_sets(runs, tmp_path):
    assert "has the highest test accuracy" in get_text(build_page(runs))
    other = shutil.copytree(runs[1], tmp_path / "other")
    config = yaml.safe_load((other / "config.yaml").read_text())
    change_config(other, choices=config["choices"] | {"dataset": "mnist"})
    assert "has the highest" not in get_text(build_page([runs[0], other]))


def test_curves_have_x_axes_per_run(runs):
    chart = build_page(runs).charts["val-loss"]
    assert [*chart.x_axes] == ["epoch", "seconds", "samples"]
    assert [len(values) for values in chart.x_axes["samples"]] == [3, 3]
    assert chart.has_log_scale
    assert chart.has_smoothing


def test_classes_have_the_f1_score_of_each_run(runs):
    page = build_page(runs)
    rows = [*page.tables["classes"].rows.values()]
    differences = [row[-1] for row in rows]
    assert differences == sorted(differences, reverse=True)
    assert all(row[-1] == pytest.approx(abs(row[1] - row[2])) for row in rows)


def test_samples_on_which_runs_disagree_have_the_prediction_of_each_run(runs):
    page = build_page(runs)
    disagreements = page.context["details"]["disagreements"]
    text = get_text(page)
    assert disagreements
    assert text.count('alt="sample ') == len(disagreements)
    assert text.count('<i class="swatch"') == 2 * len(disagreements) + 4  # and two legends


def test_runs_of_other_samples_are_not_compared_by_sample(runs, tmp_path):
    other = make_run(tmp_path / "other", "seed=1")
    assert "were evaluated on different samples" in get_text(build_page([runs[0], other]))


def test_matrices_are_aligned(runs, tmp_path):
    long_name = shutil.copytree(runs[0], tmp_path / ("long" * 30))
    charts = build_page([long_name, *runs]).charts
    matrices = [chart for name, chart in charts.items() if name.startswith("confusion")]
    assert len(matrices) == 3
    assert len({chart.height for chart in matrices}) == 1
    assert not any(chart.legend for chart in matrices)


def test_shown_names_are_the_parts_of_the_paths_that_differ(runs, tmp_path):
    twins = [shutil.copytree(runs[0], tmp_path / name / "run") for name in ("a", "b")]
    assert build_page([*twins, runs[1]]).context["names"][:2] != ["run", "run"]
    assert build_page([twins[0], runs[1]]).context["names"] == ["run", "two"]


def test_unfinished_and_damaged_runs_are_named(runs, tmp_path):
    other = shutil.copytree(runs[0], tmp_path / "other")
    update_json(other, "summary.json", status="diverged")
    assert "other: diverged." in get_text(build_page([other, runs[0]]))
    (other / "summary.json").write_text("{")
    assert "summary.json cannot be read." in get_text(build_page([other, runs[0]]))


def test_hostile_names_and_values_stay_text(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("nn.report.page.read_asset", lambda name: "")
    others = [
        shutil.copytree(runs[0], tmp_path / name) for name in ("<img src=x>", "' onload='alert(1)")
    ]
    for other in others:
        replace_classes(other)
    change_config(others[0], choices={"dataset": XSS_STRING}, lr=XSS_STRING, width=float("nan"))
    html = build_page(others).to_html()
    assert "<img src=x" not in html
    assert "&lt;img src=x" in html
