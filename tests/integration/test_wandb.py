"""Runs and sweeps with the real W&B client against a local server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nn.runs.reader import SavedRun
from nn.sweeps.hyperband import should_prune
from nn.sweeps.schema import Metric, parse_sweep_config
from tests.conftest import ROOT, SWEEP_SCRIPT, TRAIN_SCRIPT, UPLOAD_SCRIPT, RunDir
from tests.fake_wandb import WANDB_CLI, FakeWandbServer
from tests.integration.wandb_content import expected_content, logged_content
from tests.waiting import count_epochs, wait_until

LONG_RUN = ["epochs=100000", "tracking.confusion_every=100000"]
SWEEP_TEMPLATE = """
program: scripts/train.py
project: digits
method: grid
metric: {name: val/loss}
parameters:
  seed: {values: [5, 6, 7, 8]}
command: ["${env}", "${interpreter}", "${program}", WORDS, "${args_no_hyphens}"]
"""


@pytest.fixture
def server(workdir):
    for name in ("scripts", "sweeps"):
        (workdir.path / name).symlink_to(ROOT / name)
    with FakeWandbServer() as server:
        yield server


@pytest.fixture
def run_online(workdir, server):
    """Run a command with an account on the server."""

    def run(*args, expect=0, **environment):
        result = workdir.run(*args, **server.environment, **environment)
        assert result.returncode == expect, result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def start_agents(start_logged, server, run_online):
    """Create a sweep and start agents for it."""

    def start(file, count, processes=1):
        run_online(WANDB_CLI, "sweep", "--project", "digits", str(file))
        (sweep,) = server.sweeps
        args = [WANDB_CLI, "agent", "--count", str(count), f"somebody/digits/{sweep}"]
        return sweep, [
            start_logged(f"agent{number}.txt", *args, **server.environment)
            for number in range(processes)
        ]

    return start


@pytest.fixture
def write_sweep_file(workdir):
    """Write a sweep file whose trials get these arguments."""

    def write(*args):
        file = workdir.path / "trials.yaml"
        file.write_text(SWEEP_TEMPLATE.replace("WORDS", ", ".join(f'"{word}"' for word in args)))
        return file

    return write


def wait_for_success(processes):
    for process in processes:
        assert process.wait(timeout=120) == 0


def run_dir(workdir, sweep, run_id):
    return workdir.path / "runs" / sweep / run_id


def training_pid(path):
    """Find the process that trains in a run directory by the lock that it holds."""
    inode = f":{(path / '.lock').stat().st_ino} "
    with Path("/proc/locks").open() as locks:
        return next(int(line.split()[4]) for line in locks if inode in line)


def config_value(config, name):
    """Return the value in a config that a sweep parameter sets."""
    if "." in name:
        group, _, key = name.partition(".")
        return config[group][key]
    return config["choices"][name] if name in config["choices"] else config[name]


def test_online_run_is_complete(workdir, server, run_online):
    result = run_online(
        TRAIN_SCRIPT, "epochs=12", "restore_best=true", "hydra.run.dir=run", "tracking.tags=[a,b]"
    )
    assert result.stderr == ""
    (run_id,) = server.runs
    assert f"W&B: {server.state.url}/somebody/nn-sweeps/runs/{run_id}" in result.stdout
    assert logged_content(server, run_id) == expected_content(workdir.path / "run")
    run = server.runs[run_id]
    assert run.tags == ["a", "b"]
    assert run.commit == RunDir(workdir.path / "run").environment["git"]["commit"]
    environment = (workdir.path / "run/environment.json").read_bytes()
    assert run.files["environment.json"] == environment
    assert [row["_step"] for row in run.history] == list(range(1, 13))  # one row per epoch


def test_environment_variables_set_the_destination(server, run_online):
    run_online(
        TRAIN_SCRIPT,
        "epochs=1",
        WANDB_PROJECT="there",
        WANDB_NAME="a name",
        WANDB_RUN_GROUP="a group",
        WANDB_JOB_TYPE="a job",
        WANDB_TAGS="one,two",
        WANDB_NOTES="a note",
    )
    (run,) = server.runs.values()
    assert (run.project, run.display_name, run.group) == ("there", "a name", "a group")
    assert (run.job_type, run.tags, run.notes) == ("a job", ["one", "two"], "a note")


def test_upload_volume_is_configurable(server, run_online):
    volume = [
        "tracking.num_examples=0",
        "tracking.log_model=false",
        "tracking.confusion_every=null",
    ]
    run_online(TRAIN_SCRIPT, "epochs=12", *volume)
    (run_id,) = server.runs
    content = logged_content(server, run_id)
    assert content["images"] == {}
    assert content["model"] is None
    assert {name.split()[1] for name in content["tables"]} == {"12"}


READ_SCRIPT = """
import json, sys, wandb
api = wandb.Api()
sweep = api.sweep(sys.argv[1])
found = {}
for run in sweep.runs:
    (model,) = [each for each in run.logged_artifacts() if each.type == "model"]
    last = [row for row in run.scan_history()][-1]
    table = last["test/confusion_matrix_table"]["path"]
    right = last["examples/right"]["filenames"]
    found[run.id] = {
        "config": run.config,
        "summary": dict(run.summary),
        "history": [row for row in run.scan_history()],
        "cells": json.load(run.file(table).download(root=run.id)),
        "images": [open(run.file(name).download(root=run.id).name, "rb").read().hex()
                   for name in right],
        "model": model.download(root=run.id + "/model"),
        "state": run.state,
    }
print(json.dumps(found, default=dict))
"""


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["grid", "random", "wide", "bayes", "hyperband"])
def test_sweep_file_behaves_the_same_with_agent_and_offline(
    workdir, server, run_online, start_agents, name
):
    sweep, started = start_agents(f"sweeps/{name}.yaml", count=2)
    wait_for_success(started)
    result = workdir.run(SWEEP_SCRIPT, f"sweeps/{name}.yaml", "--count=2", "tracking=disabled")
    assert result.returncode == 0, result.stderr
    offline = SavedRun(workdir.path / f"runs/sweeps/{name}/trials/0000")
    proposed_points = server.sweeps[sweep].proposed_points
    assert len(proposed_points) == 2
    for run_id, point in proposed_points.items():
        path = run_dir(workdir, sweep, run_id)
        saved = SavedRun(path)
        for parameter, value in point.items():
            logged = config_value(saved.config, parameter)
            assert (logged, type(logged)) == (value, type(value))
            assert type(config_value(offline.config, parameter)) is type(logged)
        assert logged_content(server, run_id) == expected_content(path, sweep_parameters=point)
    if name == "hyperband":  # its trials may be stopped and then have no test score
        return
    read = json.loads(run_online("-c", READ_SCRIPT, f"somebody/digits/{sweep}").stdout)
    for run_id in proposed_points:
        logged, resumed = read[run_id], logged_content(server, run_id)
        assert logged["state"] == "finished"
        assert logged["config"] == resumed["config"]
        assert len(logged["history"]) == len(resumed["history"]) == 20
        assert logged["history"][-1]["val/loss"] == resumed["history"][-1]["val/loss"]
        assert logged["summary"]["test/accuracy"] == resumed["summary"]["test/accuracy"]
        assert logged["cells"]["data"] == resumed["tables"]["test/confusion_matrix_table 20"]
        assert len(logged["images"]) == len(resumed["images"]["examples/right"])
        model = (workdir.path / logged["model"] / "model.safetensors").read_bytes()
        assert model == resumed["model"][2]


def test_agent_passes_nested_and_listed_values(workdir, server, start_agents):
    command = ["${env}", "${interpreter}", "${program}", "epochs=2", "${args_no_hyphens}"]
    parameters = {
        "optimizer": {"parameters": {"momentum": {"values": [0.5]}, "max_grad_norm": {"value": 1}}},
        "model.hidden": {"values": [[16, 8], [12]]},
        "patience": {"values": [None]},
        "restore_best": {"values": [True]},
        "tracking.tags": {"value": ["a b", "c,d"]},
        "tracking.notes": {"value": "it's {this}, [that]"},
        "depth": {"value": None},
    }
    content = {
        "apiVersion": "v1",
        "kind": "sweep",
        "controller": {"type": "cloud"},
        "description": "nested and listed values",
        "program": "scripts/train.py",
        "method": "grid",
        "metric": {"name": "val/loss", "impute": "best", "impute_while_running": "false"},
        "parameters": parameters,
        "command": command,
    }
    (workdir.path / "nested.yaml").write_text(yaml.safe_dump(content))
    sweep, started = start_agents("nested.yaml", count=2)
    wait_for_success(started)
    for run_id, hidden in zip(server.sweeps[sweep].proposed_points, ([16, 8], [12]), strict=True):
        path = run_dir(workdir, sweep, run_id)
        config = SavedRun(path).config
        assert config["model"]["hidden"] == hidden
        assert config["optimizer"]["momentum"] == 0.5
        assert config["optimizer"]["max_grad_norm"] == 1
        assert (config["patience"], config["restore_best"]) == (None, True)
        assert config["tracking"]["tags"] == ["a b", "c,d"]
        assert config["tracking"]["notes"] == "it's {this}, [that]"
        sweep_parameters = RunDir(path).environment["sweep_parameters"]
        assert sweep_parameters["optimizer"] == {"momentum": 0.5, "max_grad_norm": 1}
        content = logged_content(server, run_id)
        assert content == expected_content(path, sweep_parameters=sweep_parameters)
        assert content["config"]["model.hidden"] == hidden


@pytest.mark.soak
def test_two_agents_share_a_sweep_but_no_run_directory(workdir, server, start_agents):
    sweep, started = start_agents("sweeps/random.yaml", count=2, processes=2)
    wait_for_success(started)
    proposed_points = server.sweeps[sweep].proposed_points
    assert len(proposed_points) == 4
    assert len({json.dumps(point) for point in proposed_points.values()}) == 4
    for run_id in proposed_points:
        path = run_dir(workdir, sweep, run_id)
        assert RunDir(path).environment["run_id"] == run_id
        assert logged_content(server, run_id)["history"] == expected_content(path)["history"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("by", ["agent", "stream"])
def test_server_stop_ends_the_trial_but_not_the_agent(
    workdir, server, start_agents, write_sweep_file, by
):
    sweep, started = start_agents(write_sweep_file(*LONG_RUN), count=2)
    stopped = []
    for number in range(2):
        run_id = wait_until(lambda number=number: list(server.runs)[number:])[0]
        path = run_dir(workdir, sweep, run_id)
        wait_until(lambda path=path: count_epochs(path) > 100)
        server.stop_run(run_id, by=(by,))
        wait_until(lambda run_id=run_id: server.runs[run_id].state == "killed")
        stopped.append(path)
    wait_for_success(started)
    for path in stopped:
        run = RunDir(path)
        assert run.summary["status"] == "interrupted"
        logged = server.runs[run.environment["run_id"]]
        assert [row["val/loss"] for row in logged.history] == [
            line["val/loss"] for line in run.history
        ]
        assert logged.summary["status"] == "interrupted"


@pytest.mark.soak
def test_hyperband_under_an_agent_stops_only_lagging_trials(workdir, server, start_agents):
    content = {
        "program": "scripts/train.py",
        "project": "digits",
        "method": "grid",
        "metric": {"name": "val/loss"},
        "early_terminate": {"type": "hyperband", "max_iter": 600, "s": 1, "eta": 3},
        "parameters": {"lr": {"values": [0.2, 0.1, 0.05, 1e-6]}},
        "command": [
            "${env}",
            "${interpreter}",
            "${program}",
            "epochs=4000",
            "tracking.confusion_every=4000",
            "restore_best=true",
            "patience=300",
            "${args_no_hyphens}",
        ],
    }
    (workdir.path / "early.yaml").write_text(yaml.dump(content))
    sweep, started = start_agents("early.yaml", count=4)
    wait_for_success(started)
    states = {
        point["lr"]: server.runs[run_id].state
        for run_id, point in server.sweeps[sweep].proposed_points.items()
    }
    assert states[1e-6] == "killed"
    histories = {run.id: run.metric_values("val/loss") for run in server.state.runs_of_sweep(sweep)}
    rule = parse_sweep_config(content, Path("early.yaml")).early_terminate
    for run_id, own in histories.items():
        others = [values for other, values in histories.items() if other != run_id]
        killed = server.runs[run_id].state == "killed"
        assert not killed or should_prune(rule, Metric(name="val/loss"), own, others)


@pytest.mark.soak
def test_requeued_run_resumes_in_its_directory(workdir, server, start_agents, write_sweep_file):
    args = ["epochs=2000", "tracking.confusion_every=1000", "tracking.preemptible=true"]
    sweep, started = start_agents(write_sweep_file(*args), count=2)
    run_id = wait_until(lambda: list(server.runs))[0]
    path = run_dir(workdir, sweep, run_id)
    wait_until(lambda: count_epochs(path) > 50)
    os.kill(training_pid(path), signal.SIGTERM)
    wait_until(lambda: server.runs[run_id].state in ("preempted", "finished"))
    wait_for_success(started)
    assert list(server.runs) == [run_id]
    expected = uninterrupted_results(workdir, path)
    assert RunDir(path).exact_results == expected
    assert logged_content(server, run_id) == expected_content(path, sweep_parameters={"seed": 5})


def uninterrupted_results(workdir, path):
    """Return the results of a run that is never interrupted."""
    result = workdir.run(TRAIN_SCRIPT, f"reproduce={path}", "tracking=disabled")
    assert result.returncode == 0, result.stdout + result.stderr
    (repeated,) = [
        run
        for run in workdir.runs
        if run.path.parents[1].name == "runs" and run.path.parent.name[:2] == "20"
    ]
    return repeated.exact_results


def check_upload(workdir, server, run_online, path):
    """Upload a run and check that the server has all of it."""
    run_online(UPLOAD_SCRIPT, str(path.relative_to(workdir.path)))
    run_id = RunDir(path).environment["run_id"]
    sweep_parameters = RunDir(path).environment["sweep_parameters"]
    assert logged_content(server, run_id) == expected_content(
        path, sweep_parameters=sweep_parameters
    )
    assert server.runs[run_id].project == "digits"


@pytest.mark.soak
def test_killed_trial_resumes_and_uploads_completely(
    workdir, server, run_online, start_agents, write_sweep_file
):
    sweep, started = start_agents(
        write_sweep_file("epochs=600", "tracking.confusion_every=200", "checkpoint_every=0.1"), 2
    )
    run_id = wait_until(lambda: list(server.runs))[0]
    path = run_dir(workdir, sweep, run_id)
    wait_until(lambda: count_epochs(path) > 100)
    os.kill(training_pid(path), signal.SIGKILL)
    wait_for_success(started)
    server.crash_run(run_id)
    assert len(server.runs) == 2
    result = run_online(TRAIN_SCRIPT, f"resume={path.relative_to(workdir.path)}")
    assert result.stderr == ""
    assert server.runs[run_id].sweep == sweep
    assert logged_content(server, run_id)["history"] == expected_content(path)["history"]
    assert RunDir(path).exact_results == uninterrupted_results(workdir, path)
    check_upload(workdir, server, run_online, path)


@pytest.mark.soak
def test_trial_survives_its_agent(workdir, server, run_online, start_agents, write_sweep_file):
    sweep, started = start_agents(
        write_sweep_file("epochs=1500", "tracking.confusion_every=500"), count=1
    )
    run_id = wait_until(lambda: list(server.runs))[0]
    path = run_dir(workdir, sweep, run_id)
    wait_until(lambda: count_epochs(path) > 10)
    started[0].kill()
    wait_until(lambda: server.runs[run_id].state == "finished")
    wait_until(lambda: (path / "summary.json").exists())
    assert RunDir(path).exact_results == uninterrupted_results(workdir, path)
    assert logged_content(server, run_id) == expected_content(path, sweep_parameters={"seed": 5})


@pytest.mark.soak
def test_server_restart_loses_nothing(workdir, server, run_online, start_agents, write_sweep_file):
    args = ["epochs=2500", "tracking.confusion_every=2500", "tracking.finish_timeout=60"]
    sweep, started = start_agents(write_sweep_file(*args), count=1)
    run_id = wait_until(lambda: list(server.runs))[0]
    path = run_dir(workdir, sweep, run_id)
    wait_until(lambda: count_epochs(path) > 50)
    server.stop()
    wait_until(lambda: count_epochs(path) > 1000)
    server.start()
    wait_for_success(started)
    assert RunDir(path).exact_results == uninterrupted_results(workdir, path)
    check_upload(workdir, server, run_online, path)


@pytest.mark.soak
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "duration_seconds": 5},
        {"status": 429, "retry_after": 1, "max_hits": 5},
        {"drop": True, "max_hits": 10},
        {"drop": True, "after_execution": True, "max_hits": 10},
        {"delay_seconds": 0.3},
        pytest.param({"status": 500, "duration_seconds": 60}, marks=pytest.mark.soak),
    ],
    ids=lambda fault: " ".join(map(str, fault.values())),
)
def test_server_faults_lose_nothing(workdir, server, run_online, fault):
    process = workdir.start(
        TRAIN_SCRIPT,
        "epochs=600",
        "tracking.confusion_every=600",
        "hydra.run.dir=run",
        **server.environment,
        WANDB_PROJECT="digits",
    )
    wait_until(lambda: server.runs and count_epochs(workdir.path / "run") > 20)
    with server.inject_fault(**fault):
        _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    assert RunDir(workdir.path / "run").exact_results == uninterrupted_results(
        workdir, workdir.path / "run"
    )
    check_upload(workdir, server, run_online, workdir.path / "run")


@pytest.mark.soak
def test_unavailable_server_gives_a_warning(workdir, server, run_online):
    process = workdir.start(
        TRAIN_SCRIPT,
        "epochs=600",
        "tracking.confusion_every=600",
        "tracking.finish_timeout=2",
        "hydra.run.dir=run",
        **server.environment,
        WANDB_PROJECT="digits",
    )
    wait_until(lambda: server.runs and count_epochs(workdir.path / "run") > 20)
    server.stop()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0
    assert stderr.startswith("W&B failed (")
    assert stderr.count("\n") == 1
    assert f"python {ROOT}/scripts/upload.py run uploads it.\n" in stderr
    assert RunDir(workdir.path / "run").exact_results == uninterrupted_results(
        workdir, workdir.path / "run"
    )
    server.start()
    check_upload(workdir, server, run_online, workdir.path / "run")


@pytest.mark.soak
@pytest.mark.parametrize("size", ["16k", "64k", "256k"])
def test_full_disk_in_the_wandb_directory_gives_one_warning(workdir, server, run_online, size):
    (workdir.path / "run/wandb").mkdir(parents=True)
    script = f'mount -t tmpfs -o size={size} none run/wandb && exec "$@"'
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own")
    train = [sys.executable, TRAIN_SCRIPT, "epochs=300", "hydra.run.dir=run"]
    result = subprocess.run(
        [*unshare, "sh", "-c", script, "sh", *train],
        cwd=workdir.path,
        env={**os.environ, **server.environment, "WANDB_PROJECT": "digits"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == "" or result.stderr.startswith("W&B failed (")
    assert result.stderr.count("\n") <= 1
    assert RunDir(workdir.path / "run").exact_results == uninterrupted_results(
        workdir, workdir.path / "run"
    )
    check_upload(workdir, server, run_online, workdir.path / "run")


def comparable_content(content):
    """Return what two runs of one seed share: everything but the bytes of their checkpoints."""
    settings = {key: each for key, each in content["settings"].items() if key != "tracking"}
    config = {key: each for key, each in content["config"].items() if key != "settings"}
    config |= {"tracking": None, "choices": None}
    aliases = content["model"][0]
    return {**content, "settings": settings | {"choices": None}, "config": config, "model": aliases}


@pytest.mark.soak
def test_offline_and_online_runs_of_a_seed_are_equal(workdir, server, run_online):
    args = ["epochs=12", "dropout=0.2", "restore_best=true"]
    run_online(TRAIN_SCRIPT, *args, "hydra.run.dir=online", "tracking=online")
    run_online(TRAIN_SCRIPT, *args, "hydra.run.dir=offline", "tracking=offline")
    (synced,) = (workdir.path / "offline/wandb").glob("offline-run-*")
    run_online(WANDB_CLI, "sync", str(synced))

    killed = workdir.start(
        TRAIN_SCRIPT,
        *args,
        "hydra.run.dir=killed",
        "tracking=offline",
        "checkpoint_every=0",
        "threads=1",
    )
    wait_until(lambda: count_epochs(workdir.path / "killed") >= 5)
    killed.kill()
    killed.communicate()
    run_online(TRAIN_SCRIPT, "resume=killed", "tracking=offline")
    for _ in range(2):  # uploading twice is harmless
        result = run_online(UPLOAD_SCRIPT, "killed")
        run_id = RunDir(workdir.path / "killed").environment["run_id"]
        assert result.stdout == f"killed: {server.state.url}/somebody/nn-sweeps/runs/{run_id}\n"

    names = [
        RunDir(workdir.path / each).environment["run_id"]
        for each in ("online", "offline", "killed")
    ]
    contents = [logged_content(server, name) for name in names]
    for name, content in zip(("online", "offline", "killed"), contents, strict=True):
        assert content == expected_content(workdir.path / name)
    first, second, third = map(comparable_content, contents)
    assert first == second
    assert {**first, "config": third["config"], "settings": third["settings"]} == third
    assert len(server.artifacts[f"model-{names[2]}"].versions) == 1


PAUSE_SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from nn.config.compose import compose_config
from nn.runs.runner import run
from nn.runs.upload import is_offline_run_due, write_offline_run

path, config = Path("run"), compose_config(sys.argv[2:])
run = partial(run, config, path, defers_offline_run=True)
for epoch in {"pause": (1, 3), "end": (5, 6)}[sys.argv[1]]:
    run(resume=epoch > 1, pause_epoch=epoch)
    assert "wandb" not in sys.modules
    assert not list(path.glob("wandb/*run-*"))
    assert is_offline_run_due(path)
for _ in range(2):
    write_offline_run(path)
    assert not is_offline_run_due(path)
"""


def test_deferred_offline_run_is_written_when_asked_and_replaced_by_the_next_session(
    workdir, server, run_online
):
    args = ["epochs=6", "restore_best=true", "tracking.confusion_every=2", "tracking.group=g"]
    args += ["tracking=offline", "tracking.tags=[a,b]", "tracking.notes=hello"]

    def sync():
        (folder,) = (workdir.path / "run/wandb").glob("offline-run-*")
        run_online(WANDB_CLI, "sync", str(folder))
        (run,) = server.runs.values()
        assert run.id == RunDir(workdir.path / "run").environment["run_id"]
        assert (run.group, run.tags, run.notes) == ("g", ["a", "b"], "hello")
        return logged_content(server, run.id)

    for phase, epochs, model in (("pause", 3, {"model": None}), ("end", 6, {})):
        result = workdir.run("-c", PAUSE_SCRIPT, phase, *args)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        assert len(RunDir(workdir.path / "run").history) == epochs
        assert sync() == expected_content(workdir.path / "run") | model


def test_whole_sweep_can_be_uploaded(workdir, server, run_online):
    sweep = SWEEP_SCRIPT
    result = workdir.run(sweep, "sweeps/random.yaml", "--count=3", "epochs=2")
    assert result.returncode == 0, result.stderr
    result = run_online(UPLOAD_SCRIPT, "runs/sweeps/random")
    assert len(result.stdout.splitlines()) == 3
    for run in workdir.runs:
        logged = server.runs[run.environment["run_id"]]
        assert logged.group == "random"
        number = int(run.path.name)
        trial = {"trial": number, "point": number}
        assert logged_content(server, logged.id) == expected_content(
            run.path, sweep_parameters=trial
        )


