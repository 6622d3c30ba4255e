"""Every command in the README that needs no account works as written."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from tests.commands.clone import Clone
from tests.conftest import ROOT
from tests.data.homes import home
from tests.loopback import Loopback

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
RUNNABLE = [text for kind, text in BLOCKS if kind == "sh"]
MAIN, TESTS, *OTHERS = RUNNABLE
CONSOLE = re.findall(r"^\$ (.*)\n(.*)$", README, re.MULTILINE)
EXTRAS = {"submitit": "cluster", "postgresql://": "postgres"}
"""Text in a command that needs an extra, and the extra."""


@pytest.fixture
def clone(tmp_path):
    fresh = Clone(tmp_path / "clone")
    fresh.save_files_of_the_reader()
    with home({}) as server:
        fresh.serve_small_mnist(server)
        yield fresh


@pytest.mark.parametrize("block", [MAIN, *OTHERS], ids=lambda block: block.splitlines()[0][-30:])
def test_the_commands_of_the_readme_work(clone, block):
    done = clone.paste(block)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("downloading ")]
    assert told == []


def test_no_command_of_the_readme_is_in_the_way_of_another():
    """Run in order, the commands create each directory and file once, before using it."""
    made = set()
    for line in "".join(text for kind, text in BLOCKS if kind in ("sh", "")).splitlines():
        words = shlex.split(line)
        made_here = {word.partition("=")[2] for word in words if word.startswith("hydra.run.dir=")}
        for option, following in pairwise(words):
            if option in ("--output", "--figure", "--png-dir"):
                made_here.add(following)
        if "scripts/sweep.py" in words and not {"--check", "--resume"} & set(words):
            name = words[words.index("--name") + 1] if "--name" in words else None
            made_here.add(f"runs/sweeps/{name or Path(words[2]).stem}")
        assert not made & made_here, line
        read = {
            word.rpartition("=")[2]
            for word in words
            if re.search(r"(^|=)runs/", word) and not word.startswith("hydra.run.dir=")
        }
        for place in read:
            assert any(place == each or place.startswith(f"{each}/") for each in made), line
        made |= made_here


def test_an_extra_is_installed_before_it_is_needed():
    before = "".join(text for kind, text in BLOCKS if kind in ("sh", "") and text != TESTS)
    for needing, extra in EXTRAS.items():
        assert f'pip install -e ".[{extra}]"' in before.partition(needing)[0]


@pytest.mark.soak
def test_the_readme_can_be_pasted_from_top_to_bottom_into_one_shell(clone, database):
    """Placeholders are filled in; a W&B account, Slurm and Kaggle's files are provided."""
    with Loopback() as server:
        script = pasted(server.environment, database, clone.path / "shared")
        done = clone.paste(script)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert len(server.sweeps) == 1
        assert {run.state for run in server.runs.values()} == {"finished"}
    assert clone.installed == ["-e .", "-e .[test]", "-e .[postgres]", "-e .[cluster]"]


def pasted(account, database, shared):
    """Join all blocks into one script, with the placeholders filled in."""
    values = {
        "postgresql://USER@HOST/DATABASE": database,
        "/shared/": f"{shared}/",
        "--count 400": "--count 4",
        "--count 1000": "--count 2",
        "agent --forward-signals ENTITY/PROJECT/SWEEP": "agent --forward-signals --count 1 $SWEEP",
        "ENTITY/PROJECT": "somebody/digits",
    }
    names = [name for name in account if name != "PATH"]
    log_in = "\n".join(f"export {name}={shlex.quote(account[name])}" for name in names)
    log_out = f"unset {' '.join(names)}"
    script = []
    for kind, text in BLOCKS:
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        if kind == "console":
            text = "\n".join(f"if {command}; then exit 9; fi" for command, _ in CONSOLE)
        elif kind == "bash":
            text = f"cat > job.sh <<'END'\n{text}END\nbash job.sh"
        elif kind not in ("sh", ""):
            continue  # a file that exists
        if "$SWEEP" in text:
            create = "wandb sweep --project digits sweeps/random.yaml 2>&1"
            text = f"export SWEEP=$({create} | sed -n 's/.*wandb agent //p')\n{text}"
        if re.search("upload.py|--wandb|wandb agent", text):
            text = f"{log_in}\n{text}\n{log_out}"
        script.append(text)
    return "\n".join(script)


@pytest.mark.parametrize(("command", "answer"), CONSOLE)
def test_the_readme_shows_what_is_really_answered(workplace, command, answer):
    (workplace.path / "scripts").symlink_to(ROOT / "scripts")
    done = workplace.run(*shlex.split(command)[1:])
    assert (done.stdout + done.stderr).strip() == answer


def test_the_two_commands_that_set_everything_up_install_what_they_need():
    """.ci/run executes both of them in a fresh environment."""
    assert MAIN == "pip install -e . && python scripts/train.py lr=0.055\n"
    assert TESTS == 'pip install -e ".[test]" && python -m pytest\n'


def test_the_model_of_the_readme_can_be_trained(clone):
    (block,) = (block for block in OTHERS if "PYTHONPATH" in block)
    done = clone.paste(f"{block.rstrip()} epochs=1")
    assert done.returncode == 0, done.stderr
    assert "32,500" in done.stdout  # 64 * 500 + 500 parameters of the first dense layer


def test_a_model_with_the_wrong_number_of_outputs_is_refused(workplace):
    (workplace.path / "own.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Five:\n"
        "    def build_layers(self, num_classes, rngs):\n"
        "        return [Flatten(), Dense(5)]\n"
    )
    (workplace.path / "model").mkdir()
    (workplace.path / "model/five.yaml").write_text("_target_: own.Five\n")
    done = workplace.train("--config-dir", ".", "model=five", PYTHONPATH=".")
    assert done.returncode == 2
    expected = "dense1, has outputs of shape (5,), but 10 classes need (10,)."
    assert expected in done.stderr
    assert not workplace.runs


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            headings = re.findall(r"^## (.*)$", README, re.MULTILINE)
            assert target[1:] in [heading.lower().replace(" ", "-") for heading in headings]
        else:
            assert target.startswith("http") or (ROOT / target).exists(), target
