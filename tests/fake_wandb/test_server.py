"""The fake server, tested with the real client."""

from __future__ import annotations

import json
import time

import pytest

from tests.fake_wandb import WANDB_CLI, FakeWandbServer, Fault
from tests.waiting import wait_until

LOG_SCRIPT = """
import sys, wandb
settings = dict(pair.split("=", 1) for pair in sys.argv[1:])
with wandb.init(project="digits", settings=wandb.Settings(silent=True), **settings) as run:
    for epoch in range(3):
        run.log({"epoch": epoch, "loss": 1 / (epoch + 1)})
"""

RICH_LOG_SCRIPT = """
import numpy as np, wandb
with wandb.init(
    project="digits", id="rich", name="a name", group="g", job_type="j", notes="n", tags=["a", "b"],
    config={"lr": 0.1, "sizes": [1, 2], "nested": {"deep": None}},
) as run:
    run.log({"loss": 0.5, "image": wandb.Image(np.zeros((4, 4, 3), np.uint8))})
    run.log({"loss": 0.25, "table": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])})
    open("weights.txt", "w").write("heavy")
    artifact = wandb.Artifact("model", "model", metadata={"accuracy": 0.9})
    artifact.add_file("weights.txt")
    run.log_artifact(artifact, aliases=["best"])
    run.summary["best"] = 0.25
"""

READ_SCRIPT = """
import json, wandb
api = wandb.Api()
(run,) = api.runs("digits", filters={"group": "g", "config.lr": 0.1})
logged = {each.name: each for each in run.logged_artifacts()}
model = api.artifact("digits/model:best")
print(json.dumps({
    "run": [run.id, run.name, run.state, run.group, run.job_type, run.notes, run.tags],
    "config": run.config,
    "summary": run.summary["best"],
    "history": run.history(keys=["loss"], pandas=False),
    "whole": [row["loss"] for row in run.history(pandas=False)],
    "scan": [row["loss"] for row in run.scan_history()],
    "scan_keys": list(run.scan_history(keys=["loss"])),
    "files": sorted(file.name.split("/")[0] for file in run.files()),
    "image": len(run.file(run.history(pandas=False)[0]["image"]["path"]).download().name) > 0,
    "table": logged["run-rich-table:v0"].get("table").data,
    "model": [model.version, model.type, sorted(model.aliases), model.metadata],
    "weights": open(model.download() + "/weights.txt").read(),
    "by": model.logged_by().id,
}))
"""

TRIAL_SCRIPT = """
import signal, sys, time, wandb
from wandb.sdk.lib import run_stopping
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
run_stopping.RunStopChecker.__init__.__kwdefaults__["poll_interval"] = 0.2  # of 15 s
with wandb.init(settings=wandb.Settings(silent=True)) as run:
    rate = run.config["lr"]
    for epoch in range(600 if rate == 0.9 else 2):
        run.log({"loss": rate * (epoch + 1)})
        time.sleep(0.1)
"""

SWEEP_YAML = """
program: trial.py
project: digits
method: grid
metric: {name: loss}
parameters:
  lr: {values: [0.1, 0.2, 0.3]}
"""


@pytest.fixture
def server():
    with FakeWandbServer() as server:
        yield server


@pytest.fixture
def run_program(server, workdir):
    """Run a program against the server and require that it succeeds."""

    def run(*args, **environment):
        result = workdir.run(*args, **{**server.environment, **environment})
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


def losses(run):
    return [row["loss"] for row in run.history]


def wait_for_output(process):
    """Wait for a process and return its output."""
    stdout, stderr = process.communicate(timeout=100)
    return stdout + stderr


def create_sweep(run_program, workdir, text=SWEEP_YAML):
    (workdir.path / "trial.py").write_text(TRIAL_SCRIPT)
    (workdir.path / "sweep.yaml").write_text(text)
    run_program("-m", "wandb", "sweep", "sweep.yaml")


