"""Reproduction of a run compares it with a finished one only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nn.config.compose import compose_config
from nn.errors import UserError
from nn.runs.reproduce import reproduce_run
from nn.runs.runner import run


@pytest.mark.parametrize("status", ["pruned", "interrupted", None])
def test_only_a_finished_run_can_be_reproduced(tmp_path, monkeypatch, status):
    monkeypatch.chdir(tmp_path)
    config = compose_config(["epochs=1", "tracking=disabled"])
    summary = run(config, Path("run"), verbose=False)
    summary_file = Path("run/summary.json")
    if status is None:
        summary_file.unlink()
    else:
        summary_file.write_text(json.dumps({**summary, "status": status}))
    sentence = (
        f"reproduce=run: the run's status is {status or 'unfinished'}; "
        "only a finished run can be reproduced."
    )
    with pytest.raises(UserError, match=f"^{sentence}$"):
        reproduce_run(Path("run"), config)
    assert not Path("runs").exists()