def test_offline_runs_of_a_sweep_hold_what_its_trials_recorded(workdir, server, run_online):
    overrides = ["epochs=12", "tracking.confusion_every=5", "restore_best=true"]
    result = workdir.run(SWEEP_SCRIPT, "sweeps/random.yaml", "--count=2", *overrides)
    assert result.returncode == 0, result.stderr
    for run in workdir.runs:
        (folder,) = run.path.glob("wandb/*-run-*")
        run_online(WANDB_CLI, "sync", str(folder))
        logged = server.runs[run.environment["run_id"]]
        assert (logged.group, logged.state) == ("random", "finished")
        number = int(run.path.name)
        assert logged_content(server, logged.id) == expected_content(
            run.path, sweep_parameters={"trial": number, "point": number}
        )


@pytest.mark.soak
def test_server_shows_every_replicate_in_the_group_of_the_sweep(workdir, server, run_online):
    content = {"method": "grid", "metric": {"name": "val/loss"}}
    content["parameters"] = {"lr": {"values": [0.05, 0.1]}}
    (workdir.path / "two.yaml").write_text(yaml.safe_dump(content))
    result = workdir.run(SWEEP_SCRIPT, "two.yaml", "--replicates=3", "--no-racing", "epochs=2")
    assert result.returncode == 0, result.stderr
    run_online(UPLOAD_SCRIPT, "runs/sweeps/two")
    assert {run.group for run in server.runs.values()} == {"two"}
    configs = [run.config for run in server.runs.values()]
    assert sorted(config["trial"] for config in configs) == [*range(6)]
    points = {config["trial"]: config["lr"] for config in configs}
    assert all(config["lr"] == points[config["point"]] for config in configs)
    assert sorted((config["lr"], config["seed"]) for config in configs) == [
        (lr, seed) for lr in (0.05, 0.1) for seed in (0, 1, 2)
    ]


