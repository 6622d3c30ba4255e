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

from tests.commands.wandb_file import of_type, wandb_records
from tests.conftest import ROOT, Run, draws
from tests.unchanged import unchanged
from tests.waiting import count_epochs, wait_until

TRAIN = str(ROOT / "scripts/train.py")
SCENARIOS = [
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
def unbroken(workplace):
    def give(words):
        done = workplace.train(*words, "hydra.run.dir=unbroken")
        assert done.returncode == 0, done.stderr
        return Run(workplace.path / "unbroken")

    return give


def kill_after(process, run_directory, epochs, delay):
    """Kill a run shortly after an epoch, unless it has ended before."""
    wait_until(lambda: count_epochs(run_directory) >= epochs or process.poll() is not None)
    time.sleep(delay)
    process.kill()
    process.communicate()


@pytest.mark.sampled(3)
@draws(5, 100)
def test_resume_after_kill_gives_the_same_bits(workplace, unbroken, draw):
    chance = random.Random(draw)
    words = SCENARIOS[draw % len(SCENARIOS)].split()
    expected = unbroken(words)
    epochs = expected.summary["epochs"]
    every = chance.choice(["0", "0.05", "10", "null"])
    process = workplace.start(
        TRAIN, "tracking=disabled", *words, f"checkpoint_every={every}", "hydra.run.dir=killed"
    )
    run = Run(workplace.path / "killed")
    for _ in range(chance.choice([1, 2])):
        kill_after(process, run.path, chance.randrange(epochs), chance.random() * 0.05)
        if (run.path / "summary.json").exists():
            assert run.summary["status"] == "finished"
            assert run.summary["epochs"] == epochs
        process = workplace.start(TRAIN, "resume=killed")
    _, errors = process.communicate(timeout=100)
    if process.returncode == 2:  # killed before it had written all lines
        assert "there is no config.yaml" in errors
        return
    assert process.returncode == 0, errors
    assert run.bits == expected.bits


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 130)],
)
def test_a_signal_saves_the_state_within_two_seconds_and_the_run_goes_on(
    workplace, unbroken, number, status
):
    words = ["epochs=300", "optimizer=adam", "dropout=0.2", "restore_best=true"]
    expected = unbroken(words)
    process = workplace.start(
        TRAIN, "tracking=offline", *words, "checkpoint_every=null", "hydra.run.dir=stopped"
    )
    run = Run(workplace.path / "stopped")
    wait_until(lambda: count_epochs(run.path) >= 10)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert run.summary["status"] == "interrupted"
    assert run.summary["epochs"] == len(run.history) < 300

    done = workplace.run(TRAIN, "resume=stopped", "tracking=disabled")
    assert done.returncode == 0, done.stderr
    assert "The run resumes after epoch " in done.stdout
    assert run.bits == expected.bits
    moments = [moment for session in run.summary["sessions"] for moment in session]
    assert len(moments) == 4
    assert moments == sorted(moments)


def test_a_process_that_was_started_to_outlive_its_terminal_does(workplace):
    line = f"trap '' HUP; exec {sys.executable} {TRAIN} epochs=200 tracking=disabled"
    process = workplace.start("-c", f"import os; os.execvp('sh', ['sh', '-c', {line!r}])")
    while "epoch" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert workplace.only_run.summary["status"] == "finished"


def test_a_finished_run_says_so(workplace):
    workplace.train("epochs=2", "hydra.run.dir=done")
    before = (workplace.path / "done/summary.json").read_bytes()
    done = workplace.run(TRAIN, "resume=done")
    assert done.returncode == 0
    assert done.stdout.startswith("done is finished: test accuracy 0.")
    assert (workplace.path / "done/summary.json").read_bytes() == before


def test_a_finished_run_can_be_made_longer(workplace, unbroken):
    expected = unbroken(["epochs=9", "optimizer=adam", "restore_best=true", "dropout=0.1"])
    workplace.train(
        "epochs=4", "optimizer=adam", "restore_best=true", "dropout=0.1", "hydra.run.dir=longer"
    )
    done = workplace.run(TRAIN, "resume=longer", "epochs=9")
    assert done.returncode == 0, done.stderr
    run = Run(workplace.path / "longer")
    assert run.bits == expected.bits
    assert yaml.safe_load((run.path / "config.yaml").read_text())["epochs"] == 9


