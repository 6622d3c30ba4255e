"""The connection to W&B is made in the background; a server that does not answer delays nothing."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import yaml

from nn.runs.reader import SavedRun
from tests.commands.seen import by_its_folder, seen
from tests.commands.wandb_file import of_type, wandb_records
from tests.conftest import ROOT, Run
from tests.loopback import QUICK_AGENT, Loopback
from tests.waiting import count_epochs, wait_until

TRAIN = str(ROOT / "scripts/train.py")
SHORT = ["epochs=3", "hydra.run.dir=run"]
LONG = ["epochs=1000000", "tracking.confusion_every=1000000", "hydra.run.dir=run"]


@contextmanager
def unanswering(kind):
    """Return the environment of a server that accepts requests and never answers, or worse."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, taken = listener.getsockname()[1], []

        def take():
            with suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])
                    if kind == "drops":
                        taken.pop().close()

        if kind == "refuses":
            listener.close()
        else:
            threading.Thread(target=take, daemon=True).start()
        yield {"WANDB_BASE_URL": f"http://127.0.0.1:{port}", "WANDB_API_KEY": "x" * 40}
        if kind != "refuses":
            listener.shutdown(socket.SHUT_RDWR)
        for each in taken:
            each.close()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["hangs", "refuses", "drops"])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_training_starts_at_once_and_is_stopped_at_once_while_w_and_b_does_not_answer(
    workplace, kind, number, status
):
    with unanswering(kind) as account:
        process = workplace.start(TRAIN, *LONG, **account, WANDB_INIT_TIMEOUT="300")
        wait_until(lambda: count_epochs(workplace.path / "run") > 500)
        process.send_signal(number)
        out, told = process.communicate(timeout=100)
    assert (process.returncode, told) == (status, "")
    assert "Run interrupted." in out
    run = Run(workplace.path / "run")
    assert run.summary["status"] == "interrupted"
    assert run.summary["epochs"] == len(run.history)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["hangs", "refuses", "drops"])
def test_a_short_training_says_what_it_waits_for_and_stays_offline(workplace, kind):
    with unanswering(kind) as account:
        done = workplace.run(TRAIN, *SHORT, **account, WANDB_INIT_TIMEOUT="12")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("W&B failed (")
    assert done.stderr.endswith("the run directory has everything, and the run stays offline.\n")
    assert done.stderr.count("\n") == 1
    (waits,) = [line for line in done.stdout.splitlines() if line.startswith("Waiting up to ")]
    assert "s for W&B to respond" in waits
    assert done.stdout.index("Test accuracy") < done.stdout.index(waits)
    assert "W&B: offline; to upload the run: wandb sync run/wandb/offline-run-" in done.stdout
    (folder,) = (workplace.path / "run/wandb").glob("offline-run-*")
    rows = [item["item"] for item in of_type(wandb_records(workplace, folder), "history")]
    history = Run(workplace.path / "run").history
    assert [row["train/loss"] for row in rows if "train/loss" in row] == [
        line["train/loss"] for line in history
    ]


def test_the_waiting_for_w_and_b_is_announced_in_a_log_too(workplace):
    log = workplace.path / "log"
    with unanswering("hangs") as account, log.open("w") as out:
        line, settings = workplace.command(TRAIN, *SHORT, **account, WANDB_INIT_TIMEOUT="300")
        process = subprocess.Popen(line, stdout=out, **settings)
        wait_until(lambda: "Waiting up to " in log.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_ctrl_c_ends_the_waiting_for_w_and_b(workplace):
    with unanswering("hangs") as account:
        process = workplace.start(TRAIN, *SHORT, **account, WANDB_INIT_TIMEOUT="300")
        wait_until(lambda: (workplace.path / "run/summary.json").exists())
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=100)
    assert (process.returncode, told) == (130, "")
    assert Run(workplace.path / "run").summary["status"] == "finished"


@pytest.fixture
def slow(workplace):
    """A server that takes several seconds to create a run."""
    (workplace.path / "scripts").symlink_to(ROOT / "scripts")
    with Loopback() as server:
        server.failing(delay=5, match="UpsertBucket", times=2)
        yield server


def test_a_run_that_has_ended_before_w_and_b_answers_is_all_there(workplace, slow):
    done = workplace.run(
        TRAIN, "epochs=12", "restore_best=true", "hydra.run.dir=run", **slow.environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    (run_id,) = slow.runs
    assert seen(slow, run_id) == by_its_folder(workplace.path / "run")


@pytest.mark.soak
def test_a_resumed_run_sends_all_of_it_once_w_and_b_answers(workplace, slow):
    words = [
        "epochs=500",
        "tracking.confusion_every=500",
        "checkpoint_every=0.1",
        "hydra.run.dir=run",
    ]
    process = workplace.start(TRAIN, *words, "tracking=disabled")
    wait_until(lambda: count_epochs(workplace.path / "run") > 20)
    process.kill()
    process.communicate()
    done = workplace.run(TRAIN, "resume=run", "tracking=online", **slow.environment)
    assert (done.returncode, done.stderr) == (0, "")
    (run_id,) = slow.runs
    assert seen(slow, run_id)["history"] == by_its_folder(workplace.path / "run")["history"]


@pytest.mark.soak
def test_an_agents_trial_appears_however_late_w_and_b_answers(workplace, slow):
    content = {
        "program": "scripts/train.py",
        "project": "digits",
        "method": "grid",
        "metric": {"name": "val/loss"},
        "parameters": {"seed": {"values": [5]}},
        "command": ["${env}", "${interpreter}", "${program}", "epochs=2", "${args_no_hyphens}"],
    }
    (workplace.path / "one.yaml").write_text(yaml.dump(content))
    made = workplace.run(
        QUICK_AGENT, "sweep", "--project", "digits", "one.yaml", **slow.environment
    )
    assert made.returncode == 0, made.stderr
    (sweep,) = slow.sweeps
    words = [QUICK_AGENT, "agent", "--count", "1", f"somebody/digits/{sweep}"]
    line, settings = workplace.command(*words, **slow.environment)
    subprocess.run(line, capture_output=True, timeout=120, check=True, **settings)
    (run_id,) = slow.sweeps[sweep].proposed
    path = workplace.path / "runs" / sweep / run_id
    assert SavedRun.read(path).summary["status"] == "finished"
    assert seen(slow, run_id) == by_its_folder(path, swept={"seed": 5})


def test_a_stop_from_w_and_b_ends_a_training_that_it_has_answered_late(workplace, slow):
    process = workplace.start(TRAIN, *LONG, **slow.environment)
    run_id = wait_until(lambda: list(slow.runs))[0]
    slow.stop_run(run_id, by=("stream",))
    _, told = process.communicate(timeout=90)
    assert (process.returncode, told) == (-signal.SIGTERM, "")
    assert Run(workplace.path / "run").summary["status"] == "interrupted"


def test_ctrl_c_does_not_wait_for_a_server_that_answers_no_more(workplace):
    with Loopback() as server:
        process = workplace.start(TRAIN, *LONG, **server.environment)
        wait_until(lambda: server.runs and count_epochs(workplace.path / "run") > 100)
        with server.failing(delay=100):
            time.sleep(2)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
            server.stop()  # for the work that wandb continues in the background
        _, told = process.communicate(timeout=60)
    assert told == ""
    assert Run(workplace.path / "run").summary["status"] == "interrupted"
