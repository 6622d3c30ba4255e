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
from tests.commands.seen import by_its_folder, seen
from tests.conftest import ROOT, Run
from tests.loopback import QUICK_AGENT, Loopback
from tests.waiting import count_epochs, wait_until

TRAIN, UPLOAD = str(ROOT / "scripts/train.py"), str(ROOT / "scripts/upload.py")
LONG = ["epochs=100000", "tracking.confusion_every=100000"]
TRIALS = """
program: scripts/train.py
project: digits
method: grid
metric: {name: val/loss}
parameters:
  seed: {values: [5, 6, 7, 8]}
command: ["${env}", "${interpreter}", "${program}", WORDS, "${args_no_hyphens}"]
"""


@pytest.fixture
def server(workplace):
    for name in ("scripts", "sweeps"):
        (workplace.path / name).symlink_to(ROOT / name)
    with Loopback() as server:
        yield server


@pytest.fixture
def online(workplace, server):
    """Run a command with an account on the server."""

    def run(*words, expect=0, **environment):
        done = workplace.run(*words, **server.environment, **environment)
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def agents(workplace, server, online):
    """Create a sweep and start agents for it; kill the remaining ones at the end."""
    started = []

    def start(file, count, processes=1):
        online(QUICK_AGENT, "sweep", "--project", "digits", str(file))
        (sweep,) = server.sweeps
        words = [QUICK_AGENT, "agent", "--count", str(count), f"somebody/digits/{sweep}"]
        settings = workplace.command(*words, **server.environment)
        for number in range(processes):
            log = (workplace.path / f"agent{number}.txt").open("w")
            line, rest = settings
            started.append(subprocess.Popen(line, stdout=log, stderr=log, **rest))
            log.close()
        return sweep, started

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def long_trials(workplace):
    """Write a sweep file whose trials get these arguments."""

    def write(*words):
        file = workplace.path / "trials.yaml"
        file.write_text(TRIALS.replace("WORDS", ", ".join(f'"{word}"' for word in words)))
        return file

    return write


def ended(processes):
    for process in processes:
        assert process.wait(timeout=120) == 0


def folder(workplace, sweep, run_id):
    return workplace.path / "runs" / sweep / run_id


def process_of(path):
    """Find the process that trains in a run directory by the lock that it holds."""
    inode = f":{(path / '.lock').stat().st_ino} "
    with Path("/proc/locks").open() as locks:
        return next(int(line.split()[4]) for line in locks if inode in line)


def value_at(config, name):
    """Return the value in a config that a sweep parameter sets."""
    if "." in name:
        group, _, key = name.partition(".")
        return config[group][key]
    return config["choices"][name] if name in config["choices"] else config[name]


def test_an_online_run_is_all_there(workplace, server, online):
    done = online(
        TRAIN, "epochs=12", "restore_best=true", "hydra.run.dir=run", "tracking.tags=[a,b]"
    )
    assert done.stderr == ""
    (run_id,) = server.runs
    assert f"W&B: {server.state.url}/somebody/nn-sweeps/runs/{run_id}" in done.stdout
    assert seen(server, run_id) == by_its_folder(workplace.path / "run")
    run = server.runs[run_id]
    assert run.tags == ["a", "b"]
    assert run.commit == Run(workplace.path / "run").environment["git"]["commit"]
    environment = (workplace.path / "run/environment.json").read_bytes()
    assert run.files["environment.json"] == environment
    assert [row["_step"] for row in run.history] == list(range(1, 13))  # one row per epoch


