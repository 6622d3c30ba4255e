"""In an interactive session a command returns or raises; it never exits the session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
import yaml

from tests.conftest import ROOT, Run
from tests.waiting import count_epochs, wait_until

SESSION = """
import io, json, os, runpy, signal, sys

class Cell(io.TextIOBase):
    \"\"\"The output of a notebook's cell: nothing that a file has but write.\"\"\"
    text = ""
    def write(self, text):
        self.text += text
        return len(text)

def state():
    handlers = [signal.getsignal(number) for number in range(1, signal.NSIG)]
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    return handlers, sys.stdout, sys.stderr, environment

screen, sys.ps1 = sys.stdout, "In [1]: "
sys.stdout, sys.stderr = Cell(), Cell()
before = state()
for words in json.loads(sys.argv[1]):
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
assert state() == before
json.dump([sys.stdout.text, sys.stderr.text], screen)
"""


def script(name, *words):
    return [str(ROOT / f"scripts/{name}.py"), *words]


def ended(process):
    """Wait for a session to end and return the output of its cells."""
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return json.loads(out)


def session(workplace, *commands):
    return ended(workplace.start("-c", SESSION, json.dumps(commands)))


def test_a_session_trains_twice_and_makes_a_page(workplace):
    quick = ["tracking=offline", "epochs=1"]
    shown, errors = session(
        workplace,
        script("train", *quick, "hydra.run.dir=one"),
        script("train", *quick, "--multirun", "lr=0.1,0.2", "hydra.sweep.dir=more"),
        script("train", "tracking=offline", "resume=one", "epochs=2"),
        script("train", *quick, "hydra.run.dir=two"),
        script("report", "one"),
    )
    assert errors == ""
    assert "Written to one" in shown
    assert shown.endswith("one/report.html\n")
    assert shown.count("Jobs: ") == 1
    assert [run.summary["status"] for run in workplace.runs] == ["finished"] * 4


def test_a_mistake_ends_no_session(workplace):
    shown, errors = session(
        workplace,
        script("train", "lr=-1"),
        script("train", "resume=nowhere"),
        script("predict"),
        script("report", "nowhere"),
        script("upload", "nowhere"),
        script("sweep", "nowhere.yaml"),
        script("train", "tracking=disabled", "lr=5000"),
    )
    assert "Run diverged." in shown
    for sentence in (
        "lr=-1: lr must be a number above 0.\n",
        "nowhere is not a run directory",
        "the following arguments are required: RUN, INPUT",
        "nowhere: there is no such directory.\n",
        "nowhere.yaml: there is no such file.\n",
        "Training diverged in epoch 1",
    ):
        assert sentence in errors


def test_a_session_sweeps(workplace):
    sweep = {"method": "random", "parameters": {"lr": {"min": 0.01, "max": 0.5}}}
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(sweep))
    words = ["--count", "2", "--workers", "1", "epochs=1", "tracking=disabled"]
    shown, _ = session(workplace, script("sweep", "small.yaml", *words))
    assert shown.count("finished") == 2


def test_ctrl_c_ends_a_training_and_not_the_session(workplace):
    words = script("train", "tracking=disabled", "epochs=1000000", "hydra.run.dir=run")
    process = workplace.start("-c", SESSION, json.dumps([words]))
    wait_until(lambda: count_epochs(workplace.path / "run"))
    process.send_signal(signal.SIGINT)
    shown, errors = ended(process)
    assert "Run interrupted." in shown
    assert errors == ""
    assert Run(workplace.path / "run").summary["status"] == "interrupted"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("delay", [0.2, 0.4, 0.7, 1.0, 1.3, 1.7, 2.2, 3.0])
def test_ctrl_c_while_a_sweep_starts_its_workers_prints_no_traceback(workplace, delay):
    sweep = {"method": "random", "parameters": {"lr": {"min": 0.01, "max": 0.5}}}
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(sweep))
    words = ["small.yaml", "--workers", "4", "epochs=1000000", "tracking=disabled"]
    line, settings = workplace.command(*script("sweep", *words))
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **settings
    )
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors
