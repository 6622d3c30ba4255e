"""In Python a run is a return value and an error an exception; the process is left unchanged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import optuna
import pytest
from sklearn.datasets import load_digits

import nn
from nn.runs.reader import SavedRun
from tests.conftest import ROOT
from tests.report.factories import make_sweep

QUICK = ("tracking=disabled", "model.hidden=[12]", "epochs=3", "dataset.max_samples=600")


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    directory = tmp_path / "an empty directory"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return nn.train(QUICK, run_dir=tmp_path_factory.mktemp("api") / "run")


def process_state():
    handlers = [signal.getsignal(number) for number in range(1, signal.NSIG)]
    return handlers, sys.stdout, sys.stderr, dict(os.environ)


def test_train_returns_the_run_and_leaves_the_process_unchanged(capfd):
    before = process_state()
    run = nn.train(["tracking=offline", *QUICK[1:]])
    after = process_state()
    assert after[:3] == before[:3]
    assert {name for name in after[3] if after[3][name] != before[3].get(name)} == set()
    assert capfd.readouterr() == ("", "")
    assert run.path.parts[0] == "runs"
    assert run.summary["status"] == "finished"
    assert run.config["epochs"] == 3


def test_progress_is_printed_on_request(capfd):
    nn.train(QUICK, verbose=True)
    assert "epoch 3/3" in capfd.readouterr().out


def test_train_in_python_gives_the_results_of_the_command(trained, workdir):
    assert workdir.train(*QUICK, "hydra.run.dir=run").returncode == 0
    summary = json.loads((workdir.path / "run/summary.json").read_text())
    assert summary["weights/sha256"] == trained.summary["weights/sha256"]


def test_invalid_overrides_raise_user_error_and_write_nothing(empty_directory):
    with pytest.raises(nn.UserError, match="lr=-1: lr must be a number above 0"):
        nn.train(["lr=-1"])
    with pytest.raises(nn.UserError, match="learning_rate"):
        nn.train(["learning_rate=1"])
    assert not list(empty_directory.iterdir())


def test_divergence_raises_diverged_error_and_keeps_the_run(empty_directory):
    with pytest.raises(nn.DivergedError, match="lr=5000"):
        nn.train(["tracking=disabled", "lr=5000"], run_dir="run")
    assert nn.load_run("run").summary["status"] == "diverged"


def test_ctrl_c_saves_the_state_and_raises_keyboard_interrupt():
    threading.Timer(2, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        nn.train(["tracking=disabled", "epochs=1000000"], run_dir="run")
    run = nn.load_run("run")
    assert run.summary["status"] == "interrupted"
    assert len(run.history) == run.summary["epochs"] > 0


def test_load_run_gives_data_frames(trained):
    run = nn.load_run(str(trained.path))
    assert list(run.history["epoch"]) == [1, 2, 3]
    assert run.history["val/loss"].iloc[-1] == run.summary["val/loss"]
    counts = run.confusion_matrix
    assert counts.index.name == "true"
    assert list(counts.columns) == run.class_names
    accuracy = np.trace(counts.to_numpy()) / counts.to_numpy().sum()
    assert accuracy == pytest.approx(run.summary["test/accuracy"])


def test_predict_matches_the_trained_network(trained):
    predictions = SavedRun(trained.path).predictions
    images, labels = load_digits(return_X_y=True)
    probabilities = trained.predict_proba(images)
    assert probabilities.shape == (len(images), 10)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    np.testing.assert_array_equal(trained.predict(images), probabilities.argmax(axis=1))
    image_shaped = images.reshape(-1, 1, 8, 8)
    np.testing.assert_array_equal(trained.predict_proba(image_shaped), probabilities)
    accuracy = (trained.predict(images) == labels).mean()
    assert abs(accuracy - (predictions.probabilities.argmax(1) == predictions.labels).mean()) < 0.1


@pytest.mark.parametrize(
    "images", [np.zeros(64), np.zeros((3, 63)), [["a"] * 64], np.zeros((2, 8))]
)
def test_images_of_the_wrong_shape_are_refused(trained, images):
    with pytest.raises(
        nn.UserError, match=r"the network takes numbers of shape \(\'n\', 1, 8, 8\)"
    ):
        trained.predict(images)


def test_no_images_give_no_predictions(trained):
    assert trained.predict(np.zeros((0, 64))).shape == (0,)


def test_other_directories_are_refused(empty_directory):
    with pytest.raises(nn.UserError):
        nn.load_run(empty_directory)
    with pytest.raises(nn.UserError):
        nn.load_sweep("missing")


def test_load_sweep_gives_optunas_data_frame(tmp_path):
    sweep = nn.load_sweep(make_sweep(tmp_path / "sweep", states=("finished", "failed", "running")))
    trials = sweep.trials_dataframe()
    assert list(trials["number"]) == list(range(12))
    assert list(trials["state"][:3]) == ["finished", "failed", "running"]
    names = set(optuna.create_study().trials_dataframe(("number", "value", "duration")).columns)
    assert names <= set(trials.columns)
    finished = trials[trials["state"] == "finished"]
    best = finished.loc[finished["value"].idxmin()]
    assert best["value"] == sweep.best_value
    assert {name.removeprefix("params_"): best[name] for name in trials.filter(like="params_")} == (
        sweep.best_params
    )
    assert sweep.config["method"] == "random"


def test_importing_the_package_imports_nothing_slow():
    code = (
        "import sys, nn; print(sorted({'pandas', 'optuna', 'hydra', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_example_notebook_runs(workdir):
    done = workdir.run(ROOT / "scripts/notebook.py")
    assert done.returncode == 0, done.stderr
    assert "lr=-1: lr must be a number above 0." in done.stdout
