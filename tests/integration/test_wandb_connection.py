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
from tests.conftest import ROOT, TRAIN_SCRIPT, RunDir
from tests.fake_wandb import WANDB_CLI, FakeWandbServer
from tests.integration.wandb_content import expected_content, logged_content
from tests.integration.wandb_records import read_wandb_records, records_of_type
from tests.waiting import count_epochs, wait_until

SHORT_RUN = ["epochs=3", "hydra.run.dir=run"]
LONG_RUN = ["epochs=1000000", "tracking.confusion_every=1000000", "hydra.run.dir=run"]


@contextmanager
def unresponsive_server(kind):
    """Return the environment of a server that accepts requests and never answers, or worse."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, connections = listener.getsockname()[1], []

        def accept_connections():
            with suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])
                    if kind == "drops":
                        connections.pop().close()

        if kind == "refuses":
            listener.close()
        else:
            threading.Thread(target=accept_connections, daemon=True).start()
        yield {"WANDB_BASE_URL": f"http://127.0.0.1:{port}", "WANDB_API_KEY": "x" * 40}
        if kind != "refuses":
            listener.shutdown(socket.SHUT_RDWR)
        for each in connections:
            each.close()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["hangs", "refuses", "drops"])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_training_starts_and_stops_promptly_while_wandb_is_unresponsive(
    workdir, kind, number, status
):
    with unresponsive_server(kind) as account:
        process = workdir.start(TRAIN_SCRIPT, *LONG_RUN, **account, WANDB_INIT_TIMEOUT="300")
        wait_until(lambda: count_epochs(workdir.path / "run") > 500)
        process.send_signal(number)
        out, stderr = process.communicate(timeout=100)
    assert (process.returncode, stderr) == (status, "")
    assert "Run interrupted." in out
    run = RunDir(workdir.path / "run")
    assert run.summary["status"] == "interrupted"
    assert run.summary["epochs"] == len(run.history)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["hangs", "refuses", "drops"])
def test_short_training_announces_its_wait_and_stays_offline(workdir, kind):
    with unresponsive_server(kind) as account:
        result = workdir.run(TRAIN_SCRIPT, *SHORT_RUN, **account, WANDB_INIT_TIMEOUT="12")
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("W&B failed (")
    assert result.stderr.endswith("the run directory has everything, and the run stays offline.\n")
    assert result.stderr.count("\n") == 1
    (waits,) = [line for line in result.stdout.splitlines() if line.startswith("Waiting up to ")]
    assert "s for W&B to respond" in waits
    assert result.stdout.index("Test accuracy") < result.stdout.index(waits)
    assert "W&B: offline; to upload the run: wandb sync run/wandb/offline-run-" in result.stdout
    (folder,) = (workdir.path / "run/wandb").glob("offline-run-*")
    rows = [
        item["item"] for item in records_of_type(read_wandb_records(workdir, folder), "history")
    ]
    history = RunDir(workdir.path / "run").history
    assert [row["train/loss"] for row in rows if "train/loss" in row] == [
        line["train/loss"] for line in history
    ]


def test_wait_for_wandb_is_announced_in_a_log_file(workdir):
    log = workdir.path / "log"
    with unresponsive_server("hangs") as account, log.open("w") as out:
        line, settings = workdir.popen_args(
            TRAIN_SCRIPT, *SHORT_RUN, **account, WANDB_INIT_TIMEOUT="300"
        )
        process = subprocess.Popen(line, stdout=out, **settings)
        wait_until(lambda: "Waiting up to " in log.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_ctrl_c_ends_the_wait_for_wandb(workdir):
    with unresponsive_server("hangs") as account:
        process = workdir.start(TRAIN_SCRIPT, *SHORT_RUN, **account, WANDB_INIT_TIMEOUT="300")
        wait_until(lambda: (workdir.path / "run/summary.json").exists())
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=100)
    assert (process.returncode, stderr) == (130, "")
    assert RunDir(workdir.path / "run").summary["status"] == "finished"


@pytest.fixture
def slow_server(workdir):
    """A server that takes several seconds to create a run."""
    (workdir.path / "scripts").symlink_to(ROOT / "scripts")
    with FakeWandbServer() as server:
        server.inject_fault(delay_seconds=5, match="UpsertBucket", max_hits=2)
        yield server


@pytest.mark.soak
def test_run_that_ends_before_wandb_answers_is_complete(workdir, slow_server):
    result = workdir.run(
        TRAIN_SCRIPT,
        "epochs=12",
        "restore_best=true",
        "hydra.run.dir=run",
        **slow_server.environment,
    )
    assert (result.returncode, result.stderr) == (0, "")
    (run_id,) = slow_server.runs
    assert logged_content(slow_server, run_id) == expected_content(workdir.path / "run")


@pytest.mark.soak
def test_resumed_run_sends_its_whole_history_once_wandb_answers(workdir, slow_server):
    args = [
        "epochs=500",
        "tracking.confusion_every=500",
        "checkpoint_every=0.1",
        "hydra.run.dir=run",
    ]
    process = workdir.start(TRAIN_SCRIPT, *args, "tracking=disabled")
    wait_until(lambda: count_epochs(workdir.path / "run") > 20)
    process.kill()
    process.communicate()
    result = workdir.run(TRAIN_SCRIPT, "resume=run", "tracking=online", **slow_server.environment)
    assert (result.returncode, result.stderr) == (0, "")
    (run_id,) = slow_server.runs
    assert (
        logged_content(slow_server, run_id)["history"]
        == expected_content(workdir.path / "run")["history"]
    )


@pytest.mark.soak
def test_agent_trial_is_logged_even_if_wandb_answers_late(workdir, slow_server):
    content = {
        "program": "scripts/train.py",
        "project": "digits",
        "method": "grid",
        "metric": {"name": "val/loss"},
        "parameters": {"seed": {"values": [5]}},
        "command": ["${env}", "${interpreter}", "${program}", "epochs=2", "${args_no_hyphens}"],
    }
    (workdir.path / "one.yaml").write_text(yaml.dump(content))
    created = workdir.run(
        WANDB_CLI, "sweep", "--project", "digits", "one.yaml", **slow_server.environment
    )
    assert created.returncode == 0, created.stderr
    (sweep,) = slow_server.sweeps
    args = [WANDB_CLI, "agent", "--count", "1", f"somebody/digits/{sweep}"]
    line, settings = workdir.popen_args(*args, **slow_server.environment)
    subprocess.run(line, capture_output=True, timeout=120, check=True, **settings)
    (run_id,) = slow_server.sweeps[sweep].proposed_points
    path = workdir.path / "runs" / sweep / run_id
    assert SavedRun(path).summary["status"] == "finished"
    assert logged_content(slow_server, run_id) == expected_content(
        path, sweep_parameters={"seed": 5}
    )


@pytest.mark.soak
def test_wandb_can_stop_a_training_it_connected_to_late(workdir, slow_server):
    process = workdir.start(TRAIN_SCRIPT, *LONG_RUN, **slow_server.environment)
    run_id = wait_until(lambda: list(slow_server.runs))[0]
    slow_server.stop_run(run_id, by=("stream",))
    _, stderr = process.communicate(timeout=90)
    assert (process.returncode, stderr) == (-signal.SIGTERM, "")
    assert RunDir(workdir.path / "run").summary["status"] == "interrupted"


def test_ctrl_c_does_not_wait_for_an_unresponsive_server(workdir):
    with FakeWandbServer() as server:
        process = workdir.start(TRAIN_SCRIPT, *LONG_RUN, **server.environment)
        wait_until(lambda: server.runs and count_epochs(workdir.path / "run") > 100)
        with server.inject_fault(delay_seconds=100):
            time.sleep(2)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
            server.stop()  # for the work that wandb continues in the background
        _, stderr = process.communicate(timeout=60)
    assert stderr == ""
    assert RunDir(workdir.path / "run").summary["status"] == "interrupted"
