"""A shared page does not reveal the home directory where a shorter path suffices."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from nn.report.paths import (
    display_path,
    normalize_command,
    shorten_paths,
    strip_folder,
)


@pytest.fixture(autouse=True)
def home_dir(tmp_path, monkeypatch):
    home = tmp_path / "ann"
    (home / "code").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "code")
    return home


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{home}/data/mnist", "~/data/mnist"),
        ("root={home}", "root=~"),
        ("[{home}/a, {home}/b]", "[~/a, ~/b]"),
        ("{home}/code/runs/mine", "runs/mine"),
        ("file://x {home}/code.", "file://x ~/code."),
        ("dir={home}/code", "dir=."),
        ("{home}/codeshop/x", "~/codeshop/x"),
        ("{home}a/x", "{home}a/x"),
        ("/mnt{home}/x", "/mnt{home}/x"),
        ("/home/bob/nn/train.csv", "~/nn/train.csv"),
        ("root: '/Users/Zoë/data'", "root: '~/data'"),
        ("/data/home/bob/x", "/data/home/bob/x"),
        ("/srv/mnist", "/srv/mnist"),
        ("runs/mine ~/x 1/2 a/home/b", "runs/mine ~/x 1/2 a/home/b"),
    ],
)
def test_paths_are_shortened_to_the_working_or_home_directory(home_dir, text, expected):
    assert shorten_paths(text.format(home=home_dir)) == expected.format(home=home_dir)


@pytest.mark.parametrize("folder", ["/", "/home"])
def test_working_directory_may_be_above_home_directories(folder, monkeypatch):
    monkeypatch.setattr(Path, "cwd", lambda: Path(folder))
    assert shorten_paths("/home/bob/x /srv/y") == "~/x /srv/y"


def test_directories_elsewhere_are_shown_by_name(home_dir, tmp_path):
    assert display_path(home_dir / "code/runs/mine") == "runs/mine"
    assert display_path(home_dir / "runs/mine") == "~/runs/mine"
    assert display_path(tmp_path / "runs/mine") == "mine"


def test_messages_name_files_relative_to_their_directory(home_dir):
    folder = home_dir / "code/sweep"
    for prefix in (folder, "sweep"):
        text = strip_folder(f"{prefix}/trials/0001 already holds a run.", folder)
        assert text == "trials/0001 already holds a run."


@pytest.mark.parametrize("odd", ["it's", 'a "b" c', "a$b", "a\\b", "a b", "a`b"])
def test_shell_parses_the_shortened_command_into_the_same_arguments(home_dir, odd):
    args = ["printf", "%s\\n", f"root={home_dir}/{odd}", f"{home_dir}/x", f"a={odd}", "b=$HOME"]
    line = normalize_command(shlex.join(args))
    assert str(home_dir) not in line
    result = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == args[2:]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python {home}/nn/scripts/train.py lr=0.1", "python scripts/train.py lr=0.1"),
        ("python /opt/nn/scripts/sweep.py a.yaml", "python scripts/sweep.py a.yaml"),
        ("python scripts/train.py 'a=[1, 2]'", "python scripts/train.py 'a=[1, 2]'"),
        ("python3 /opt/env/bin/nn-train lr=0.1", "nn-train lr=0.1"),
        ("/opt/env/bin/nn-train lr=0.1", "nn-train lr=0.1"),
        ("python x.py hydra.run.dir={home}/r", 'python x.py "hydra.run.dir=$HOME/r"'),
        ("python x.py 'unfinished", "python x.py 'unfinished"),
        ("", ""),
    ],
)
def test_recorded_command_is_shown_as_typed_in_the_project(home_dir, line, expected):
    assert normalize_command(line.format(home=home_dir)) == expected