def test_crash_is_recorded_as_a_failure(workdir, server, run_online):
    (workdir.path / "own.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Breaks(Dense):\n"
        "    def forward(self, x, training):\n"
        "        raise RuntimeError('broken')\n"
        "class Model:\n"
        "    def build_layers(self, num_classes, rngs):\n"
        "        return [Flatten(), Breaks(num_classes)]\n"
    )
    (workdir.path / "model").mkdir()
    (workdir.path / "model/own.yaml").write_text("_target_: own.Model\n")
    result = run_online(TRAIN_SCRIPT, "--config-dir", ".", "model=own", PYTHONPATH=".", expect=1)
    assert "RuntimeError: broken" in result.stderr
    (run,) = server.runs.values()
    assert run.state == "failed"
    assert run.summary["status"] == "crashed"


def test_diverged_trial_reports_its_objective_and_counts_as_finished(
    workdir, server, start_agents, write_sweep_file
):
    file = write_sweep_file("epochs=3", "lr=5000")
    sweep, started = start_agents(file, count=1)
    wait_for_success(started)
    (run,) = server.runs.values()
    assert run.state == "finished"
    assert run.summary["status"] == "diverged"
    saved = SavedRun(run_dir(workdir, sweep, run.id))
    assert run.summary.get("best/val/loss") == saved.summary["best/val/loss"]


