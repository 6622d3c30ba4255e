"""A sweep is paused, resumed, stopped and fed by other commands while it runs."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import closing

import pytest
import yaml

from nn.cli import sweep as sweep_command
from nn.config.compose import compose_config
from nn.report.data.sweep import SweepReader
from nn.runs.runner import run as train
from nn.sweeps.location import SweepLocation
from nn.sweeps.steering import StoredSweep
from nn.sweeps.trials_reader import load_sweep_trials
from tests.conftest import ROOT, SWEEP_SCRIPT, RunDir
from tests.directory_snapshot import assert_unchanged
from tests.fake_wandb import WANDB_CLI, FakeWandbServer
from tests.report.factories import make_sweep, update_json
from tests.waiting import count_epochs, wait_until

SWEEP_CONFIG = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {
        "lr": {"min": 0.01, "max": 0.5},
        "epochs": {"value": 100_000},
        "model.hidden": {"value": [4]},
    },
}
OVERRIDES = ("tracking=disabled", "tracking.confusion_every=100000")
SWEEP_DIR = "runs/sweeps/trials"


@pytest.fixture
def start_sweep(workdir, start_logged):
    """Start the real command with two workers."""
    (workdir.path / "trials.yaml").write_text(yaml.dump(SWEEP_CONFIG))

    def start(*args, count=2, workers=2):
        return start_logged(
            "log.txt", SWEEP_SCRIPT, "trials.yaml", "--count", str(count), "--workers",
            str(workers), *args, *OVERRIDES,
        )  # fmt: skip

    return start


@pytest.fixture
def steer(workdir, monkeypatch, capsys):
    """Run a command of another shell, and return its exit status, output and errors."""

    def run(*args):
        monkeypatch.chdir(workdir.path)
        monkeypatch.setattr("sys.argv", ["sweep.py", *args])
        capsys.readouterr()
        status = sweep_command.main()
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def succeed(steer):
    """Run a command that succeeds, and return its output."""

    def run(*args):
        status, output, errors = steer(*args)
        assert (status, errors) == (0, "")
        return output

    return run


def trial_dir(workdir, number):
    return workdir.path / SWEEP_DIR / f"trials/{number:04}"


def get_status(workdir, number):
    """Return the status of a trial's run, empty while it runs."""
    path = trial_dir(workdir, number) / "summary.json"
    return RunDir(path.parent).summary["status"] if path.exists() else ""


def wait_for_epochs(workdir, *numbers):
    """Wait until trials have trained further."""
    before = {number: count_epochs(trial_dir(workdir, number)) for number in numbers}
    for number in numbers:
        wait_until(lambda number=number: count_epochs(trial_dir(workdir, number)) > before[number])


def read_point(workdir, number):
    return json.loads((trial_dir(workdir, number) / "trial.json").read_text())["parameters"]


