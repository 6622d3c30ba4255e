"""A run killed at any moment, in any way, resumes to a bit-identical result."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import TRAIN_SCRIPT, RunDir, repeat
from tests.directory_snapshot import assert_unchanged
from tests.integration.wandb_records import read_wandb_records, records_of_type
from tests.waiting import count_epochs, wait_until

SCENARIO_OVERRIDES = [
    "epochs=40",
    "epochs=30 optimizer=momentum dropout=0.3 schedule=cosine",
    "epochs=30 optimizer=nesterov optimizer.max_grad_norm=0.5 schedule=step batch_size=all lr=0.1",
    "epochs=25 optimizer=adagrad schedule=exponential model.normalization=batch restore_best=true",
    "epochs=25 optimizer=rmsprop schedule=inverse_time schedule.warmup_epochs=3 "
    "samples_per_epoch=700",
    "epochs=25 optimizer=adam schedule=plateau schedule.patience=1 patience=12",
    "epochs=15 optimizer=adamw schedule=one_cycle augmentation=affine dropout=0.2 "
    "restore_best=true",
    "epochs=4 model=cnn depth=2 optimizer=adam dropout=0.3 augmentation=affine restore_best=true",
    "epochs=25 model.normalization=layer model.residual=true depth=3 model.taper=1 loss=mse",
    "epochs=25 model=linear loss.label_smoothing=0.1 optimizer=momentum augmentation=flip",
]


@pytest.fixture
def run_uninterrupted(workdir):
    def give(args):
        result = workdir.train(*args, "hydra.run.dir=uninterrupted")
        assert result.returncode == 0, result.stderr
        return RunDir(workdir.path / "uninterrupted")

    return give


def kill_after(process, run_directory, epochs, delay):
    """Kill a run shortly after an epoch, unless it has ended before."""
    wait_until(lambda: count_epochs(run_directory) >= epochs or process.poll() is not None)
    time.sleep(delay)
    process.kill()
    process.communicate()


@pytest.mark.sampled(3)
@repeat(5, 100)
def test_resume_after_kill_is_bit_exact(workdir, run_uninterrupted, repetition):
    rng = random.Random(repetition)
    args = SCENARIO_OVERRIDES[repetition % len(SCENARIO_OVERRIDES)].split()
    expected = run_uninterrupted(args)
    epochs = expected.summary["epochs"]
    every = rng.choice(["0", "0.05", "10", "null"])
    process = workdir.start(
        TRAIN_SCRIPT,
        "tracking=disabled",
        *args,
        f"checkpoint_every={every}",
        "hydra.run.dir=killed",
    )
    run = RunDir(workdir.path / "killed")
    for _ in range(rng.choice([1, 2])):
        kill_after(process, run.path, rng.randrange(epochs), rng.random() * 0.05)
        if (run.path / "summary.json").exists():
            assert run.summary["status"] == "finished"
            assert run.summary["epochs"] == epochs
        process = workdir.start(TRAIN_SCRIPT, "resume=killed")
    _, errors = process.communicate(timeout=100)
    if process.returncode == 2:  # killed before it had written all lines
        assert "it has no config.yaml" in errors
        return
    assert process.returncode == 0, errors
    assert run.exact_results == expected.exact_results


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 130)],
)
def test_signal_saves_the_state_and_the_run_can_be_resumed(
    workdir, run_uninterrupted, number, status
):
    args = ["epochs=300", "optimizer=adam", "dropout=0.2", "restore_best=true"]
    expected = run_uninterrupted(args)
    process = workdir.start(
        TRAIN_SCRIPT, "tracking=offline", *args, "checkpoint_every=null", "hydra.run.dir=stopped"
    )
    run = RunDir(workdir.path / "stopped")
    wait_until(lambda: count_epochs(run.path) >= 10)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert run.summary["status"] == "interrupted"
    assert run.summary["epochs"] == len(run.history) < 300

    result = workdir.run(TRAIN_SCRIPT, "resume=stopped", "tracking=disabled")
    assert result.returncode == 0, result.stderr
    assert "The run resumes after epoch " in result.stdout
    assert run.exact_results == expected.exact_results
    moments = [moment for session in run.summary["sessions"] for moment in session]
    assert len(moments) == 4
    assert moments == sorted(moments)


def test_run_that_ignores_hangup_outlives_its_terminal(workdir):
    line = f"trap '' HUP; exec {sys.executable} {TRAIN_SCRIPT} epochs=200 tracking=disabled"
    process = workdir.start("-c", f"import os; os.execvp('sh', ['sh', '-c', {line!r}])")
    while "epoch" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert workdir.only_run.summary["status"] == "finished"


def test_resuming_a_finished_run_reports_its_result(workdir):
    workdir.train("epochs=2", "hydra.run.dir=done")
    before = (workdir.path / "done/summary.json").read_bytes()
    result = workdir.run(TRAIN_SCRIPT, "resume=done")
    assert result.returncode == 0
    assert result.stdout.startswith("done is finished: test accuracy 0.")
    assert (workdir.path / "done/summary.json").read_bytes() == before


def test_finished_run_can_be_extended(workdir, run_uninterrupted):
    expected = run_uninterrupted(["epochs=9", "optimizer=adam", "restore_best=true", "dropout=0.1"])
    workdir.train(
        "epochs=4", "optimizer=adam", "restore_best=true", "dropout=0.1", "hydra.run.dir=longer"
    )
    result = workdir.run(TRAIN_SCRIPT, "resume=longer", "epochs=9")
    assert result.returncode == 0, result.stderr
    run = RunDir(workdir.path / "longer")
    assert run.exact_results == expected.exact_results
    assert yaml.safe_load((run.path / "config.yaml").read_text())["epochs"] == 9


def test_run_without_a_checkpoint_starts_over(workdir, run_uninterrupted):
    expected = run_uninterrupted(["epochs=3"])
    shutil.copytree(expected.path, workdir.path / "bare")
    run = RunDir(workdir.path / "bare")
    shutil.rmtree(run.path / "checkpoints")
    (run.path / "summary.json").unlink()
    result = workdir.run(TRAIN_SCRIPT, "resume=bare")
    assert result.returncode == 0, result.stderr
    assert "starts over" in result.stdout
    assert run.exact_results == expected.exact_results


def test_resumed_offline_run_is_logged_once_and_completely(workdir):
    process = workdir.start(TRAIN_SCRIPT, "tracking=offline", "epochs=1000", "hydra.run.dir=run")
    kill_after(process, workdir.path / "run", 20, 0)
    run = RunDir(workdir.path / "run")
    result = workdir.run(TRAIN_SCRIPT, "resume=run", "tracking=offline")
    assert result.returncode == 0, result.stderr
    (folder,) = (workdir.path / "run/wandb").glob("offline-run-*")
    assert folder.name.endswith(run.environment["run_id"])
    rows = [
        item["item"] for item in records_of_type(read_wandb_records(workdir, folder), "history")
    ]
    assert [row["train/loss"] for row in rows] == [line["train/loss"] for line in run.history]


def test_two_processes_cannot_train_in_one_run_directory(workdir):
    process = workdir.start(TRAIN_SCRIPT, "tracking=disabled", "epochs=100000", "hydra.run.dir=one")
    try:
        wait_until(lambda: (workdir.path / "one/history.jsonl").exists())
        result = workdir.run(TRAIN_SCRIPT, "resume=one")
        assert result.returncode == 2
        assert result.stderr == "one: another process is training in this directory.\n"
    finally:
        process.kill()
        process.communicate()


def test_reproduce_reports_whether_the_result_is_bit_exact(workdir):
    workdir.train("epochs=3", "dropout=0.2", "optimizer=adam", "hydra.run.dir=first")
    result = workdir.run(TRAIN_SCRIPT, "reproduce=first")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("Reproduced: ")
    assert len(workdir.runs) == 2

    environment = RunDir(workdir.path / "first").environment
    environment["packages"]["numpy"] = "1.0"
    (workdir.path / "first/environment.json").write_text(json.dumps(environment))
    summary = RunDir(workdir.path / "first").summary
    (workdir.path / "first/summary.json").write_text(json.dumps({**summary, "test/loss": 1.5}))
    result = workdir.run(TRAIN_SCRIPT, "reproduce=first")
    assert result.returncode == 1
    assert "Not reproduced: test/loss differ." in result.stderr
    assert '"numpy": "1.0"' in result.stderr


def test_run_can_start_from_the_weights_of_another(workdir):
    workdir.train("epochs=20", "restore_best=true", "hydra.run.dir=first")
    result = workdir.train("epochs=1", "init_from=first", "lr=0.001", "hydra.run.dir=second")
    assert result.returncode == 0, result.stderr
    assert RunDir(workdir.path / "second").history[0]["train/accuracy"] > 0.97


@pytest.mark.sampled(7)
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("resume=nowhere", "nowhere is not a run directory: it has no config.yaml."),
        ("resume=", ". is not a run directory: it has no config.yaml."),
        ("resume=run lr=0.1", "lr=0.1: with resume= only epochs, threads, tracking, trust"),
        ("resume=run epochs=1", "epochs=1: the run has 2; it can only be made longer."),
        ("resume=run epochs=2.5", "epochs=2.5: epochs must be a whole number, at least 1."),
        ("resume=run epochs=", "epochs=: epochs must be a whole number, at least 1."),
        ("resume=run tracking=no", "tracking=no: there is no such tracking; there is auto"),
        ("resume=run reproduce=run", "reproduce=run: with resume= only"),
        ("resume=run --multirun", "--multirun: with resume= only"),
        ("reproduce=run epochs=9", "epochs=9: with reproduce= only threads, tracking, trust"),
        ("init_from=nowhere", "init_from=nowhere: nowhere: there is no checkpoint in this"),
        ("init_from=run width=64", "init_from=run: its dense1.weight is float32 of shape"),
        ("init_from=run model=linear", "init_from=run: dense2.bias is in that model but not in"),
        (
            "checkpoint_every=-1",
            "checkpoint_every=-1: checkpoint_every must be a number, at least 0, or null.",
        ),
    ],
)
def test_usage_errors_are_one_line(workdir, args, message):
    workdir.train("epochs=2", "hydra.run.dir=run")
    with assert_unchanged(workdir.path):
        result = workdir.run(TRAIN_SCRIPT, *args.split())
    assert result.returncode == 2, result.stdout
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def edit_config(path, **settings):
    config = yaml.safe_load(path.read_text())
    for key, value in settings.items():
        group, _, name = key.partition("__")
        if name:
            config[group][name] = value
        else:
            config[group] = value
    path.write_text(yaml.safe_dump(config))


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "damage",
    [
        lambda config: edit_config(config, model___target_="os.system"),
        lambda config: edit_config(
            config, model={"_target_": "os.system", "command": "touch evil"}
        ),
        lambda config: edit_config(
            config,
            model={"_target_": "nn.runs.environment.subprocess.run", "args": ["touch", "evil"]},
        ),
        lambda config: edit_config(
            config, model={"_target_": "nn.runs.run_directory.Path.touch", "self": "evil"}
        ),
        lambda config: edit_config(config, model___target_="nn.runs.runner.run"),
        lambda config: edit_config(config, dataset___target_="nn.runs.run_directory.RunDirectory"),
        lambda config: edit_config(config, model__hidden=[{"_target_": "os.getcwd"}]),
        lambda config: edit_config(
            config, hydra={"callbacks": {"evil": {"_target_": "subprocess.Popen"}}}
        ),
        lambda config: edit_config(config, lr="${oc.env:HOME}"),
        lambda config: edit_config(config, tracking__project="${run_folder:}"),
        lambda config: edit_config(config, choices={"model": "../../../evil"}),
        lambda config: config.write_text("!!python/object/apply:os.system ['touch evil']"),
        lambda config: config.write_text("a: &a [1]\nb: [*a, *a]\n"),
        lambda config: config.write_text("[" * 100_000),
        lambda config: config.write_bytes(b"\xff\xfe\x00"),
        lambda config: config.write_text("lr: 1.0\n"),
        lambda config: config.write_text(""),
        lambda config: config.write_text("x" * 2_000_000),
        lambda config: (config.unlink(), config.mkdir()),
        lambda config: (config.unlink(), os.mkfifo(config)),
        lambda config: (
            config.rename(config.parents[1] / "c.yaml"),
            config.symlink_to("../c.yaml"),
        ),
    ],
)
@pytest.mark.parametrize("verb", ["resume", "reproduce"])
def test_malicious_run_directory_is_refused(workdir, verb, damage):
    workdir.train("epochs=1", "hydra.run.dir=run")
    (workdir.path / "run/summary.json").unlink()
    damage(workdir.path / "run/config.yaml")
    with assert_unchanged(workdir.path):
        result = workdir.run(TRAIN_SCRIPT, f"{verb}=run")
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_custom_package_is_resumed_only_if_trusted(workdir):
    (workdir.path / "mine").mkdir()
    (workdir.path / "mine/models.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Small:\n"
        "    def __init__(self, units: int = 30): self.units = units\n"
        "    def build_layers(self, num_classes, rngs):\n"
        "        return [Flatten(), Dense(self.units), Dense(num_classes)]\n"
    )
    conf = workdir.path / "mine/conf/model"
    conf.mkdir(parents=True)
    (conf / "small.yaml").write_text("_target_: mine.models.Small\nunits: 20\n")
    environment = {"PYTHONPATH": str(workdir.path)}
    args = ["--config-dir", "mine/conf", "model=small", "epochs=2", "hydra.run.dir=run"]
    result = workdir.train(*args, **environment)
    assert result.returncode == 0, result.stderr
    result = workdir.run(TRAIN_SCRIPT, "reproduce=run", **environment)
    assert result.returncode == 2
    assert "mine is not trusted to run; trust=mine allows it" in result.stderr
    result = workdir.run(TRAIN_SCRIPT, "reproduce=run", "trust=mine", **environment)
    assert result.returncode == 0, result.stderr


def test_symlinked_checkpoint_is_refused(workdir):
    workdir.train("epochs=1", "hydra.run.dir=run")
    checkpoint = workdir.path / "run/checkpoints/last.safetensors"
    checkpoint.rename(workdir.path / "elsewhere")
    checkpoint.symlink_to(workdir.path / "elsewhere")
    result = workdir.run(TRAIN_SCRIPT, "resume=run", "epochs=2")
    assert result.returncode == 2
    assert "is a symbolic link" in result.stderr


@pytest.mark.soak
def test_ten_thousand_epochs_leak_neither_memory_nor_handles(workdir):
    args = ["tracking=offline", "epochs=10000", "model.hidden=[8]", "batch_size=all"]
    line, settings = workdir.popen_args(
        TRAIN_SCRIPT, *args, "checkpoint_every=0", "hydra.run.dir=soak"
    )
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, **settings)
    proc, samples = Path(f"/proc/{process.pid}"), []
    while process.poll() is None:
        if count_epochs(workdir.path / "soak") >= 1000 * (len(samples) + 1):
            memory = int(proc.joinpath("statm").read_text().split()[1])
            samples.append((memory, len(list(proc.joinpath("fd").iterdir()))))
        time.sleep(0.02)
    assert process.returncode == 0
    (first, handles), (last, at_the_end) = samples[1], samples[-1]
    assert last < first * 1.1
    assert at_the_end <= handles + 1  # a file that is being written