def test_refused_trial_reports_why_and_counts_as_failed(
    workdir, server, start_agents, write_sweep_file
):
    file = write_sweep_file("epochs=3", "optimizer.momentum=2")
    _, started = start_agents(file, count=1)
    wait_for_success(started)
    message = "optimizer.momentum=2: optimizer.momentum must be a number, at least 0 and below 1."
    (run,) = server.runs.values()
    assert run.state == "failed"
    assert message in run.summary["reason"]
    assert (workdir.path / "agent0.txt").read_text().count(message) == 1
    assert any(message in line for line in run.output)
    assert not workdir.runs


def test_resumed_agent_run_with_changed_settings_is_refused(workdir, server, run_online):
    agent = {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": "r1", "WANDB_MODE": "disabled"}
    run_online(TRAIN_SCRIPT, "epochs=2", **agent)
    result = run_online(TRAIN_SCRIPT, "epochs=3", **agent, expect=2)
    expected = (
        "runs/s1/r1: epochs differs from the value with which the run to resume was started.\n"
    )
    assert result.stderr == expected
    resumed = run_online(TRAIN_SCRIPT, "epochs=2", **agent)
    assert "The run resumes after epoch 2." in resumed.stdout


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("status", "message"), [(403, "permission denied"), (404, "no such entity")]
)
def test_refused_project_gives_a_warning(workdir, server, run_online, status, message):
    with server.inject_fault(status, match="UpsertBucket", message=message):
        result = run_online(TRAIN_SCRIPT, "epochs=2", "tracking=online", "hydra.run.dir=run")
    assert result.stderr == (
        f"W&B failed ({message}); the run directory has everything, and the run stays offline.\n"
    )
    assert "wandb sync run/wandb/offline-run-" in result.stdout
    with server.inject_fault(status, match="UpsertBucket", message=message):
        result = run_online(UPLOAD_SCRIPT, "run", expect=1)
    assert result.stdout == f"run: the upload is incomplete and must be repeated: {message}\n"
    restored_project = run_online(UPLOAD_SCRIPT, "run")
    assert restored_project.stdout.startswith("run: http://127.0.0.1")