@pytest.mark.soak
def test_logged_data_is_read_back(server, run_program, workdir):
    run_program("-c", RICH_LOG_SCRIPT)
    read = json.loads(run_program("-c", READ_SCRIPT).splitlines()[-1])
    assert read["run"] == ["rich", "a name", "finished", "g", "j", "n", ["a", "b"]]
    assert read["config"] == {"lr": 0.1, "sizes": [1, 2], "nested": {"deep": None}}
    assert read["summary"] == 0.25
    assert read["whole"] == read["scan"] == [0.5, 0.25]
    assert read["history"] == read["scan_keys"]
    assert read["scan_keys"] == [{"_step": 0, "loss": 0.5}, {"_step": 1, "loss": 0.25}]
    assert {"config.yaml", "media", "wandb-metadata.json"} <= set(read["files"])
    assert read["image"]
    assert read["table"] == [[1, "x"], [2, "y"]]
    assert read["model"] == ["v0", "model", ["best", "latest"], {"accuracy": 0.9}]
    assert read["weights"] == "heavy"
    assert read["by"] == "rich"


@pytest.mark.soak
def test_unchanged_artifact_makes_no_new_version(server, run_program):
    run_program("-c", RICH_LOG_SCRIPT)
    run_program("-c", RICH_LOG_SCRIPT)
    assert len(server.artifacts["model"].versions) == 1


@pytest.mark.soak
def test_resumed_run_continues_its_history(server, run_program):
    run_program("-c", LOG_SCRIPT, "id=one")
    run_program("-c", LOG_SCRIPT, "id=one", "resume=allow")
    assert [row["_step"] for row in server.runs["one"].history] == [0, 1, 2, 3, 4, 5]
    assert server.runs["one"].state == "finished"


@pytest.mark.soak
def test_restarted_run_replaces_its_history(server, run_program):
    run_program("-c", LOG_SCRIPT, "id=one", "resume=allow")
    run_program("-c", LOG_SCRIPT, "id=one")
    assert [row["_step"] for row in server.runs["one"].history] == [0, 1, 2]


@pytest.mark.soak
def test_exit_codes_determine_run_states(server, workdir):
    for code, state in ((0, "finished"), (1, "failed"), (255, "killed")):
        program = f"import wandb; wandb.init(project='digits', id='r{code}').finish({code})"
        workdir.run("-c", program, **server.environment)
        assert server.runs[f"r{code}"].state == state


def test_offline_run_can_be_synced(server, run_program, workdir):
    run_program("-c", LOG_SCRIPT, "id=one", WANDB_MODE="offline")
    assert not server.runs
    (folder,) = workdir.path.glob("wandb/offline-run-*")
    run_program("-m", "wandb", "sync", str(folder))
    assert losses(server.runs["one"]) == [1, 1 / 2, 1 / 3]
    assert server.runs["one"].state == "finished"


@pytest.mark.soak
def test_agent_runs_a_sweep(server, run_program, workdir):
    create_sweep(run_program, workdir)
    (sweep,) = server.sweeps.values()
    run_program(WANDB_CLI, "agent", "--count", "2", f"somebody/digits/{sweep.id}")
    runs = server.state.runs_of_sweep(sweep.id)
    assert [run.config["lr"] for run in runs] == [0.1, 0.2]
    assert [losses(run) for run in runs] == [[0.1, 0.2], [0.2, 0.4]]
    assert sweep.state == "RUNNING"
    program = f"""
import json, wandb
sweep = wandb.Api().sweep("digits/{sweep.id}")
print(json.dumps([sweep.state, sweep.config["method"], [run.id for run in sweep.runs]]))"""
    assert json.loads(run_program("-c", program)) == ["RUNNING", "grid", [run.id for run in runs]]


