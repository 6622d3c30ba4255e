"""Pages, tables and charts group runs that differ in their seed only."""

from __future__ import annotations

import json
import shutil
from statistics import mean

import pytest
import yaml

from nn.cli.report import main
from nn.errors import UserError
from nn.report.build import ReportOptions, build_report
from nn.report.compare import print_differences
from nn.report.data.comparison import ComparisonReader
from nn.report.data.index import IndexReader, open_reader
from nn.report.data.run import RunReader
from nn.report.data.setting import read_setting
from nn.report.data.sweep import SweepReader
from nn.report.export import build_score_table, format_csv
from nn.report.pages.comparison import build_comparison_page
from nn.report.pages.index import build_index_page
from nn.report.pages.sweep import build_sweep_page
from tests.report.factories import make_run, make_sweep
from tests.report.report_page import ReportPage

SEED_CONFIG = {
    "method": "grid",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {"lr": {"values": [0.01, 0.03, 0.1]}, "seed": {"values": [0, 1, 2, 3]}},
}


def replicated(folder):
    """A sweep of five points with three seeds each."""
    return make_sweep(folder, 5, replicates=3), 5, 3


def wandb_style(folder):
    """A sweep whose file has the seed as a parameter."""
    return make_sweep(folder, 12, sweep_config=SEED_CONFIG), 3, 4


@pytest.fixture(scope="module", params=[replicated, wandb_style])
def sweep(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("sweep") / "s")


def get_table(page, name):
    head, rows = page.payload["tables"][name]
    keys = [column["key"] for column in head["columns"]]
    return head, [dict(zip(keys, row[0], strict=True)) for row in rows.values()]


def test_trials_of_a_sweep_are_grouped_by_point(sweep):
    folder, num_points, num_seeds = sweep
    page = ReportPage(build_sweep_page(SweepReader(folder), lambda _: None))
    head, rows = get_table(page, "trials")
    assert head["groupBy"] == "point"
    assert len({row["point"] for row in rows}) == num_points
    assert {row["num_seeds"] for row in rows} == {num_seeds}
    assert {row["seed"] for row in rows} == {*map(str, range(num_seeds))}
    for name in {row["point"] for row in rows}:
        members = [row for row in rows if row["point"] == name]
        values = [row["objective"] for row in members]
        assert [row["mean"] for row in members] == pytest.approx([mean(values)] * num_seeds)
        assert len({row["rank"] for row in members}) == 1
        assert members[0]["standard_error"] > 0
    assert f"{num_points} points over" in page.text
    assert f"with up to {num_seeds} seeds" in page.text


def test_charts_of_a_sweep_have_a_line_per_point_and_no_seed(sweep):
    folder, num_points, num_seeds = sweep
    page = ReportPage(build_sweep_page(SweepReader(folder), lambda _: None))
    (lines,) = page.charts["parallel"]["data"]
    assert {len(axis["values"]) for axis in lines["dimensions"]} == {num_points}
    assert "seed" not in [axis["label"] for axis in lines["dimensions"]]
    assert [len(rows) for rows in page.charts["parallel"]["rows"]] == [num_seeds] * num_points
    bands = [each for each in page.charts["curves"]["data"] if each.get("fill") == "toself"]
    assert len(bands) == min(5, num_points)
    assert "seed" not in SweepReader(folder).details()["importances"]


def test_score_table_of_a_sweep_has_a_row_per_point(sweep):
    folder, num_points, num_seeds = sweep
    table = build_score_table(open_reader([folder]))
    assert [row.num_seeds for row in table.rows] == [num_seeds] * num_points
    assert "seed" not in table.settings
    assert format_csv(table).splitlines()[0].startswith(f"name,{','.join(table.settings)},seeds,")


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory):
    """Runs of two settings with three seeds each, as of a multirun."""
    folder = tmp_path_factory.mktemp("multirun")
    original = make_run(folder / "0", "epochs=2")
    for number in range(1, 6):
        run = shutil.copytree(original, folder / str(number))
        config = yaml.safe_load((run / "config.yaml").read_text())
        changes = {"seed": number % 3, "lr": 0.055 if number < 3 else 0.5}
        (run / "config.yaml").write_text(yaml.safe_dump(config | changes))
        summary = json.loads((run / "summary.json").read_text())
        summary["test/accuracy"] = 0.5 + number / 100 + 0.1 * (number > 2)
        (run / "summary.json").write_text(json.dumps(summary))
    return folder


def test_index_can_group_runs_by_everything_but_the_seed(runs_folder):
    page = ReportPage(build_index_page(IndexReader(runs_folder), lambda path: path.name))
    head, rows = get_table(page, "index")
    assert {"key": "settings", "title": "Everything but the seed"}.items() <= {
        key: value for column in head["columns"] for key, value in column.items()
        if column["key"] == "settings"
    }.items()  # fmt: skip
    assert head["groupBy"] is None
    assert sorted(row["settings"] for row in rows) == ["lr=0.055"] * 3 + ["lr=0.5"] * 3


def test_comparison_groups_its_scores_by_default_if_runs_differ_in_their_seed_only(runs_folder):
    def build(*names):
        reader = ComparisonReader([RunReader(runs_folder / name) for name in names])
        return ReportPage(build_comparison_page(reader, lambda path: path.name))

    head, rows = get_table(build(*"012345"), "scores")
    assert head["groupBy"] == "settings"
    assert {row["settings"] for row in rows} == {"lr=0.055", "lr=0.5"}
    assert get_table(build("0", "3"), "scores")[0]["groupBy"] is None
    charts = build(*"012345").charts
    assert [len(charts[name]["data"]) for name in ("val-loss", "val-accuracy")] == [4, 4]
    assert [trace["mode"] for trace in charts["val-loss"]["data"]] == ["none", "lines"] * 2