def test_a_run_without_a_checkpoint_starts_over(workplace, unbroken):
    expected = unbroken(["epochs=3"])
    shutil.copytree(expected.path, workplace.path / "bare")
    run = Run(workplace.path / "bare")
    shutil.rmtree(run.path / "checkpoints")
    (run.path / "summary.json").unlink()
    done = workplace.run(TRAIN, "resume=bare")
    assert done.returncode == 0, done.stderr
    assert "starts over" in done.stdout
    assert run.bits == expected.bits


def test_a_run_resumed_offline_is_tracked_once_and_whole(workplace):
    process = workplace.start(TRAIN, "tracking=offline", "epochs=1000", "hydra.run.dir=run")
    kill_after(process, workplace.path / "run", 20, 0)
    run = Run(workplace.path / "run")
    done = workplace.run(TRAIN, "resume=run", "tracking=offline")
    assert done.returncode == 0, done.stderr
    (folder,) = (workplace.path / "run/wandb").glob("offline-run-*")
    assert folder.name.endswith(run.environment["run_id"])
    rows = [item["item"] for item in of_type(wandb_records(workplace, folder), "history")]
    assert [row["train/loss"] for row in rows] == [line["train/loss"] for line in run.history]


def test_two_processes_cannot_train_into_one_folder(workplace):
    process = workplace.start(TRAIN, "tracking=disabled", "epochs=100000", "hydra.run.dir=one")
    try:
        wait_until(lambda: (workplace.path / "one/history.jsonl").exists())
        done = workplace.run(TRAIN, "resume=one")
        assert done.returncode == 2
        assert done.stderr == "one: another process is training in this directory.\n"
    finally:
        process.kill()
        process.communicate()


def test_repeat_says_whether_the_bits_are_the_same(workplace):
    workplace.train("epochs=3", "dropout=0.2", "optimizer=adam", "hydra.run.dir=first")
    done = workplace.run(TRAIN, "reproduce=first")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("Reproduced: ")
    assert len(workplace.runs) == 2

    environment = Run(workplace.path / "first").environment
    environment["packages"]["numpy"] = "1.0"
    (workplace.path / "first/environment.json").write_text(json.dumps(environment))
    summary = Run(workplace.path / "first").summary
    (workplace.path / "first/summary.json").write_text(json.dumps({**summary, "test/loss": 1.5}))
    done = workplace.run(TRAIN, "reproduce=first")
    assert done.returncode == 1
    assert "Not reproduced: test/loss differ." in done.stderr
    assert '"numpy": "1.0"' in done.stderr


def test_a_run_can_begin_with_the_weights_of_another(workplace):
    workplace.train("epochs=20", "restore_best=true", "hydra.run.dir=first")
    done = workplace.train("epochs=1", "init_from=first", "lr=0.001", "hydra.run.dir=second")
    assert done.returncode == 0, done.stderr
    assert Run(workplace.path / "second").history[0]["train/accuracy"] > 0.97


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("resume=nowhere", "nowhere is not a run directory: it has no config.yaml."),
        ("resume=", ". is not a run directory: it has no config.yaml."),
        ("resume=run lr=0.1", "lr=0.1: with resume= only epochs, tracking, trust"),
        ("resume=run epochs=1", "epochs=1: the run has 2; it can only be made longer."),
        ("resume=run epochs=2.5", "epochs=2.5: epochs must be a whole number, at least 1."),
        ("resume=run epochs=", "epochs=: epochs must be a whole number, at least 1."),
        ("resume=run tracking=no", "tracking=no: there is no such tracking; there is auto"),
        ("resume=run reproduce=run", "reproduce=run: with resume= only"),
        ("resume=run --multirun", "--multirun: with resume= only"),
        ("reproduce=run epochs=9", "epochs=9: with reproduce= only tracking, trust"),
        ("init_from=nowhere", "init_from=nowhere: nowhere: there is no checkpoint in this"),
        ("init_from=run width=64", "init_from=run: its dense1.weight is float32 of shape"),
        ("init_from=run model=linear", "init_from=run: dense2.bias is in that model but not in"),
        (
            "checkpoint_every=-1",
            "checkpoint_every=-1: checkpoint_every must be a number, at least 0, or null.",
        ),
    ],
)
def test_a_mistake_costs_a_sentence(workplace, words, sentence):
    workplace.train("epochs=2", "hydra.run.dir=run")
    with unchanged(workplace.path):
        done = workplace.run(TRAIN, *words.split())
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1