def test_variables_say_where_a_run_belongs(server, online):
    online(
        TRAIN,
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


def test_how_much_is_sent_is_a_choice(server, online):
    volume = [
        "tracking.num_examples=0",
        "tracking.log_model=false",
        "tracking.confusion_every=null",
    ]
    online(TRAIN, "epochs=12", *volume)
    (run_id,) = server.runs
    content = seen(server, run_id)
    assert content["images"] == {}
    assert content["model"] is None
    assert {name.split()[1] for name in content["tables"]} == {"12"}


READ = """
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


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["grid", "random", "wide", "bayes", "hyperband"])
def test_a_sweep_file_means_the_same_behind_an_agent_and_offline(
    workplace, server, online, agents, name
):
    sweep, started = agents(f"sweeps/{name}.yaml", count=2)
    ended(started)
    done = workplace.run(
        str(ROOT / "scripts/sweep.py"), f"sweeps/{name}.yaml", "--count=2", "tracking=disabled"
    )
    assert done.returncode == 0, done.stderr
    offline = SavedRun.read(workplace.path / f"runs/sweeps/{name}/trials/0000")
    proposed = server.sweeps[sweep].proposed
    assert len(proposed) == 2
    for run_id, point in proposed.items():
        path = folder(workplace, sweep, run_id)
        saved = SavedRun.read(path)
        for parameter, value in point.items():
            there = value_at(saved.config, parameter)
            assert (there, type(there)) == (value, type(value))
            assert type(value_at(offline.config, parameter)) is type(there)
        assert seen(server, run_id) == by_its_folder(path, swept=point)
    if name == "hyperband":  # its trials may be stopped and then have no test score
        return
    read = json.loads(online("-c", READ, f"somebody/digits/{sweep}").stdout)
    for run_id in proposed:
        there, here = read[run_id], seen(server, run_id)
        assert there["state"] == "finished"
        assert there["config"] == here["config"]
        assert len(there["history"]) == len(here["history"]) == 20
        assert there["history"][-1]["val/loss"] == here["history"][-1]["val/loss"]
        assert there["summary"]["test/accuracy"] == here["summary"]["test/accuracy"]
        assert there["cells"]["data"] == here["tables"]["test/confusion_matrix_table 20"]
        assert len(there["images"]) == len(here["images"]["examples/right"])
        model = (workplace.path / there["model"] / "model.safetensors").read_bytes()
        assert model == here["model"][2]


def test_two_agents_share_a_sweep_and_no_folder(workplace, server, agents):
    sweep, started = agents("sweeps/random.yaml", count=2, processes=2)
    ended(started)
    proposed = server.sweeps[sweep].proposed
    assert len(proposed) == 4
    assert len({json.dumps(point) for point in proposed.values()}) == 4
    for run_id in proposed:
        path = folder(workplace, sweep, run_id)
        assert Run(path).environment["run_id"] == run_id
        assert seen(server, run_id)["history"] == by_its_folder(path)["history"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("by", ["agent", "stream"])
def test_a_stop_from_the_server_ends_a_trial_and_the_agent_goes_on(
    workplace, server, agents, long_trials, by
):
    sweep, started = agents(long_trials(*LONG), count=2)
    stopped = []
    for number in range(2):
        run_id = wait_until(lambda number=number: list(server.runs)[number:])[0]
        path = folder(workplace, sweep, run_id)
        wait_until(lambda path=path: count_epochs(path) > 100)
        server.stop_run(run_id, by=(by,))
        wait_until(lambda run_id=run_id: server.runs[run_id].state == "killed")
        stopped.append(path)
    ended(started)
    for path in stopped:
        run = Run(path)
        assert run.summary["status"] == "interrupted"
        there = server.runs[run.environment["run_id"]]
        assert [row["val/loss"] for row in there.history] == [
            line["val/loss"] for line in run.history
        ]
        assert there.summary["status"] == "interrupted"


def test_hyperband_stops_behind_an_agent_what_lags_and_nothing_else(workplace, server, agents):
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
    (workplace.path / "early.yaml").write_text(yaml.dump(content))
    sweep, started = agents("early.yaml", count=4)
    ended(started)
    states = {
        point["lr"]: server.runs[run_id].state
        for run_id, point in server.sweeps[sweep].proposed.items()
    }
    assert states[1e-6] == "killed"
    histories = {run.id: run.values("val/loss") for run in server.state.runs_of(sweep)}
    rule = parse_sweep_config(content, Path("early.yaml")).early_terminate
    for run_id, own in histories.items():
        others = [values for other, values in histories.items() if other != run_id]
        killed = server.runs[run_id].state == "killed"
        assert not killed or should_prune(rule, Metric(name="val/loss"), own, others)


@pytest.mark.soak
def test_a_preempted_run_that_comes_back_finds_its_folder_and_resumes(
    workplace, server, agents, long_trials
):
    words = ["epochs=2000", "tracking.confusion_every=1000", "tracking.preemptible=true"]
    sweep, started = agents(long_trials(*words), count=2)
    run_id = wait_until(lambda: list(server.runs))[0]
    path = folder(workplace, sweep, run_id)
    wait_until(lambda: count_epochs(path) > 50)
    os.kill(process_of(path), signal.SIGTERM)
    wait_until(lambda: server.runs[run_id].state in ("preempted", "finished"))
    ended(started)
    assert list(server.runs) == [run_id]
    expected = undisturbed(workplace, path)
    assert Run(path).bits == expected
    assert seen(server, run_id) == by_its_folder(path, swept={"seed": 5})


def undisturbed(workplace, path):
    """Return the results of a run that is never interrupted."""
    done = workplace.run(TRAIN, f"reproduce={path}", "tracking=disabled")
    assert done.returncode == 0, done.stdout + done.stderr
    (again,) = [
        run
        for run in workplace.runs
        if run.path.parents[1].name == "runs" and run.path.parent.name[:2] == "20"
    ]
    return again.bits


def restored(workplace, server, online, path):
    """Upload a run and check that the server has all of it."""
    online(UPLOAD, str(path.relative_to(workplace.path)))
    run_id = Run(path).environment["run_id"]
    swept = Run(path).environment["sweep_parameters"]
    assert seen(server, run_id) == by_its_folder(path, swept=swept)
    assert server.runs[run_id].project == "digits"


def test_a_trial_that_is_killed_resumes_and_uploads_to_the_same_state(
    workplace, server, online, agents, long_trials
):
    sweep, started = agents(
        long_trials("epochs=1500", "tracking.confusion_every=500", "checkpoint_every=0.1"), 2
    )
    run_id = wait_until(lambda: list(server.runs))[0]
    path = folder(workplace, sweep, run_id)
    wait_until(lambda: count_epochs(path) > 100)
    os.kill(process_of(path), signal.SIGKILL)
    ended(started)
    server.crash_run(run_id)
    assert len(server.runs) == 2
    done = online(TRAIN, f"resume={path.relative_to(workplace.path)}")
    assert done.stderr == ""
    assert server.runs[run_id].sweep == sweep
    assert seen(server, run_id)["history"] == by_its_folder(path)["history"]
    assert Run(path).bits == undisturbed(workplace, path)
    restored(workplace, server, online, path)


@pytest.mark.soak
def test_a_trial_outlives_its_agent(workplace, server, online, agents, long_trials):
    sweep, started = agents(long_trials("epochs=1500", "tracking.confusion_every=500"), count=1)
    run_id = wait_until(lambda: list(server.runs))[0]
    path = folder(workplace, sweep, run_id)
    wait_until(lambda: count_epochs(path) > 10)
    started[0].kill()
    wait_until(lambda: server.runs[run_id].state == "finished")
    wait_until(lambda: (path / "summary.json").exists())
    assert Run(path).bits == undisturbed(workplace, path)
    assert seen(server, run_id) == by_its_folder(path, swept={"seed": 5})


@pytest.mark.soak
def test_a_server_that_dies_and_comes_back_costs_nothing(
    workplace, server, online, agents, long_trials
):
    words = ["epochs=2500", "tracking.confusion_every=2500", "tracking.finish_timeout=60"]
    sweep, started = agents(long_trials(*words), count=1)
    run_id = wait_until(lambda: list(server.runs))[0]
    path = folder(workplace, sweep, run_id)
    wait_until(lambda: count_epochs(path) > 50)
    server.stop()
    wait_until(lambda: count_epochs(path) > 1000)
    server.start()
    ended(started)
    assert Run(path).bits == undisturbed(workplace, path)
    restored(workplace, server, online, path)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "seconds": 5},
        {"status": 429, "retry_after": 1, "times": 5},
        {"drop": True, "times": 10},
        {"drop": True, "carried_out": True, "times": 10},
        {"delay": 0.3},
        pytest.param({"status": 500, "seconds": 60}, marks=pytest.mark.soak),
    ],
    ids=lambda fault: " ".join(map(str, fault.values())),
)
def test_a_server_that_misbehaves_costs_nothing(workplace, server, online, fault):
    process = workplace.start(
        TRAIN,
        "epochs=600",
        "tracking.confusion_every=600",
        "hydra.run.dir=run",
        **server.environment,
        WANDB_PROJECT="digits",
    )
    wait_until(lambda: server.runs and count_epochs(workplace.path / "run") > 20)
    with server.failing(**fault):
        _, told = process.communicate(timeout=120)
    assert (process.returncode, told) == (0, "")
    assert Run(workplace.path / "run").bits == undisturbed(workplace, workplace.path / "run")
    restored(workplace, server, online, workplace.path / "run")


@pytest.mark.soak
def test_a_server_that_is_gone_costs_a_warning(workplace, server, online):
    process = workplace.start(
        TRAIN,
        "epochs=600",
        "tracking.confusion_every=600",
        "tracking.finish_timeout=2",
        "hydra.run.dir=run",
        **server.environment,
        WANDB_PROJECT="digits",
    )
    wait_until(lambda: server.runs and count_epochs(workplace.path / "run") > 20)
    server.stop()
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0
    assert told.startswith("W&B failed (")
    assert told.count("\n") == 1
    assert f"python {ROOT}/scripts/upload.py run uploads it.\n" in told
    assert Run(workplace.path / "run").bits == undisturbed(workplace, workplace.path / "run")
    server.start()
    restored(workplace, server, online, workplace.path / "run")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("size", ["16k", "64k", "256k"])
def test_a_full_disk_under_wandbs_folder_costs_one_warning(workplace, server, online, size):
    (workplace.path / "run/wandb").mkdir(parents=True)
    script = f'mount -t tmpfs -o size={size} none run/wandb && exec "$@"'
    apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own")
    train = [sys.executable, TRAIN, "epochs=300", "hydra.run.dir=run"]
    done = subprocess.run(
        [*apart, "sh", "-c", script, "sh", *train],
        cwd=workplace.path,
        env={**os.environ, **server.environment, "WANDB_PROJECT": "digits"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or done.stderr.startswith("W&B failed (")
    assert done.stderr.count("\n") <= 1
    assert Run(workplace.path / "run").bits == undisturbed(workplace, workplace.path / "run")
    restored(workplace, server, online, workplace.path / "run")


def alike(content):
    """Return what two runs of one seed share: everything but the bytes of their checkpoints."""
    settings = {key: each for key, each in content["settings"].items() if key != "tracking"}
    config = {key: each for key, each in content["config"].items() if key != "settings"}
    config |= {"tracking": None, "choices": None}
    aliases = content["model"][0]
    return {**content, "settings": settings | {"choices": None}, "config": config, "model": aliases}


def test_offline_and_online_runs_of_a_seed_come_to_the_same(workplace, server, online):
    words = ["epochs=12", "dropout=0.2", "restore_best=true"]
    online(TRAIN, *words, "hydra.run.dir=online", "tracking=online")
    online(TRAIN, *words, "hydra.run.dir=offline", "tracking=offline")
    (synced,) = (workplace.path / "offline/wandb").glob("offline-run-*")
    online(QUICK_AGENT, "sync", str(synced))

    killed = workplace.start(
        TRAIN, *words, "hydra.run.dir=killed", "tracking=offline", "checkpoint_every=0", "threads=1"
    )
    wait_until(lambda: count_epochs(workplace.path / "killed") >= 5)
    killed.kill()
    killed.communicate()
    online(TRAIN, "resume=killed", "tracking=offline")
    for _ in range(2):  # uploading twice is harmless
        done = online(UPLOAD, "killed")
        run_id = Run(workplace.path / "killed").environment["run_id"]
        assert done.stdout == f"killed: {server.state.url}/somebody/nn-sweeps/runs/{run_id}\n"

    names = [
        Run(workplace.path / each).environment["run_id"] for each in ("online", "offline", "killed")
    ]
    contents = [seen(server, name) for name in names]
    for name, content in zip(("online", "offline", "killed"), contents, strict=True):
        assert content == by_its_folder(workplace.path / name)
    first, second, third = map(alike, contents)
    assert first == second
    assert {**first, "config": third["config"], "settings": third["settings"]} == third
    assert len(server.artifacts[f"model-{names[2]}"].versions) == 1


def test_a_whole_sweep_is_uploaded(workplace, server, online):
    sweep = str(ROOT / "scripts/sweep.py")
    done = workplace.run(sweep, "sweeps/random.yaml", "--count=3", "epochs=2")
    assert done.returncode == 0, done.stderr
    done = online(UPLOAD, "runs/sweeps/random")
    assert len(done.stdout.splitlines()) == 3
    for run in workplace.runs:
        there = server.runs[run.environment["run_id"]]
        assert there.group == "random"
        assert seen(server, there.id) == by_its_folder(run.path)


def test_a_crash_is_recorded_as_a_failure(workplace, server, online):
    (workplace.path / "own.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Breaks(Dense):\n"
        "    def forward(self, x, training):\n"
        "        raise RuntimeError('broken')\n"
        "class Model:\n"
        "    def build_layers(self, num_classes, rngs):\n"
        "        return [Flatten(), Breaks(num_classes)]\n"
    )
    (workplace.path / "model").mkdir()
    (workplace.path / "model/own.yaml").write_text("_target_: own.Model\n")
    done = online(TRAIN, "--config-dir", ".", "model=own", PYTHONPATH=".", expect=1)
    assert "RuntimeError: broken" in done.stderr
    (run,) = server.runs.values()
    assert run.state == "failed"
    assert run.summary["status"] == "crashed"


def test_a_diverged_trial_reports_its_objective_and_counts_as_run(
    workplace, server, agents, long_trials
):
    file = long_trials("epochs=3", "lr=5000")
    sweep, started = agents(file, count=1)
    ended(started)
    (run,) = server.runs.values()
    assert run.state == "finished"
    assert run.summary["status"] == "diverged"
    saved = SavedRun.read(folder(workplace, sweep, run.id))
    assert run.summary.get("best/val/loss") == saved.summary["best/val/loss"]


def test_a_trial_that_is_refused_tells_why_and_counts_as_failed(
    workplace, server, agents, long_trials
):
    file = long_trials("epochs=3", "optimizer.momentum=2")
    _, started = agents(file, count=1)
    ended(started)
    sentence = "optimizer.momentum=2: optimizer.momentum must be a number, at least 0 and below 1."
    (run,) = server.runs.values()
    assert run.state == "failed"
    assert sentence in run.summary["reason"]
    assert (workplace.path / "agent0.txt").read_text().count(sentence) == 1
    assert any(sentence in line for line in run.output)
    assert not workplace.runs


def test_a_run_that_comes_back_with_other_settings_is_refused(workplace, server, online):
    agent = {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": "r1", "WANDB_MODE": "disabled"}
    online(TRAIN, "epochs=2", **agent)
    done = online(TRAIN, "epochs=3", **agent, expect=2)
    expected = (
        "runs/s1/r1: epochs differs from the value with which the run to resume was started.\n"
    )
    assert done.stderr == expected
    again = online(TRAIN, "epochs=2", **agent)
    assert "The run resumes after epoch 2." in again.stdout


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("status", "message"), [(403, "permission denied"), (404, "no such entity")]
)
def test_a_project_that_is_refused_costs_a_warning(workplace, server, online, status, message):
    with server.failing(status, match="UpsertBucket", message=message):
        done = online(TRAIN, "epochs=2", "tracking=online", "hydra.run.dir=run")
    assert done.stderr == (
        f"W&B failed ({message}); the run directory has everything, and the run stays offline.\n"
    )
    assert "wandb sync run/wandb/offline-run-" in done.stdout
    with server.failing(status, match="UpsertBucket", message=message):
        done = online(UPLOAD, "run", expect=1)
    assert done.stdout == f"run: the upload is incomplete and must be repeated: {message}\n"
    restored_project = online(UPLOAD, "run")
    assert restored_project.stdout.startswith("run: http://127.0.0.1")


@pytest.mark.soak
def test_an_upload_that_does_not_arrive_is_told(workplace, server, online):
    online(TRAIN, "epochs=2", "tracking=disabled", "hydra.run.dir=run")
    with server.failing(403, match="file_stream"):
        done = online(UPLOAD, "run", expect=1)
    assert "run: the upload is incomplete" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
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
def test_what_cannot_be_uploaded_is_told_in_a_sentence(workplace, words, told):
    (workplace.path / "empty").mkdir()
    (workplace.path / "damaged").mkdir()
    (workplace.path / "damaged/config.yaml").write_text("- 1\n")
    workplace.train("epochs=1", "hydra.run.dir=run")
    done = workplace.run(UPLOAD, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told + "\n")


def test_a_sweep_file_is_taken_by_the_real_wandb_sweep(workplace, server, online):
    for file in sorted((ROOT / "sweeps").glob("*.yaml")):
        online(QUICK_AGENT, "sweep", "--project", "digits", f"sweeps/{file.name}")
    configs = [yaml.safe_load(sweep.config) for sweep in server.sweeps.values()]
    written = [yaml.safe_load(file.read_text()) for file in sorted(ROOT.glob("sweeps/*.yaml"))]
    assert configs == written