@pytest.mark.soak
def test_incomplete_upload_is_reported(workdir, server, run_online):
    run_online(TRAIN_SCRIPT, "epochs=2", "tracking=disabled", "hydra.run.dir=run")
    with server.inject_fault(403, match="file_stream"):
        result = run_online(UPLOAD_SCRIPT, "run", expect=1)
    assert "run: the upload is incomplete" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "nowhere: there is no such directory."),
        (["empty"], "empty: there is no run in this directory."),
        (["damaged"], "damaged/config.yaml is damaged: it must be a mapping of settings."),
        (
            ["run"],
            "upload.py: no W&B credentials found; run wandb login, or set WANDB_API_KEY.",
        ),
    ],
)
def test_upload_errors_are_one_line(workdir, args, message):
    (workdir.path / "empty").mkdir()
    (workdir.path / "damaged").mkdir()
    (workdir.path / "damaged/config.yaml").write_text("- 1\n")
    workdir.train("epochs=1", "hydra.run.dir=run")
    result = workdir.run(UPLOAD_SCRIPT, *args)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", message + "\n")


def test_sweep_files_are_accepted_by_wandb_sweep(workdir, server, run_online):
    for file in sorted((ROOT / "sweeps").glob("*.yaml")):
        run_online(WANDB_CLI, "sweep", "--project", "digits", f"sweeps/{file.name}")
    configs = [yaml.safe_load(sweep.config) for sweep in server.sweeps.values()]
    written = [yaml.safe_load(file.read_text()) for file in sorted(ROOT.glob("sweeps/*.yaml"))]
    assert configs == written