@pytest.fixture
def two_settings(runs_folder, tmp_path):
    """Two folders, each with three runs that differ in their seed only."""
    for number in range(6):
        shutil.copytree(runs_folder / str(number), tmp_path / "ab"[number // 3] / str(number))
    return tmp_path / "a", tmp_path / "b"


def test_settings_are_compared_by_seed(two_settings, capsys):
    print_differences(*two_settings)
    lines = capsys.readouterr().out.splitlines()
    assert "a (lr=0.055), finished seeds 0, 1 and 2" in lines[0]
    assert "b (lr=0.5), finished seeds 0, 1 and 2" in lines[1]
    (test_accuracy,) = (line for line in lines if line.startswith("Test accuracy"))
    assert test_accuracy.split()[-1] == "3"
    assert "pp to" in test_accuracy


def test_comparison_page_has_the_difference_of_two_settings(runs_folder):
    reader = ComparisonReader([RunReader(runs_folder / name) for name in "012345"])
    page = ReportPage(build_comparison_page(reader, lambda path: path.name))
    rows = {row["Score"]: row for row in get_table(page, "differences")[1]}
    assert rows["Test accuracy"]["Seeds"] == "3"
    assert "A is 0, 1 and 2; B is 3, 4 and 5." in page.text


def test_replicates_of_a_trial_are_a_setting(tmp_path, runs_folder):
    sweep = make_sweep(tmp_path / "s", 2, replicates=3)
    for number in range(6):
        source = runs_folder / str((number + 1) % 6)
        for name in ("config.yaml", "environment.json"):
            shutil.copy(source / name, sweep / f"trials/{number:04}")
    with pytest.raises(UserError, match="its runs differ in lr"):
        read_setting(sweep / "trials/0002")
    config = (runs_folder / "0/config.yaml").read_text()
    for number in (3, 4, 5):
        text = config.replace("seed: 0", f"seed: {number - 3}")
        (sweep / f"trials/{number:04}/config.yaml").write_text(text)
    runs = read_setting(sweep / "trials/0004")
    assert [run.path.name for run in runs] == ["0003", "0004", "0005"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "--compare: requires two directories, one per setting."),
        (["a", "none"], "none: no such directory."),
        (["a", "."], "its runs differ in lr; pass a folder whose runs differ in their seed only."),
        (["a", "a/0"], "The same run is given twice"),
        (["a/0", "b/4"], "has finished seed 0, b/4 has finished seed 1; finish a run of both"),
        (["a", "sweep"], "sweep: not a setting; pass a run, a folder of runs"),
        (["a", "empty"], "empty: no runs found."),
        (["a", "b", "--csv", "x.csv"], "--csv: cannot be combined with --compare."),
        (["a", "b", "--open"], "--compare: cannot be combined with"),
    ],
)
def test_settings_that_cannot_be_compared_are_refused(
    two_settings, monkeypatch, capsys, arguments, message
):
    folder = two_settings[0].parent
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "sweep").mkdir()
    (folder / "sweep/sweep.yaml").touch()
    monkeypatch.setattr("sys.argv", ["report.py", *arguments, "--compare"])
    assert main() == 2
    assert message in capsys.readouterr().err
    assert not [*folder.rglob("*.html"), *folder.glob("x.csv")]


def test_recommended_point_and_its_contenders_are_named(sweep):
    folder, num_points, _ = sweep
    reader = SweepReader(folder)
    page = ReportPage(build_sweep_page(reader, lambda _: None))
    found = reader.details()["recommendation"]
    _, rows = get_table(page, "trials")
    assert sum(found["probability_best"].values()) == pytest.approx(1)
    assert len(found["probability_best"]) == num_points
    assert f"The recommended point is {found['number']}" in page.text
    for row in rows:
        number = int(row["point"].removeprefix("point "))
        assert row["probability_best"] == pytest.approx(found["probability_best"][number], rel=1e-3)
        assert (row["recommendation"] == "recommended") == (number == found["number"])
        assert (row["recommendation"] == "contender") == (number in found["contenders"])


def test_sweep_with_one_seed_has_a_recommendation_but_no_groups(tmp_path):
    reader = SweepReader(make_sweep(tmp_path / "s", 6))
    page = ReportPage(build_sweep_page(reader, lambda _: None))
    head, rows = get_table(page, "trials")
    assert head["groupBy"] is None
    assert [row["recommendation"] for row in rows].count("recommended") == 1
    assert "The recommended trial is" in page.text


def test_point_with_a_failed_replicate_is_not_ranked(tmp_path):
    states = ("finished",) * 5 + ("diverged",)
    reader = SweepReader(make_sweep(tmp_path / "s", 2, replicates=3, states=states))
    first, second = reader.point_records()
    assert (first["rank"], first["num_seeds"]) == (1, 3)
    assert (second["rank"], second["value"], second["num_seeds"]) == (None, None, 2)


def test_best_points_have_pages_of_all_their_trials(tmp_path):
    sweep_dir = make_sweep(tmp_path / "s", 4, replicates=2)
    run = make_run(tmp_path / "run", "epochs=1")
    for trial in sweep_dir.glob("trials/*"):
        shutil.copytree(run, trial, dirs_exist_ok=True)
    build_report(ReportOptions([sweep_dir], num_trial_pages=1))
    (best,) = [point for point in SweepReader(sweep_dir).point_records() if point["rank"] == 1]
    pages = {int(page.parent.name) for page in sweep_dir.glob("trials/*/report.html")}
    assert pages == {*best["trials"]}
    assert len(pages) == 2
