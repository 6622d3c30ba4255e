"""In an interactive session a command returns or raises; it never exits the session."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
import yaml

from tests.conftest import ROOT, RunDir
from tests.waiting import count_epochs, interrupt_when_started, wait_until

SESSION_SCRIPT = """
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
screen.flush()
"""


def script_argv(name, *args):
    return [str(ROOT / f"scripts/{name}.py"), *args]


def wait_for_output(process):
    """Wait for a session to end and return the output of its cells."""
    out, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    return json.loads(out)


def run_session(workdir, *commands):
    return wait_for_output(workdir.start("-c", SESSION_SCRIPT, json.dumps(commands)))


@pytest.mark.soak
def test_session_can_train_repeatedly_and_report(workdir):
    quick = ["tracking=offline", "epochs=1"]
    stdout, stderr = run_session(
        workdir,
        script_argv("train", *quick, "hydra.run.dir=one"),
        script_argv("train", *quick, "--multirun", "lr=0.1,0.2", "hydra.sweep.dir=more"),
        script_argv("train", "tracking=offline", "resume=one", "epochs=2"),
        script_argv("train", *quick, "hydra.run.dir=two"),
        script_argv("report", "one"),
    )
    assert stderr == ""
    assert "Written to one" in stdout
    assert stdout.endswith("one/report.html\n")
    assert stdout.count("Jobs: ") == 1
    assert [run.summary["status"] for run in workdir.runs] == ["finished"] * 4


def test_errors_do_not_end_the_session(workdir):
    stdout, stderr = run_session(
        workdir,
        script_argv("train", "lr=-1"),
        script_argv("train", "resume=nowhere"),
        script_argv("predict"),
        script_argv("report", "nowhere"),
        script_argv("upload", "nowhere"),
        script_argv("sweep", "nowhere.yaml"),
        script_argv("train", "tracking=disabled", "lr=5000"),
    )
    assert "Run diverged." in stdout
    for message in (
        "lr=-1: lr must be a number above 0.\n",
        "nowhere is not a run directory",
        "the following arguments are required: RUN, INPUT",
        "nowhere: there is no such directory.\n",
        "nowhere.yaml: there is no such file.\n",
        "Training diverged in epoch 1",
    ):
        assert message in stderr


def test_session_can_sweep(workdir):
    sweep = {"method": "random", "parameters": {"lr": {"min": 0.01, "max": 0.5}}}
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(sweep))
    args = ["--count", "2", "--workers", "1", "epochs=1", "tracking=disabled"]
    stdout, _ = run_session(workdir, script_argv("sweep", "small.yaml", *args))
    assert stdout.count("finished") == 2


def test_ctrl_c_stops_training_but_not_the_session(workdir):
    args = script_argv("train", "tracking=disabled", "epochs=1000000", "hydra.run.dir=run")
    process = workdir.start("-c", SESSION_SCRIPT, json.dumps([args]))
    wait_until(lambda: count_epochs(workdir.path / "run"))
    process.send_signal(signal.SIGINT)
    stdout, stderr = wait_for_output(process)
    assert "Run interrupted." in stdout
    assert stderr == ""
    assert RunDir(workdir.path / "run").summary["status"] == "interrupted"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("delay", [0.2, 0.4, 0.7, 1.0, 1.3, 1.7, 2.2, 3.0])
def test_ctrl_c_while_a_sweep_starts_its_workers_prints_no_traceback(workdir, delay):
    sweep = {"method": "random", "parameters": {"lr": {"min": 0.01, "max": 0.5}}}
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(sweep))
    args = ["small.yaml", "--workers", "4", "epochs=1000000", "tracking=disabled"]
    line, settings = workdir.popen_args(*script_argv("sweep", *args))

    def start():
        return subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **settings
        )

    def interrupt(pid):
        os.killpg(pid, signal.SIGINT)  # as a terminal does: the workers as well

    status, errors = interrupt_when_started(start, delay, interrupt)
    assert status == 130, errors
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors
