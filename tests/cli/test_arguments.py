"""An option of an earlier version is refused with its present name."""

from __future__ import annotations

from importlib import import_module

import pytest

from nn.cli.arguments import RENAMED_OPTIONS


@pytest.mark.parametrize("command", ["predict", "report", "sweep"])
def test_renamed_option_is_refused_with_its_new_name(command, capsys, monkeypatch):
    main = import_module(f"nn.cli.{command}").main
    for option, new_name in RENAMED_OPTIONS[command].items():
        for arguments in ([option], [option, "3"], [f"{option}=3"]):
            monkeypatch.setattr("sys.argv", [command, *arguments, "runs/digits", "images.npy"])
            with pytest.raises(SystemExit) as exit_info:
                main()
            assert exit_info.value.code == 2
            sentence = f"argument {option}: this option was renamed; use {new_name}\n"
            assert capsys.readouterr().err.endswith(sentence)
    monkeypatch.setattr("sys.argv", [command, "--help"])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().out
    assert all(f"{option} " not in printed for option in RENAMED_OPTIONS[command])