def read_table(workdir):
    text = (workdir.path / SWEEP_DIR / "trials.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture
def storage(request):
    """The shared storage of a sweep; None for a sweep's own."""
    is_database = request.param == "postgres"
    return request.getfixturevalue("database_url") if is_database else request.param


@pytest.mark.parametrize(
    "storage",
    [None, *(pytest.param(url, marks=pytest.mark.soak) for url in ("shared.log", "postgres"))],
    indirect=True,
)
def test_every_verb_steers_a_running_sweep(workdir, start_sweep, succeed, storage):
    target = storage or "trials"
    process = start_sweep(*(["--storage", storage] if storage else []))
    wait_for_epochs(workdir, 0, 1)
    lines = succeed("status", "trials").splitlines()
    assert lines[0] == "trials: running; trials: 2 running"
    assert lines[-1].startswith("trial 1  running  epochs=100000 lr=")
    assert " epoch " in lines[-1]
    output = succeed("enqueue", target, "lr=0.25", "epochs=3")
    assert output == (
        "Trial 2 is queued: lr=0.25 epochs=3\n"
        "epochs=3 is outside the sweep's space.\n"
        "The search proposes model.hidden when the trial starts.\n"
    )
    assert succeed("enqueue", target, "epochs=4").startswith("Trial 3 is queued: epochs=4\n")

    assert "running ones pause" in succeed("pause", target)
    wait_until(lambda: {get_status(workdir, number) for number in (0, 1)} == {"interrupted"})
    assert "2 paused, 2 queued" in succeed("status", target)
    epochs = [count_epochs(trial_dir(workdir, number)) for number in (0, 1)]
    assert process.poll() is None
    assert succeed("resume", target) == "The sweep continues.\n"
    wait_for_epochs(workdir, 0, 1)
    for number, count in enumerate(epochs):
        history = RunDir(trial_dir(workdir, number)).history
        assert [line["epoch"] for line in history[: count + 1]] == list(range(1, count + 2))

    assert succeed("stop", target, "0") == "Trial 0 stops after its next epoch.\n"
    wait_until(lambda: get_status(workdir, 3) == "finished")
    assert "Trial 4 is queued, with the point of trial 2." in succeed("retry", target, "2")
    wait_until(lambda: get_status(workdir, 4) == "finished")
    assert "running ones stop" in succeed("stop", target)
    assert process.wait(timeout=60) == 0, (workdir.path / "log.txt").read_text()
    table = read_table(workdir)
    states = ["pruned", "pruned", "finished", "finished", "finished"]
    assert [row["state"] for row in table] == states
    assert [row["reason"] for row in table] == ["stopped on request"] * 2 + [""] * 3
    assert [row["epochs"] for row in table] == ["100000", "100000", "3", "4", "3"]
    assert all(row["objective"] for row in table)
    assert {row["lr"] for row in (table[2], table[4])} == {"0.25"}
    assert RunDir(trial_dir(workdir, 2)).history[-1]["epoch"] == 3
    reader = SweepReader(workdir.path / SWEEP_DIR)
    assert reader.record()["status_counts"] == {"finished": 3, "pruned": 2}


def test_paused_trial_continues_to_the_same_bits(workdir, start_sweep, succeed):
    content = SWEEP_CONFIG | {
        "early_terminate": {"type": "hyperband", "min_iter": 2},
        "parameters": {"lr": {"min": 0.1, "max": 0.2}, "epochs": {"value": 400}},
    }
    (workdir.path / "trials.yaml").write_text(yaml.dump(content))
    process = start_sweep(count=1, workers=1)
    wait_until(lambda: count_epochs(trial_dir(workdir, 0)) > 50)
    succeed("pause", "trials")
    wait_until(lambda: get_status(workdir, 0) == "interrupted")
    succeed("resume", "trials")
    assert process.wait(timeout=60) == 0
    paused = RunDir(trial_dir(workdir, 0))
    overrides = [f"{name}={value}" for name, value in read_point(workdir, 0).items()]
    train(compose_config([*overrides, *OVERRIDES]), workdir.path / "again", verbose=False)
    assert paused.exact_results == RunDir(workdir.path / "again").exact_results


def test_requests_to_a_sweep_that_does_not_run_are_queued(workdir, start_sweep, succeed):
    process = start_sweep()
    wait_for_epochs(workdir, 0, 1)
    process.kill()
    process.wait()
    outputs, notice = [], "The sweep does not run now; this takes effect when it does.\n"
    for args in (
        ("enqueue", "trials", "lr=0.25", "epochs=3", "model.hidden=[5]"),
        ("enqueue", SWEEP_DIR, "lr=0.250", "epochs=3", "model.hidden=[5]"),
        ("stop", "trials", "0"),
        ("stop", "trials", "3"),
        ("pause", "trials"),
        ("stop", "trials"),
    ):
        outputs.append(succeed(*args))
        assert outputs[-1].endswith(notice), outputs
    assert "Trial 2 (queued) has the same point." in outputs[1]
    rows = [line.split("\t") for line in succeed("status", "trials", "--trials").splitlines()]
    statuses = ["interrupted", "interrupted", "queued", "pruned"]
    assert [row[1] for row in rows] == statuses
    process = start_sweep("--resume")
    wait_until(lambda: get_status(workdir, 2) == "finished")
    assert process.wait(timeout=60) == 0
    rows = {int(row["number"]): row["state"] for row in read_table(workdir)}
    assert rows == {0: "pruned", 1: "pruned", 2: "finished"}


@pytest.fixture
def finished_sweep(workdir):
    """A sweep with one finished trial, and its file."""
    (workdir.path / "trials.yaml").write_text(yaml.dump(SWEEP_CONFIG))
    sweep_dir = make_sweep(workdir.path / SWEEP_DIR, trials=1, sweep_config=SWEEP_CONFIG)
    update_json(sweep_dir, "settings.json", sampler=None, overrides=[])
    return workdir.path


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["enqueue", "trials", "lrr=0.1"], "lrr=0.1: there is no setting lrr; did you mean lr?"),
        (["enqueue", "trials", "depth=2"], "depth=2: this is not a parameter of the sweep; "),
        (["enqueue", "trials", "lr=-1"], "lr=-1: lr must be a number above 0."),
        (["enqueue", "trials", "lr"], "lr: write KEY=VALUE, such as lr=0.1."),
        (["enqueue", "trials", "lr=[1"], "lr=[1: this cannot be parsed"),
        (["stop", "trials", "7"], "stop 7: there is no such trial; the sweep has 1, "),
        (["stop", "trials", "x"], "stop x: there is no such trial; "),
        (["stop", "trials", "0"], "stop 0: this trial has ended (finished)."),
        (["retry", "trials", "-1"], "retry -1: there is no such trial; "),
        (["status", "nothing"], "nothing: there is no such sweep; give its name in runs/sweeps, "),
        (["status", "x" * 300], "x"),
        (["pause", "trials.yaml"], "trials.yaml is not a study file."),
        (
            ["pause", "mysql://a:b@c/d"],
            "--storage=mysql://a:***@c/d: the scheme is not supported; ",
        ),
        (["pause", "a/b/c"], "a/b/c: no W&B credentials found; "),
    ],
)
def test_bad_requests_are_refused_and_write_nothing(finished_sweep, steer, args, message):
    with assert_unchanged(finished_sweep):
        status, output, errors = steer(*args)
    assert (status, output) == (2, "")
    assert errors.startswith(message)
    assert errors.count("\n") == 1