def changed(path, **settings):
    config = yaml.safe_load(path.read_text())
    for key, value in settings.items():
        group, _, name = key.partition("__")
        if name:
            config[group][name] = value
        else:
            config[group] = value
    path.write_text(yaml.safe_dump(config))


@pytest.mark.sampled(10)
@pytest.mark.parametrize(
    "damage",
    [
        lambda config: changed(config, model___target_="os.system"),
        lambda config: changed(config, model={"_target_": "os.system", "command": "touch evil"}),
        lambda config: changed(
            config,
            model={"_target_": "nn.runs.environment.subprocess.run", "args": ["touch", "evil"]},
        ),
        lambda config: changed(
            config, model={"_target_": "nn.runs.run_directory.Path.touch", "self": "evil"}
        ),
        lambda config: changed(config, model___target_="nn.runs.runner.run"),
        lambda config: changed(config, dataset___target_="nn.runs.run_directory.RunDirectory"),
        lambda config: changed(config, model__hidden=[{"_target_": "os.getcwd"}]),
        lambda config: changed(
            config, hydra={"callbacks": {"evil": {"_target_": "subprocess.Popen"}}}
        ),
        lambda config: changed(config, lr="${oc.env:HOME}"),
        lambda config: changed(config, tracking__project="${run_folder:}"),
        lambda config: changed(config, choices={"model": "../../../evil"}),
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
def test_a_malicious_run_folder_is_refused(workplace, verb, damage):
    workplace.train("epochs=1", "hydra.run.dir=run")
    (workplace.path / "run/summary.json").unlink()
    damage(workplace.path / "run/config.yaml")
    with unchanged(workplace.path):
        done = workplace.run(TRAIN, f"{verb}=run")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_package_of_ones_own_runs_again_if_it_is_trusted(workplace):
    (workplace.path / "mine").mkdir()
    (workplace.path / "mine/models.py").write_text(
        "from nn.layers import Dense, Flatten\n"
        "class Small:\n"
        "    def __init__(self, units: int = 30): self.units = units\n"
        "    def build_layers(self, num_classes, rngs):\n"
        "        return [Flatten(), Dense(self.units), Dense(num_classes)]\n"
    )
    conf = workplace.path / "mine/conf/model"
    conf.mkdir(parents=True)
    (conf / "small.yaml").write_text("_target_: mine.models.Small\nunits: 20\n")
    here = {"PYTHONPATH": str(workplace.path)}
    words = ["--config-dir", "mine/conf", "model=small", "epochs=2", "hydra.run.dir=run"]
    done = workplace.train(*words, **here)
    assert done.returncode == 0, done.stderr
    done = workplace.run(TRAIN, "reproduce=run", **here)
    assert done.returncode == 2
    assert "mine is not trusted to run; trust=mine allows it" in done.stderr
    done = workplace.run(TRAIN, "reproduce=run", "trust=mine", **here)
    assert done.returncode == 0, done.stderr


def test_a_link_in_place_of_a_checkpoint_is_refused(workplace):
    workplace.train("epochs=1", "hydra.run.dir=run")
    checkpoint = workplace.path / "run/checkpoints/last.safetensors"
    checkpoint.rename(workplace.path / "elsewhere")
    checkpoint.symlink_to(workplace.path / "elsewhere")
    done = workplace.run(TRAIN, "resume=run", "epochs=2")
    assert done.returncode == 2
    assert "is a symbolic link" in done.stderr


@pytest.mark.soak
def test_ten_thousand_epochs_leave_memory_handles_and_time_flat(workplace):
    words = ["tracking=offline", "epochs=10000", "model.hidden=[8]", "batch_size=all"]
    line, settings = workplace.command(TRAIN, *words, "checkpoint_every=0", "hydra.run.dir=soak")
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, **settings)
    proc, seen = Path(f"/proc/{process.pid}"), []
    while process.poll() is None:
        if count_epochs(workplace.path / "soak") >= 1000 * (len(seen) + 1):
            memory = int(proc.joinpath("statm").read_text().split()[1])
            seen.append((memory, len(list(proc.joinpath("fd").iterdir()))))
        time.sleep(0.02)
    assert process.returncode == 0
    (first, handles), (last, at_the_end) = seen[1], seen[-1]
    assert last < first * 1.1
    assert at_the_end <= handles + 1  # a file that is being written
