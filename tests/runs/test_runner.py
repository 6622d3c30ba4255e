"""A run records how it ended, whenever that happens."""

from __future__ import annotations

import inspect
import json
import signal
import sys
from pathlib import Path

import pytest

import nn
from nn.config.compose import compose_config
from nn.runs.runner import run

PACKAGE = str(Path(nn.__file__).parent)


def interrupt_at_call(number, config, path):
    """Run with Ctrl-C at the n-th call of a project function; return whether it was sent.

    Calls are counted from where the run starts writing, except those of generators: in one
    that is closed while it is deleted, Python drops every exception.
    """
    calls = 0

    def count(frame, event, _arg):
        nonlocal calls
        code = frame.f_code
        is_function = event == "call" and not code.co_flags & inspect.CO_GENERATOR
        if not is_function or not code.co_filename.startswith(PACKAGE):
            return
        if calls or code.co_name == "collect_environment":
            calls += 1
            if calls == number:
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(count)
    try:
        run(config, path)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


@pytest.mark.parametrize(("shards", "stride"), [(1, 11), (2, 17)])
def test_ctrl_c_at_any_moment_leaves_no_run_or_an_interrupted_one(tmp_path, shards, stride):
    config = compose_config(
        [
            "tracking=disabled",
            "model.hidden=[4]",
            "epochs=2",
            "batch_size=all",
            "dataset.max_samples=300",
            f"shards={shards}",
        ]
    )
    statuses, number = [], 1
    while interrupt_at_call(number, config, folder := tmp_path / f"{number}"):
        if (folder / "config.yaml").exists():
            statuses.append(json.loads((folder / "summary.json").read_text())["status"])
        else:
            assert not folder.exists()
        number += stride
    assert len(statuses) > 20
    assert statuses == sorted(statuses, reverse=True)
    assert set(statuses) == {"interrupted", "finished"}
