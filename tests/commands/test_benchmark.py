from __future__ import annotations

import json

import pytest

from tests.conftest import ROOT

SCRIPT = str(ROOT / "scripts/benchmark.py")


def test_the_benchmark_holds_searches_against_each_other(workplace):
    done = workplace.run(SCRIPT, "--quick", "--samplers", "1", "--json", "samplers.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((workplace.path / "samplers.json").read_text())
    assert len(done.stdout.splitlines()) == 1 + len(rows)
    (row,) = rows
    assert 0 <= row["best_values"]["gp"] < row["best_values"]["random"]
    assert row["seconds"] > 0


def test_the_benchmark_tells_ratios_to_people_and_to_machines(workplace):
    done = workplace.run(SCRIPT, "--quick", "--rounds", "1", "--json", "ratios.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((workplace.path / "ratios.json").read_text())
    assert {"matrix products", "scikit-learn", "bare script"} <= {row["baseline"] for row in rows}
    assert len(done.stdout.splitlines()) == 1 + len(rows)
    for row in rows:
        assert row.keys() == {"task", "baseline", "ratio", "low", "high"}
        assert row["task"].keys() == {"name", "batch_size", "optimizer"}
        assert 0 < row["low"] <= row["ratio"] <= row["high"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--rounds 0", "argument --rounds: 0 must be a whole number, at least 1"),
        ("--samplers none", "argument --samplers: none must be a whole number, at least 1"),
        ("--surfaces 3", "argument --surfaces: this option was renamed; use --samplers"),
        ("--json .", "--json .: no file can be written there"),
        ("--json absent/ratios.json", "--json absent/ratios.json: no file can be written there"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(workplace, words, told):
    done = workplace.run(SCRIPT, *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
