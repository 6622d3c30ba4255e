from __future__ import annotations

import json

from tests.conftest import ROOT


def test_the_benchmark_holds_searches_against_each_other(workplace):
    script = str(ROOT / "scripts/benchmark.py")
    done = workplace.run(script, "--quick", "--surfaces", "1", "--json", "searches.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((workplace.path / "searches.json").read_text())
    assert len(done.stdout.splitlines()) == 1 + len(rows)
    (row,) = rows
    assert 0 <= row["gp"] < row["random"]
    assert row["seconds"] > 0


def test_the_benchmark_tells_ratios_to_people_and_to_machines(workplace):
    script = str(ROOT / "scripts/benchmark.py")
    done = workplace.run(script, "--quick", "--rounds", "1", "--json", "ratios.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((workplace.path / "ratios.json").read_text())
    assert {"matrix products", "scikit-learn", "bare script"} <= {row["against"] for row in rows}
    assert len(done.stdout.splitlines()) == 1 + len(rows)
    for row in rows:
        keys = {"net", "batch", "optimizer", "against", "ratio", "low", "high"}
        assert row.keys() == keys
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
