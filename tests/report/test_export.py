"""Tables for papers: settings and scores, with the mean and the spread over seeds."""

from __future__ import annotations

import csv
import shutil

import pytest
import yaml

from nn.errors import UserError
from nn.report.build import ReportOptions, build_report
from nn.report.data.index import open_reader
from nn.report.export import build_score_table, format_csv, format_latex, format_markdown
from tests.report.factories import make_run, make_sweep, update_json


@pytest.fixture(scope="module")
def original_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("original") / "run", "epochs=1")


@pytest.fixture
def make_scored_run(original_run, tmp_path):
    """Return a function that writes a run with some settings and a test accuracy."""

    def make(name, accuracy, **settings):
        run = shutil.copytree(original_run, tmp_path / "runs" / name)
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump(config | settings))
        scores = {"test/accuracy": accuracy, "val/accuracy": accuracy}
        update_json(run, "summary.json", **scores, **{"val/loss": 0.123456, "test/loss": 1.0})
        return run

    return make


def read_csv(text):
    return list(csv.DictReader(text.splitlines()))


def test_runs_that_differ_only_in_their_seed_share_a_row(make_scored_run):
    runs = [
        make_scored_run("a", 0.90, lr=0.1, seed=0),
        make_scored_run("b", 0.94, lr=0.1, seed=1),
        make_scored_run("c", 0.99, lr=0.3, seed=0),
    ]
    table = build_score_table(open_reader(runs))
    assert table.settings == ["lr"]
    assert format_markdown(table).splitlines() == [
        "| lr | seeds | val/accuracy (%) | val/loss | test/accuracy (%) | test/loss |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 0.3 | 1 | 99.00 | 0.1235 | 99.00 | 1 |",
        "| 0.1 | 2 | 92.00 ± 2.83 | 0.1235 ± 0 | 92.00 ± 2.83 | 1 ± 0 |",
    ]
    assert r"0.1 & 2 & 92.00 $\pm$ 2.83" in format_latex(table)
    best, other = read_csv(format_csv(table))
    assert (best["name"], best["seeds"], best["test/accuracy std"]) == ("c", "1", "")
    assert float(other["test/accuracy"]) == pytest.approx(0.92)
    assert float(other["test/accuracy std"]) == pytest.approx(0.0282842712)


def test_runs_of_a_directory_are_ranked_within_their_data_set(make_scored_run, tmp_path):
    make_scored_run("a", 0.90, choices={"dataset": "mnist"})
    make_scored_run("b", 0.99, choices={"dataset": "mnist"})
    make_scored_run("c", 0.95, choices={"dataset": "digits"})
    make_sweep(tmp_path / "runs/s", 2)
    table = build_score_table(open_reader([tmp_path / "runs"]))
    assert [row.settings["dataset"] for row in table.rows] == ["digits", "mnist"]


def test_best_settings_of_a_sweep(tmp_path):
    sweep = make_sweep(tmp_path / "s", 12, states=("finished", "failed", "paused"))
    table = build_score_table(open_reader([sweep]), max_rows=3)
    assert {int(row.name) % 3 for row in table.rows} == {0}  # without those that are paused
    assert len(table.rows) == 3
    assert {*table.settings} == {"lr", "optimizer", "depth"}
    losses = [row.scores["val/loss"][0] for row in table.rows]
    assert losses == sorted(losses)
    assert table.scores == ["val/loss", "test/accuracy"]


def test_equal_runs_are_listed_by_name(make_scored_run):
    table = build_score_table(open_reader([make_scored_run("a_1", 0.5)]))
    assert format_markdown(table).splitlines()[2].startswith(r"| a\_1 | 50.00 |")


def test_hostile_values_are_escaped(make_scored_run):
    hostile = "\\input{x}[&%$#_^~<|`*\n\u202e=1+1"
    runs = [make_scored_run("a", 0.5, loss=hostile), make_scored_run("b", 0.4, loss="[b]")]
    table = build_score_table(open_reader(runs))
    latex = format_latex(table)
    assert r"\textbackslash{}input\{x\}{[}\&\%\$\#\_\textasciicircum{}\textasciitilde{}" in latex
    assert "\n{[}b] &" in latex  # \\ does not take it as its argument
    row = format_markdown(table).splitlines()[2]
    assert r"\\input\{x\}\[\&%\$\#\_^\~\<\|\`\*=1+1" in row
    assert read_csv(format_csv(table))[0]["loss"].startswith("\\input{x}[&")
    assert "\u202e" not in latex + row


def test_tables_are_written_together_or_not_at_all(make_scored_run, tmp_path, capsys):
    run = make_scored_run("a", 0.5)
    tables = {"latex": tmp_path / "t.tex", "csv": tmp_path / "t.csv", "markdown": tmp_path / "t.md"}
    build_report(ReportOptions([run], num_trial_pages=1, tables=tables))
    assert all(path.stat().st_size for path in tables.values())
    assert not (run / "report.html").exists()
    assert len(capsys.readouterr().out.splitlines()) == 3
    missing = {"latex": tmp_path / "new.tex", "csv": tmp_path / "no/new.csv"}
    with pytest.raises(UserError):
        build_report(ReportOptions([run], tables=missing))
    assert not missing["latex"].exists()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"csv": "runs/a/config.yaml"}, r"--csv=.*config.yaml: the file's name must end in \.csv"),
        ({"latex": "x.md"}, r"--latex=.*x.md: the file's name must end in \.tex"),
    ],
)
def test_file_of_another_kind_is_not_overwritten(make_scored_run, tmp_path, tables, message):
    run = make_scored_run("a", 0.5)
    before = (run / "config.yaml").read_text()
    paths = {name: tmp_path / path for name, path in tables.items()}
    with pytest.raises(UserError, match=message):
        build_report(ReportOptions([run], tables=paths))
    assert (run / "config.yaml").read_text() == before


def test_directory_without_scores_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no runs with scores found"):
        build_report(ReportOptions([tmp_path / "empty"], tables={"csv": tmp_path / "t.csv"}))