def test_file_of_the_name_of_a_verb_is_a_sweep(workdir, steer):
    (workdir.path / "enqueue").write_text(yaml.dump(SWEEP_CONFIG))
    status, output, _ = steer("./enqueue", "--check")
    assert (status, output) == (0, "enqueue: no problems found.\n")


def test_failed_trials_are_queued_again_once(finished_sweep, succeed, steer):
    shutil.rmtree(finished_sweep / SWEEP_DIR)
    states = ("finished", "failed", "diverged", "failed")
    sweep_dir = make_sweep(finished_sweep / SWEEP_DIR, 4, sweep_config=SWEEP_CONFIG, states=states)
    update_json(sweep_dir, "settings.json", sampler=None, overrides=[])
    output = succeed("retry", "trials")
    assert [line.rpartition(" ")[2] for line in output.splitlines()[:-1]] == ["1.", "3."]
    assert succeed("retry", "trials", "failed") == "No trial has failed.\n"
    status, _, errors = steer("retry", "trials", "1")
    assert (status, errors) == (2, "retry 1: trial 4 retries it already (queued).\n")
    assert "Trial 6 is queued, with the point of trial 2" in succeed("retry", "trials", "2")


@pytest.fixture
def server(workdir, monkeypatch):
    with FakeWandbServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def wandb_sweep(workdir, server):
    """Create a sweep on the server, with an agent's run in it, and return its path."""
    command = ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
    content = SWEEP_CONFIG | {"program": "scripts/train.py", "command": command}
    (workdir.path / "trials.yaml").write_text(yaml.dump(content))
    result = workdir.run(WANDB_CLI, "sweep", "--project", "digits", "trials.yaml")
    assert result.returncode == 0, result.stderr
    (sweep,) = server.sweeps
    return f"somebody/digits/{sweep}"


def test_verbs_use_the_means_of_wandb(workdir, server, wandb_sweep, succeed, steer):
    sweep = server.sweeps[wandb_sweep.rpartition("/")[2]]
    assert succeed("status", wandb_sweep) == f"{wandb_sweep}: running; runs: none\n"
    assert "running trials continue, as W&B cannot pause them" in succeed("pause", wandb_sweep)
    assert sweep.state == "PAUSED"
    succeed("resume", wandb_sweep)
    assert sweep.state == "RUNNING"
    status, _, errors = steer("enqueue", wandb_sweep, "lr=0.25")
    assert (status, errors.count("\n")) == (1, 1)
    assert "not supported on this wandb server version" in errors
    server.state.features.append("SWEEPS_LOCAL_SCHEDULER")
    output = succeed("enqueue", wandb_sweep, "lr=0.25")
    assert "W&B proposes no values for epochs, model.hidden" in output
    assert list(sweep.proposed_points.values()) == [{"lr": 0.25}]
    status, _, errors = steer("enqueue", wandb_sweep, "lrr=0.25")
    assert (status, errors) == (2, "lrr=0.25: there is no setting lrr; did you mean lr?\n")
    status, _, errors = steer("stop", wandb_sweep, "nothing")
    assert (status, errors) == (2, f"stop nothing: {wandb_sweep} has no such run.\n")
    succeed("stop", wandb_sweep)
    assert sweep.state == "CANCELED"
    status, _, errors = steer("pause", wandb_sweep)
    assert (status, errors) == (1, f"{wandb_sweep}: Cannot pause canceled sweep.\n")
    status, _, errors = steer("status", "somebody/digits/nothing")
    assert (status, errors.count("\n")) == (2, 1)


