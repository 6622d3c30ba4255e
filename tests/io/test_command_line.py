"""A suggested command is written as the user started the present one."""

from __future__ import annotations

import pytest

from nn.io.command_line import format_command


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("scripts/sweep.py", "python scripts/train.py 'resume=my run'"),
        ("../my clone/scripts/train.py", "python '../my clone/scripts/train.py' 'resume=my run'"),
        ("train.py", "python train.py 'resume=my run'"),
        ("/nowhere/bin/nn-sweep", "/nowhere/bin/nn-train 'resume=my run'"),
        ("/usr/lib/ipykernel_launcher.py", "python scripts/train.py 'resume=my run'"),
    ],
)
def test_program_is_that_of_the_current_command(started, expected, monkeypatch):
    monkeypatch.setattr("sys.argv", [started])
    assert format_command("train", "resume=my run") == expected


def test_console_command_on_the_path_needs_no_directory(tmp_path, monkeypatch):
    (tmp_path / "nn-train").write_text("#!/bin/sh\n")
    (tmp_path / "nn-train").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [str(tmp_path / "nn-report")])
    assert format_command("train", "resume=run") == "nn-train resume=run"
