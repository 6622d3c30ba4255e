from __future__ import annotations

import pytest
import yaml

from tests.conftest import ROOT

FILES = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_ends_of_a_sweeps_ranges_are_settings_that_train(workplace, file):
    sweep = yaml.safe_load(file.read_text())
    assert sweep["command"][-1] == "${args_no_hyphens}"
    assert (ROOT / sweep["program"]).exists()
    for pick in (0, -1):
        words = []
        for name, parameter in sweep["parameters"].items():
            values = parameter.get("values") or [parameter["min"], parameter["max"]]
            words.append(f"{name}={values[pick]}")
        done = workplace.train("epochs=1", *words)
        assert done.returncode == 0, done.stderr
    assert all(sweep["metric"]["name"] in line for run in workplace.runs for line in run.history)
