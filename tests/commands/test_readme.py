"""Every command in the README that needs no account works as it stands."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
MAIN, TESTS, *OTHERS = COMMANDS
CONSOLE = re.findall(r"^\$ (.*)\n(.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("command", [MAIN.split("&& ")[1], *OTHERS])
def test_a_command_of_the_readme_works(workplace, command):
    (workplace.path / "scripts").symlink_to(ROOT / "scripts")
    python, *words = shlex.split(command)
    assert python == "python"
    done = workplace.run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("command", "answer"), CONSOLE)
def test_the_readme_shows_what_is_really_answered(workplace, command, answer):
    (workplace.path / "scripts").symlink_to(ROOT / "scripts")
    done = workplace.run(*shlex.split(command)[1:])
    assert (done.stdout + done.stderr).strip() == answer


def test_the_two_commands_that_set_everything_up_install_what_they_need():
    """.ci/run pastes both of them into a fresh environment."""
    assert MAIN == "pip install -e . && python scripts/train.py lr=0.055"
    assert TESTS == 'pip install -e ".[test]" && python -m pytest'


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