@pytest.mark.soak
def test_two_agents_share_a_grid(server, run_program, workdir):
    create_sweep(run_program, workdir)
    (sweep,) = server.sweeps.values()
    args = (WANDB_CLI, "agent", f"somebody/digits/{sweep.id}")
    agents = [workdir.start(*args, **server.environment) for _ in range(2)]
    outputs = [wait_for_output(agent) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert sorted(run.config["lr"] for run in server.state.runs_of_sweep(sweep.id)) == [
        0.1,
        0.2,
        0.3,
    ]
    assert sweep.state == "FINISHED"


@pytest.mark.soak
@pytest.mark.parametrize("by", ["agent", "stream"])
def test_server_can_stop_a_run(server, run_program, workdir, by):
    create_sweep(run_program, workdir, SWEEP_YAML.replace("[0.1, 0.2, 0.3]", "[0.9]"))
    (sweep,) = server.sweeps.values()
    args = (WANDB_CLI, "agent", f"somebody/digits/{sweep.id}")
    agent = workdir.start(*args, **server.environment)
    wait_until(lambda: any(run.history for run in server.runs.values()))
    (run,) = server.runs.values()
    server.stop_run(run.id, by=(by,))
    wait_for_output(agent)
    assert run.state == "failed"
    assert len(run.history) < 600


@pytest.mark.soak
def test_preempted_run_is_requeued(server, run_program, workdir):
    program = """
import wandb
run = wandb.init(settings=wandb.Settings(silent=True), resume="allow")
run.log({"loss": 1})
if not run.resumed:
    run.mark_preempting()
    run.finish(1)
"""
    create_sweep(run_program, workdir, SWEEP_YAML.replace("[0.1, 0.2, 0.3]", "[0.1]"))
    (workdir.path / "trial.py").write_text(program)
    (sweep,) = server.sweeps.values()
    run_program(WANDB_CLI, "agent", f"somebody/digits/{sweep.id}")
    (run,) = server.runs.values()
    assert losses(run) == [1, 1]
    assert run.state == "finished"


@pytest.mark.soak
def test_hyperband_stops_lagging_runs(server, run_program, workdir):
    text = SWEEP_YAML.replace("[0.1, 0.2, 0.3]", "[0.1, 0.9]")
    text += "early_terminate: {type: hyperband, max_iter: 8, s: 1, eta: 4}\n"
    create_sweep(run_program, workdir, text)
    (sweep,) = server.sweeps.values()
    run_program(WANDB_CLI, "agent", f"somebody/digits/{sweep.id}")
    good, bad = server.runs.values()
    assert (good.state, bad.state) == ("finished", "failed")
    assert len(bad.history) < 600


def test_unsupported_requests_fail_the_test(workdir):
    program = """
import wandb
wandb.Api()._service_api.execute_graphql("query Teach { lesson }", {})
"""
    server = FakeWandbServer()
    server.start()
    result = workdir.run("-c", program, **server.environment)
    server.stop()
    assert "does not know" in result.stderr
    with pytest.raises(AssertionError, match="Teach: lesson of Query"):
        server.assert_all_supported()


@pytest.mark.soak
def test_temporary_failures_lose_nothing(server, run_program):
    for fault in (
        Fault(status=500, duration_seconds=2),
        Fault("file_stream", status=429, retry_after=1, max_hits=2),
        Fault("file_stream", drop=True, after_execution=True, max_hits=1),
        Fault("UpsertBucket", drop=True, after_execution=True, max_hits=1),
    ):
        server.faults[:] = [fault]
        run_program("-c", LOG_SCRIPT, "id=one")
        assert fault.hits
        assert losses(server.runs.pop("one")) == [1, 1 / 2, 1 / 3]


def test_api_errors_reach_the_user(server, workdir):
    server.inject_fault(403, match="UpsertBucket", message="permission denied")
    result = workdir.run("-c", LOG_SCRIPT, **server.environment)
    assert result.returncode != 0
    assert "permission denied" in result.stderr


@pytest.mark.soak
def test_restarted_server_keeps_its_state(server, run_program, workdir):
    run_program("-c", LOG_SCRIPT, "id=one")
    server.stop()
    process = workdir.start("-c", LOG_SCRIPT, "id=two", **server.environment)
    time.sleep(1)
    server.start()
    wait_for_output(process)
    assert [losses(server.runs[name]) for name in ("one", "two")] == [[1, 1 / 2, 1 / 3]] * 2
