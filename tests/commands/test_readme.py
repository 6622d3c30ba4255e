"""Every command in the README that needs no account works as it stands."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
(MAIN,), (TESTS,), *OTHERS = (block.splitlines() for block in BLOCKS)
CONSOLE = re.findall(r"^\$ (.*)\n(.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("commands", [[MAIN.split("&& ")[1]], *OTHERS], ids=lambda c: c[0][-30:])
def test_the_commands_of_the_readme_work(workplace, commands):
    for name in ("scripts", "sweeps", ".github"):
        (workplace.path / name).symlink_to(ROOT / name)
    for command in commands:
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


def test_the_model_of_the_readme_can_be_trained(workplace):
    for name, code in re.findall(r"```(?:python|yaml)\n# (mine/\S+)\n(.*?)```", README, re.DOTALL):
        file = workplace.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    (command,) = re.findall(r"`PYTHONPATH=\. python scripts/train.py (.*?)`", README)
    done = workplace.train(*command.split(), "epochs=1", PYTHONPATH=".")
    assert done.returncode == 0, done.stderr
    assert "32,500" in done.stdout  # 64 * 500 + 500 parameters of the first dense layer


def test_a_model_with_the_wrong_number_of_outputs_is_refused(workplace):
    (workplace.path / "own.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Five:\n"
        "    def layers(self, classes, randomness):\n"
        "        return [Flatten(), Dense(5)]\n"
    )
    (workplace.path / "model").mkdir()
    (workplace.path / "model/five.yaml").write_text("_target_: own.Five\n")
    done = workplace.train("--config-dir", ".", "model=five", PYTHONPATH=".")
    assert done.returncode == 2
    expected = "dense1, gives outputs of shape (5,), and 10 classes need (10,)."
    assert expected in done.stderr
    assert not workplace.runs


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            headings = re.findall(r"^## (.*)$", README, re.MULTILINE)
            assert target[1:] in [heading.lower().replace(" ", "-") for heading in headings]
        else:
            assert target.startswith("http") or (ROOT / target).exists(), target
