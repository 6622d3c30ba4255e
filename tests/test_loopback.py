"""The fake server, tested with the real client."""

from __future__ import annotations

import json
import time

import pytest

from tests.loopback import QUICK_AGENT, Fault, Loopback
from tests.waiting import wait_until

LOG = """
import sys, wandb
settings = dict(pair.split("=", 1) for pair in sys.argv[1:])
with wandb.init(project="digits", settings=wandb.Settings(silent=True), **settings) as run:
    for epoch in range(3):
        run.log({"epoch": epoch, "loss": 1 / (epoch + 1)})
"""

RICH = """
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

READ = """
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

TRIAL = """
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

SWEEP = """
program: trial.py
project: digits
method: grid
metric: {name: loss}
parameters:
  lr: {values: [0.1, 0.2, 0.3]}
"""


@pytest.fixture
def server():
    with Loopback() as server:
        yield server


@pytest.fixture
def ran(server, workplace):
    """Run a program against the server and require that it succeeds."""

    def run(*words, **environment):
        done = workplace.run(*words, **{**server.environment, **environment})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def losses(run):
    return [row["loss"] for row in run.history]


def end(process):
    """Wait for a process and return its output."""
    said, complaints = process.communicate(timeout=100)
    return said + complaints


def new_sweep(ran, workplace, text=SWEEP):
    (workplace.path / "trial.py").write_text(TRIAL)
    (workplace.path / "sweep.yaml").write_text(text)
    ran("-m", "wandb", "sweep", "sweep.yaml")


def test_what_is_logged_is_read_back(server, ran, workplace):
    ran("-c", RICH)
    read = json.loads(ran("-c", READ).splitlines()[-1])
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


def test_the_same_artifact_makes_no_new_version(server, ran):
    ran("-c", RICH)
    ran("-c", RICH)
    assert len(server.artifacts["model"].versions) == 1


def test_a_resumed_run_goes_on(server, ran):
    ran("-c", LOG, "id=one")
    ran("-c", LOG, "id=one", "resume=allow")
    assert [row["_step"] for row in server.runs["one"].history] == [0, 1, 2, 3, 4, 5]
    assert server.runs["one"].state == "finished"


def test_a_run_written_anew_replaces_its_history(server, ran):
    ran("-c", LOG, "id=one", "resume=allow")
    ran("-c", LOG, "id=one")
    assert [row["_step"] for row in server.runs["one"].history] == [0, 1, 2]


def test_exit_codes_make_states(server, workplace):
    for code, state in ((0, "finished"), (1, "failed"), (255, "killed")):
        program = f"import wandb; wandb.init(project='digits', id='r{code}').finish({code})"
        workplace.run("-c", program, **server.environment)
        assert server.runs[f"r{code}"].state == state


def test_an_offline_run_is_synced(server, ran, workplace):
    ran("-c", LOG, "id=one", WANDB_MODE="offline")
    assert not server.runs
    (folder,) = workplace.path.glob("wandb/offline-run-*")
    ran("-m", "wandb", "sync", str(folder))
    assert losses(server.runs["one"]) == [1, 1 / 2, 1 / 3]
    assert server.runs["one"].state == "finished"


def test_an_agent_runs_a_sweep(server, ran, workplace):
    new_sweep(ran, workplace)
    (sweep,) = server.sweeps.values()
    ran(QUICK_AGENT, "agent", "--count", "2", f"somebody/digits/{sweep.id}")
    runs = server.state.runs_of(sweep.id)
    assert [run.config["lr"] for run in runs] == [0.1, 0.2]
    assert [losses(run) for run in runs] == [[0.1, 0.2], [0.2, 0.4]]
    assert sweep.state == "RUNNING"
    program = f"""
