from __future__ import annotations

import json

import numpy as np
import pytest

from tests.conftest import BENCHMARK_SCRIPT


@pytest.mark.soak
def test_benchmark_compares_samplers(workdir):
    result = workdir.run(BENCHMARK_SCRIPT, "--quick", "--samplers", "1", "--json", "samplers.json")
    assert result.returncode == 0, result.stderr
    rows = json.loads((workdir.path / "samplers.json").read_text())
    assert len(result.stdout.splitlines()) == 1 + len(rows)
    (row,) = rows
    assert 0 <= row["best_values"]["gp"] < row["best_values"]["random"]
    assert row["seconds"] > 0


@pytest.mark.soak
def test_benchmark_prints_and_saves_time_ratios(workdir):
    result = workdir.run(BENCHMARK_SCRIPT, "--quick", "--rounds", "1", "--json", "ratios.json")
    assert result.returncode == 0, result.stderr
    rows = json.loads((workdir.path / "ratios.json").read_text())
    assert {"matrix products", "scikit-learn", "bare script"} <= {row["baseline"] for row in rows}
    assert len(result.stdout.splitlines()) == 1 + len(rows)
    for row in rows:
        assert row.keys() == {"task", "baseline", "ratio", "low", "high"}
        assert row["task"].keys() == {"name", "batch_size", "optimizer"}
        assert 0 < row["low"] <= row["ratio"] <= row["high"]


@pytest.mark.soak
def test_benchmark_compares_replicates_on_recorded_runs(workdir):
    args = ["--quick", "--replicates", "table.npz", "--json", "regrets.json"]
    result = workdir.run(BENCHMARK_SCRIPT, *args)
    assert result.returncode == 0, result.stderr
    rows = json.loads((workdir.path / "regrets.json").read_text())
    assert {row["strategy"] for row in rows} >= {"one seed", "3 seeds, racing", "3 seeds"}
    for row in rows:
        assert row["regret"] >= 0
        if (row["strategy"], row["selection"]) == ("one seed", "observed best"):
            assert row["ratio"] in (None, [1, 1, 1])
    with np.load(workdir.path / "table.npz") as content:
        grid, curves = content["grid"], content["curves"]
    np.savez(workdir.path / "table.npz", grid=grid, curves=curves[:, :-2])
    continued = workdir.run(BENCHMARK_SCRIPT, *args)
    assert continued.stdout.count("recorded") == 2
    assert json.loads((workdir.path / "regrets.json").read_text()) == rows


def test_only_a_table_of_the_same_grid_is_continued(workdir):
    path = workdir.path / "table.npz"
    for write, message in (
        (lambda: path.write_text("no table"), "this is not a table of recorded runs"),
        (lambda: np.savez(path, grid="[]", curves=np.zeros((3, 2, 4))), "this table is of another"),
    ):
        write()
        result = workdir.run(BENCHMARK_SCRIPT, "--quick", "--replicates", "table.npz")
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert message in result.stderr


@pytest.mark.soak
def test_benchmark_of_search_repeats_itself_and_counts_sweeps_that_never_reach_the_target(workdir):
    args = ["--quick", "--search", "tables", "--json", "search.json"]
    result = workdir.run(BENCHMARK_SCRIPT, *args)
    assert result.returncode == 0, result.stderr
    rows = json.loads((workdir.path / "search.json").read_text())
    epoch_rows = [row for row in rows if "epochs" in row]
    regret_rows = [row for row in rows if "condition" in row]
    assert {row["strategy"] for row in epoch_rows} >= {"random, full", "bayes, asha"}
    selections = {row["selection"] for row in epoch_rows}
    assert selections == {"tried", "observed", "present", "recommended"}
    for row in epoch_rows:
        assert (row["epochs"] is None) == (row["never"] > 0.5)
        assert row["regret"] >= 0
        if row["strategy"] == "random, full":
            assert row["ratio"] in (None, [1, 1, 1])
    assert {row["condition"] for row in regret_rows} == {"plain", "10 % outliers", "16 workers"}
    for row in regret_rows:
        assert row["ratio"][1] <= row["ratio"][2]
        if (row["sampler"], row["condition"]) == ("random", "plain"):
            assert row["ratio"] == [1, 1, 1]
    continued = workdir.run(BENCHMARK_SCRIPT, *args)
    assert "recorded" not in continued.stdout
    assert json.loads((workdir.path / "search.json").read_text()) == rows


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--rounds 0", "argument --rounds: 0 must be a whole number, at least 1"),
        ("--samplers none", "argument --samplers: none must be a whole number, at least 1"),
        ("--replicates .", "--replicates .: no file can be written there"),
        ("--search absent/tables", "--search absent/tables: no files can be written there"),
        ("--surfaces 3", "argument --surfaces: this option was renamed; use --samplers"),
        ("--json .", "--json .: no file can be written there"),
        ("--json absent/ratios.json", "--json absent/ratios.json: no file can be written there"),
    ],
)
def test_usage_errors_are_reported_before_measuring(workdir, args, message):
    result = workdir.run(BENCHMARK_SCRIPT, *args.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