@pytest.mark.soak
def test_agent_runs_what_is_queued(workdir, server, wandb_sweep, succeed):
    (workdir.path / "scripts").symlink_to(ROOT / "scripts")
    server.state.features.append("SWEEPS_LOCAL_SCHEDULER")
    line, settings = workdir.popen_args(WANDB_CLI, "agent", wandb_sweep, **server.environment)
    with (workdir.path / "agent.txt").open("w") as log:
        agent = subprocess.Popen(line, stdout=log, stderr=log, **settings)
    try:
        (run_id,) = wait_until(lambda: list(server.runs))
        folder = workdir.path / "runs" / wandb_sweep.rpartition("/")[2] / run_id
        wait_until(lambda: count_epochs(folder) > 10)
        output = succeed("enqueue", wandb_sweep, "lr=0.25", "epochs=3", "model.hidden=[5]")
        queued = output.split()[1]
        assert f"{run_id}  running" in succeed("status", wandb_sweep)
        succeed("stop", wandb_sweep, run_id)
        wait_until(lambda: queued in server.runs and server.runs[queued].state == "finished")
        assert server.runs[queued].metric_values("val/loss")[2:]
        rows = [
            line.split("\t") for line in succeed("status", wandb_sweep, "--trials").splitlines()
        ]
        assert [queued, "finished", "3"] in [row[:3] for row in rows]
        assert "Run " in succeed("retry", wandb_sweep, queued)
        succeed("stop", wandb_sweep)
        assert agent.wait(timeout=120) == 0
    finally:
        agent.kill()
        agent.wait()


@pytest.mark.soak
@pytest.mark.parametrize("storage", [None, "shared.log", "postgres"], indirect=True)
def test_kills_at_any_moment_lose_nothing_and_keep_the_order(
    workdir, start_sweep, monkeypatch, storage
):
    monkeypatch.chdir(workdir.path)
    rng = random.Random(len(storage or ""))
    parameters = SWEEP_CONFIG["parameters"] | {"epochs": {"value": 60}}
    (workdir.path / "trials.yaml").write_text(yaml.dump(SWEEP_CONFIG | {"parameters": parameters}))
    options = ["--storage", storage, "--grace-period", "1"] if storage else []
    target, queued, attempted, stopped = storage or "trials", {}, set(), set()
    process = start_sweep(*options, count=10_000)
    wait_until(lambda: count_epochs(trial_dir(workdir, 0)))
    for repetition in range(40):
        for step in range(rng.randrange(4)):
            lr = round(0.6 + repetition / 100 + step / 1000, 6)  # outside the space
            verb = rng.choice(
                [["enqueue", target, f"lr={lr}"], ["retry", target, "0"], ["pause", target],
                 ["resume", target], ["stop", target, str(rng.randrange(20))]]
            )  # fmt: skip
            line, settings = workdir.popen_args(SWEEP_SCRIPT, *verb)
            command = subprocess.Popen(
                line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings
            )
            if rng.random() < 0.3:
                time.sleep(rng.uniform(0, 2))
                command.kill()
            output, errors = command.communicate()
            assert "Traceback" not in errors
            if verb[0] == "stop":
                stopped.add(int(verb[2]))
            if verb[0] == "enqueue":
                attempted.add(lr)
                if output.startswith("Trial "):
                    queued[int(output.split()[1])] = lr
        time.sleep(rng.uniform(0, 1))
        process.kill()
        process.wait()
        process = start_sweep(*options, "--resume", count=10_000)
        if rng.random() < 0.7:
            wait_until(lambda: (workdir.path / SWEEP_DIR / ".lock").exists() or storage)
            time.sleep(rng.uniform(0, 3))
    process.send_signal(signal.SIGTERM)
    process.wait()
    with closing(StoredSweep(SweepLocation.find(target, None), read_only=True)) as stored:
        count = len(stored.complete_trials)
    process = start_sweep(*options, "--resume", count=count)
    assert process.wait(timeout=300) == 0, (workdir.path / "log.txt").read_text()
    sweep = load_sweep_trials(workdir.path / SWEEP_DIR)
    points = {trial.number: sweep.get_point(trial.number) for trial in sweep.trials}
    assert all(trial.state.is_finished() for trial in sweep.trials)
    for number, lr in queued.items():
        assert points[number].get("lr") == lr or number in stopped
    retries = {trial.number for trial in sweep.trials if "retry_of" in trial.user_attrs}
    counts = Counter(
        point["lr"] for number, point in points.items() if point and number not in retries
    )
    assert set(counts.values()) == {1}
    assert {lr for lr in counts if lr > 0.5} <= attempted
    starts = [
        trial.datetime_start
        for trial in sweep.trials
        if "queued_point" in trial.user_attrs and points[trial.number]
    ]
    assert starts == sorted(starts)
    for row in read_table(workdir):
        assert row["state"] in ("finished", "pruned")
        history = RunDir(trial_dir(workdir, int(row["number"]))).history
        assert [line["epoch"] for line in history] == list(range(1, len(history) + 1))
        assert len(history) == 60 or row["state"] == "pruned"
    assert "Traceback" not in (workdir.path / "log.txt").read_text()
