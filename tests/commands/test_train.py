"""scripts/train.py as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import signal
import statistics
import subprocess
import time

import pytest
import yaml

from nn.config.schema import format_hyperparameters_help
from tests.conftest import ROOT

TRAIN = str(ROOT / "scripts/train.py")


def test_one_command_learns_the_digits_and_writes_everything(workplace):
    done = workplace.train("lr=0.055")
    assert done.returncode == 0, done.stderr
    run = workplace.only_run
    assert run.path.relative_to(workplace.path).parts[0] == "runs"

    history = run.history
    assert [line["epoch"] for line in history] == list(range(1, 21))
    for line in history:
        assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} < line.keys()
        assert line["lr"] == 0.055
    assert history[-1]["train/loss"] < history[0]["train/loss"] / 5

    summary = run.summary
    assert summary["status"] == "finished"
    assert summary["test/accuracy"] >= 0.95
    assert summary["val/accuracy"] == history[-1]["val/accuracy"]
    assert summary["num_parameters"] == 64 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    best = history[summary["best/epoch"] - 1]
    assert best["val/accuracy"] == max(line["val/accuracy"] for line in history)
    confusion = summary["confusion_matrix"]
    right = sum(confusion[i][i] for i in range(10))
    assert right / sum(map(sum, confusion)) == summary["test/accuracy"]

    config = yaml.safe_load((run.path / "config.yaml").read_text())
    assert config["lr"] == 0.055
    assert config["model"]["width"] == config["width"] == 128
    assert config["choices"]["optimizer"] == "sgd"
    environment = run.environment
    assert environment["packages"]["numpy"]
    assert environment["command"].endswith("lr=0.055")

    assert f"Test accuracy {summary['test/accuracy']:.4f}" in done.stdout
    assert "17,226 parameters" in done.stdout
    assert str(run.path.relative_to(workplace.path)) in done.stdout
    for row in confusion:
        assert " ".join(str(count or ".") for count in row) in " ".join(done.stdout.split())


@pytest.mark.parametrize(("words", "least"), [((), 0.95), (("experiment=digits_best",), 0.97)])
def test_five_seeds_reach_the_promised_accuracy(workplace, words, least):
    done = workplace.train("--multirun", "seed=0,1,2,3,4", *words)
    assert done.returncode == 0, done.stderr
    scores = [run.summary["test/accuracy"] for run in workplace.runs]
    assert len(scores) == 5
    assert statistics.mean(scores) >= least


def test_two_processes_with_the_same_seed_give_the_same_bits(workplace):
    words = ["epochs=3", "dropout=0.2", "optimizer.momentum=0.9", "weight_decay=1e-4"]
    for seed in (1, 1, 2):
        assert workplace.train(*words, f"seed={seed}").returncode == 0
    bits = [json.dumps(run.bits) for run in workplace.runs]
    assert len(set(bits)) == 2


def test_tracking_does_not_change_the_bits(workplace):
    for tracking in ("offline", "disabled"):
        assert workplace.train("epochs=2", tracking=tracking).returncode == 0
    first, second = workplace.runs
    assert first.bits == second.bits


def test_runs_started_together_get_folders_of_their_own(workplace):
    started = [
        workplace.start(TRAIN, "epochs=1", "tracking=disabled", f"seed={n}") for n in range(4)
    ]
    for process in started:
        process.communicate(timeout=60)
    assert [process.returncode for process in started] == [0] * 4
    assert len(workplace.runs) == 4


def test_the_folder_can_be_chosen_and_is_never_used_twice(workplace):
    assert workplace.train("epochs=1", "hydra.run.dir=here/mine").returncode == 0
    first = workplace.only_run
    assert first.path == workplace.path / "here/mine"
    kept = first.summary
    again = workplace.train("epochs=2", "hydra.run.dir=here/mine")
    assert again.returncode == 2
    assert "hydra.run.dir=here/mine: the directory already contains a run" in again.stderr
    assert first.summary == kept


def test_an_agents_run_finds_its_folder_by_its_id(workplace):
    done = workplace.train("epochs=1", WANDB_SWEEP_ID="s1", WANDB_RUN_ID="r1")
    assert done.returncode == 0, done.stderr
    assert workplace.only_run.path == workplace.path / "runs/s1/r1"


@pytest.mark.parametrize(
    ("words", "null"),
    [
        (["model=linear"], {"depth", "width", "dropout"}),
        (["model.hidden=[20]"], {"depth", "width"}),
        (["model=cnn", "model.channels=[4]"], {"depth"}),
        (["depth=0"], {"width", "dropout"}),
    ],
)
def test_a_knob_without_effect_is_recorded_as_null(workplace, words, null):
    assert workplace.train("epochs=1", *words).returncode == 0
    config = yaml.safe_load((workplace.only_run.path / "config.yaml").read_text())
    knobs = {"lr", "batch_size", "depth", "width", "epochs", "seed", "threads", "dropout"}
    assert {knob for knob in knobs if config[knob] is None} == null


def test_a_batch_larger_than_the_training_set_is_one_full_batch(workplace):
    assert workplace.train("epochs=1", "batch_size=100000").returncode == 0
    assert workplace.train("epochs=1", "batch_size=1294").returncode == 0
    first, second = workplace.runs
    assert first.bits == second.bits


def test_multirun_gives_each_combination_a_folder(workplace):
    done = workplace.train("--multirun", "lr=0.01,0.1", "depth=1,2", "epochs=1")
    assert done.returncode == 0, done.stderr
    assert [run.path.name for run in workplace.runs] == ["0", "1", "2", "3"]
    configs = [yaml.safe_load((run.path / "config.yaml").read_text()) for run in workplace.runs]
    assert [(c["lr"], c["depth"]) for c in configs] == [(0.01, 1), (0.01, 2), (0.1, 1), (0.1, 2)]


def test_a_loss_that_is_no_number_stops_the_run_with_the_epoch_and_a_hint(workplace):
    done = workplace.train("lr=5000")
    assert done.returncode == 3
    assert "diverged in epoch 1" in done.stderr
    assert "lr=5000" in done.stderr
    assert "Warning" not in done.stderr
    run = workplace.only_run
    assert run.summary["status"] == "diverged"
    assert run.summary["test/accuracy"] is None
    assert [line["train/loss"] for line in run.history] == [None]


def test_the_last_step_may_diverge_unseen_until_the_test(workplace):
    words = ["batch_size=all", "epochs=1", "dataset.validation=0", "lr=1e30"]
    assert workplace.train(*words).returncode == 3
    assert workplace.only_run.summary["status"] == "diverged"


def test_under_an_agent_a_diverged_run_counts_as_run(workplace):
    done = workplace.train("lr=5000", WANDB_SWEEP_ID="s1", WANDB_RUN_ID="r1")
    assert done.returncode == 0
    assert workplace.only_run.summary["status"] == "diverged"


def test_a_multirun_goes_on_after_a_run_that_diverged(workplace):
    done = workplace.train("--multirun", "lr=5000,0.1", "epochs=1")
    assert done.returncode == 3
    assert [run.summary["status"] for run in workplace.runs] == ["diverged", "finished"]


def test_a_screen_that_is_gone_does_not_cost_the_run(workplace):
    process = workplace.start(TRAIN, "epochs=300", "tracking=disabled")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert workplace.only_run.summary["status"] == "finished"


@pytest.mark.sampled(4)
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7])
def test_ctrl_c_at_the_start_leaves_no_traceback_and_no_half_run(workplace, delay):
    process = None
    while process is None or process.returncode == -signal.SIGINT:  # Python was starting
        process = workplace.start(TRAIN, "epochs=100000", "tracking=offline")
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        delay += 0.1
    assert process.returncode == 130
    assert errors == ""
    for run in workplace.runs:
        assert run.summary["status"] == "interrupted"


def test_ctrl_c_ends_cleanly_and_keeps_the_history(workplace):
    process = workplace.start(TRAIN, "epochs=100000", "tracking=offline")
    lines = [process.stdout.readline() for _ in range(17)]
    assert "epoch" in lines[-1]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == ""
    run = workplace.only_run
    assert run.summary["status"] == "interrupted"
    assert run.summary["test/accuracy"] is None
    assert len(run.history) == run.summary["epochs"] >= 5


def test_help_is_a_page_for_newcomers(workplace):
    done = workplace.run(TRAIN, "--help")
    assert done.returncode == 0
    for word in ("lr=0.055", "batch_size=32", "--multirun", "digits_best", "Exit status"):
        assert word in done.stdout
    assert "Hydra" not in done.stdout
    assert f"\n{format_hyperparameters_help()}\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert not workplace.runs


def test_a_terminal_shows_a_progress_bar(workplace):
    line, settings = workplace.command(TRAIN, "tracking=disabled", "epochs=200", TERM="xterm")
    main, terminal = pty.openpty()
    process = subprocess.Popen(line, **{**settings, "stdout": terminal, "stderr": terminal})
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "━" in text
    assert "200/200" in text
    assert "Test accuracy" in text
