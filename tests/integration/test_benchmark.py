from __future__ import annotations

import json

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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--rounds 0", "argument --rounds: 0 must be a whole number, at least 1"),
        ("--samplers none", "argument --samplers: none must be a whole number, at least 1"),
        ("--surfaces 3", "argument --surfaces: this option was renamed; use --samplers"),
        ("--json .", "--json .: no file can be written there"),
        ("--json absent/ratios.json", "--json absent/ratios.json: no file can be written there"),
    ],
)
def test_usage_errors_are_reported_before_measuring(workdir, args, message):
    result = workdir.run(BENCHMARK_SCRIPT, *args.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
