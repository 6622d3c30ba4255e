"""scripts/train.py as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import signal
import statistics
import subprocess
from functools import partial

import pytest
import yaml

from nn.config.schema import format_hyperparameters_help
from tests.conftest import TRAIN_SCRIPT
from tests.waiting import interrupt_when_started


def test_one_command_trains_on_digits_and_writes_all_files(workdir):
    result = workdir.train("lr=0.055")
    assert result.returncode == 0, result.stderr
    run = workdir.only_run
    assert run.path.relative_to(workdir.path).parts[0] == "runs"

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

    assert f"Test accuracy {summary['test/accuracy']:.4f}" in result.stdout
    assert "17,226 parameters" in result.stdout
    assert str(run.path.relative_to(workdir.path)) in result.stdout
    for row in confusion:
        assert " ".join(str(count or ".") for count in row) in " ".join(result.stdout.split())


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("args", "min_accuracy"), [((), 0.95), (("experiment=digits_best",), 0.97)]
)
def test_five_seeds_reach_the_promised_accuracy(workdir, args, min_accuracy):
    result = workdir.train("--multirun", "seed=0,1,2,3,4", *args)
    assert result.returncode == 0, result.stderr
    scores = [run.summary["test/accuracy"] for run in workdir.runs]
    assert len(scores) == 5
    assert statistics.mean(scores) >= min_accuracy


def test_two_processes_with_the_same_seed_agree_bit_for_bit(workdir):
    args = ["epochs=3", "dropout=0.2", "optimizer.momentum=0.9", "weight_decay=1e-4"]
    for seed in (1, 1, 2):
        assert workdir.train(*args, f"seed={seed}").returncode == 0
    bits = [json.dumps(run.exact_results) for run in workdir.runs]
    assert len(set(bits)) == 2


def test_tracking_does_not_change_the_results(workdir):
    for tracking in ("offline", "disabled"):
        assert workdir.train("epochs=2", tracking=tracking).returncode == 0
    first, second = workdir.runs
    assert first.exact_results == second.exact_results


def test_concurrent_runs_get_separate_directories(workdir):
    started = [
        workdir.start(TRAIN_SCRIPT, "epochs=1", "tracking=disabled", f"seed={n}") for n in range(4)
    ]
    for process in started:
        process.communicate(timeout=60)
    assert [process.returncode for process in started] == [0] * 4
    assert len(workdir.runs) == 4


def test_run_directory_can_be_chosen_and_is_never_reused(workdir):
    assert workdir.train("epochs=1", "hydra.run.dir=here/mine").returncode == 0
    first = workdir.only_run
    assert first.path == workdir.path / "here/mine"
    first_summary = first.summary
    reused = workdir.train("epochs=2", "hydra.run.dir=here/mine")
    assert reused.returncode == 2
    assert "hydra.run.dir=here/mine: the directory already contains a run" in reused.stderr
    assert first.summary == first_summary


def test_agent_run_directory_is_named_by_its_id(workdir):
    result = workdir.train("epochs=1", WANDB_SWEEP_ID="s1", WANDB_RUN_ID="r1")
    assert result.returncode == 0, result.stderr
    assert workdir.only_run.path == workdir.path / "runs/s1/r1"


@pytest.mark.parametrize(
    ("args", "null"),
    [
        (["model=linear"], {"depth", "width", "dropout"}),
        (["model.hidden=[20]"], {"depth", "width"}),
        (["model=cnn", "model.channels=[4]"], {"depth"}),
        (["depth=0"], {"width", "dropout"}),
    ],
)
def test_hyperparameter_without_effect_is_recorded_as_null(workdir, args, null):
    assert workdir.train("epochs=1", *args).returncode == 0
    config = yaml.safe_load((workdir.only_run.path / "config.yaml").read_text())
    knobs = {"lr", "batch_size", "depth", "width", "epochs", "seed", "threads", "dropout"}
    assert {knob for knob in knobs if config[knob] is None} == null


def test_batch_larger_than_the_training_set_is_one_full_batch(workdir):
    assert workdir.train("epochs=1", "batch_size=100000").returncode == 0
    assert workdir.train("epochs=1", "batch_size=1294").returncode == 0
    first, second = workdir.runs
    assert first.exact_results == second.exact_results


def test_multirun_gives_each_combination_a_directory(workdir):
    result = workdir.train("--multirun", "lr=0.01,0.1", "depth=1,2", "epochs=1")
    assert result.returncode == 0, result.stderr
    assert [run.path.name for run in workdir.runs] == ["0", "1", "2", "3"]
    configs = [yaml.safe_load((run.path / "config.yaml").read_text()) for run in workdir.runs]
    assert [(c["lr"], c["depth"]) for c in configs] == [(0.01, 1), (0.01, 2), (0.1, 1), (0.1, 2)]


def test_non_finite_loss_stops_the_run_with_a_hint(workdir):
    result = workdir.train("lr=5000")
    assert result.returncode == 3
    assert "diverged in epoch 1" in result.stderr
    assert "lr=5000" in result.stderr
    assert "Warning" not in result.stderr
    run = workdir.only_run
    assert run.summary["status"] == "diverged"
    assert run.summary["test/accuracy"] is None
    assert [line["train/loss"] for line in run.history] == [None]


def test_divergence_in_the_last_step_is_detected_in_evaluation(workdir):
    args = ["batch_size=all", "epochs=1", "dataset.validation=0", "lr=1e30"]
    assert workdir.train(*args).returncode == 3
    assert workdir.only_run.summary["status"] == "diverged"


def test_diverged_run_exits_with_0_under_an_agent(workdir):
    result = workdir.train("lr=5000", WANDB_SWEEP_ID="s1", WANDB_RUN_ID="r1")
    assert result.returncode == 0
    assert workdir.only_run.summary["status"] == "diverged"


def test_multirun_continues_after_a_diverged_run(workdir):
    result = workdir.train("--multirun", "lr=5000,0.1", "epochs=1")
    assert result.returncode == 3
    assert [run.summary["status"] for run in workdir.runs] == ["diverged", "finished"]


def test_closed_stdout_does_not_stop_the_run(workdir):
    process = workdir.start(TRAIN_SCRIPT, "epochs=300", "tracking=disabled")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert workdir.only_run.summary["status"] == "finished"


@pytest.mark.sampled(4)
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7])
def test_ctrl_c_at_the_start_leaves_no_traceback_and_no_partial_run(workdir, delay):
    start = partial(workdir.start, TRAIN_SCRIPT, "epochs=100000", "tracking=offline")
    status, errors = interrupt_when_started(start, delay, lambda pid: os.kill(pid, signal.SIGINT))
    assert (status, errors) == (130, "")
    for run in workdir.runs:
        assert run.summary["status"] == "interrupted"


def test_ctrl_c_ends_cleanly_and_keeps_the_history(workdir):
    process = workdir.start(TRAIN_SCRIPT, "epochs=100000", "tracking=offline")
    lines = [process.stdout.readline() for _ in range(17)]
    assert "epoch" in lines[-1]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == ""
    run = workdir.only_run
    assert run.summary["status"] == "interrupted"
    assert run.summary["test/accuracy"] is None
    assert len(run.history) == run.summary["epochs"] >= 5


def test_help_page_shows_the_main_settings(workdir):
    result = workdir.run(TRAIN_SCRIPT, "--help")
    assert result.returncode == 0
    for word in ("lr=0.055", "batch_size=32", "--multirun", "digits_best", "Exit status"):
        assert word in result.stdout
    assert "Hydra" not in result.stdout
    assert f"\n{format_hyperparameters_help()}\n" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert not workdir.runs


def test_terminal_shows_a_progress_bar(workdir):
    line, settings = workdir.popen_args(
        TRAIN_SCRIPT, "tracking=disabled", "epochs=200", TERM="xterm"
    )
    controller, terminal = pty.openpty()
    process = subprocess.Popen(line, **{**settings, "stdout": terminal, "stderr": terminal})
    os.close(terminal)
    output = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:
            break
        if not part:
            break
        output += part
    os.close(controller)
    assert process.wait(timeout=60) == 0
    text = output.decode()
    assert "━" in text
    assert "200/200" in text
    assert "Test accuracy" in text