import json, wandb
sweep = wandb.Api().sweep("digits/{sweep.id}")
print(json.dumps([sweep.state, sweep.config["method"], [run.id for run in sweep.runs]]))"""
    assert json.loads(ran("-c", program)) == ["RUNNING", "grid", [run.id for run in runs]]


@pytest.mark.soak
def test_two_agents_share_a_grid(server, ran, workplace):
    new_sweep(ran, workplace)
    (sweep,) = server.sweeps.values()
    words = (QUICK_AGENT, "agent", f"somebody/digits/{sweep.id}")
    agents = [workplace.start(*words, **server.environment) for _ in range(2)]
    said = [end(agent) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert sorted(run.config["lr"] for run in server.state.runs_of(sweep.id)) == [0.1, 0.2, 0.3]
    assert sweep.state == "FINISHED"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("by", ["agent", "stream"])
def test_the_server_stops_a_run(server, ran, workplace, by):
    new_sweep(ran, workplace, SWEEP.replace("[0.1, 0.2, 0.3]", "[0.9]"))
    (sweep,) = server.sweeps.values()
    words = (QUICK_AGENT, "agent", f"somebody/digits/{sweep.id}")
    agent = workplace.start(*words, **server.environment)
    wait_until(lambda: any(run.history for run in server.runs.values()))
    (run,) = server.runs.values()
    server.stop_run(run.id, by=(by,))
    end(agent)
    assert run.state == "failed"
    assert len(run.history) < 600


def test_a_preempted_run_is_given_out_again(server, ran, workplace):
    program = """
import wandb
run = wandb.init(settings=wandb.Settings(silent=True), resume="allow")
run.log({"loss": 1})
if not run.resumed:
    run.mark_preempting()
    run.finish(1)
"""
    new_sweep(ran, workplace, SWEEP.replace("[0.1, 0.2, 0.3]", "[0.1]"))
    (workplace.path / "trial.py").write_text(program)
    (sweep,) = server.sweeps.values()
    ran(QUICK_AGENT, "agent", f"somebody/digits/{sweep.id}")
    (run,) = server.runs.values()
    assert losses(run) == [1, 1]
    assert run.state == "finished"


def test_hyperband_ends_what_lags(server, ran, workplace):
    text = SWEEP.replace("[0.1, 0.2, 0.3]", "[0.1, 0.9]")
    text += "early_terminate: {type: hyperband, max_iter: 8, s: 1, eta: 4}\n"
    new_sweep(ran, workplace, text)
    (sweep,) = server.sweeps.values()
    ran(QUICK_AGENT, "agent", f"somebody/digits/{sweep.id}")
    good, bad = server.runs.values()
    assert (good.state, bad.state) == ("finished", "failed")
    assert len(bad.history) < 600


def test_what_the_server_does_not_know_fails(workplace):
    program = """
import wandb
wandb.Api()._service_api.execute_graphql("query Teach { lesson }", {})
"""
    server = Loopback()
    server.start()
    done = workplace.run("-c", program, **server.environment)
    server.stop()
    assert "does not know" in done.stderr
    with pytest.raises(AssertionError, match="Teach: lesson of Query"):
        server.check()


@pytest.mark.soak
def test_failures_for_a_while_lose_nothing(server, ran):
    for fault in (
        Fault(status=500, seconds=2),
        Fault("file_stream", status=429, retry_after=1, times=2),
        Fault("file_stream", drop=True, carried_out=True, times=1),
        Fault("UpsertBucket", drop=True, carried_out=True, times=1),
    ):
        server.faults[:] = [fault]
        ran("-c", LOG, "id=one")
        assert fault.hits
        assert losses(server.runs.pop("one")) == [1, 1 / 2, 1 / 3]


def test_a_refusal_reaches_the_user(server, workplace):
    server.failing(403, match="UpsertBucket", message="permission denied")
    done = workplace.run("-c", LOG, **server.environment)
    assert done.returncode != 0
    assert "permission denied" in done.stderr


def test_a_server_that_comes_back_knows_everything(server, ran, workplace):
    ran("-c", LOG, "id=one")
    server.stop()
    going = workplace.start("-c", LOG, "id=two", **server.environment)
    time.sleep(1)
    server.start()
    end(going)
    assert [losses(server.runs[name]) for name in ("one", "two")] == [[1, 1 / 2, 1 / 3]] * 2
