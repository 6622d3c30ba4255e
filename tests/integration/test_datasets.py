"""scripts/train.py on the user's own data."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from tests.conftest import TRAIN_SCRIPT
from tests.data.idx_files import make_images_and_labels, write_idx
from tests.data.mirror_server import serve_mirror
from tests.data.test_csv import PIXEL_NAMES, make_rows, write_csv


@pytest.fixture
def files(workdir):
    for part, count in (("train", 300), ("test", 60)):
        images, labels = make_images_and_labels(count, seed=count)
        write_idx(workdir.path / f"{part}-x", images)
        write_idx(workdir.path / f"{part}-y.gz", labels, compressed=True)
    return [
        "dataset=idx",
        "dataset.train_images=train-x",
        "dataset.train_labels=train-y.gz",
        "dataset.test_images=test-x",
        "dataset.test_labels=test-y.gz",
    ]


def test_idx_files_can_be_trained_on(workdir, files):
    result = workdir.train(*files)
    assert result.returncode == 0, result.stderr
    summary = workdir.only_run.summary
    assert summary["test/accuracy"] > 0.9
    assert len(summary["confusion_matrix"]) == 3
    assert len(summary["dataset/sha256"]) == 64
    assert "270 training, 30 validation, 60 test samples" in result.stdout


def test_csv_files_can_be_trained_on_without_test_labels(workdir):
    write_csv(workdir.path / "train.csv", make_rows(300), ["label", *PIXEL_NAMES])
    write_csv(workdir.path / "test.csv", make_rows(9, with_labels=False), PIXEL_NAMES)
    result = workdir.train("dataset=csv", "dataset.train=train.csv", "dataset.test=test.csv")
    assert result.returncode == 0, result.stderr
    summary = workdir.only_run.summary
    assert summary["test/accuracy"] is None
    assert summary["test/loss"] is None
    assert summary["val/accuracy"] > 0.9
    assert sum(map(sum, summary["confusion_matrix"])) == 30
    assert "Validation accuracy" in result.stdout


def test_without_validation_none_is_recorded(workdir):
    result = workdir.train("dataset.validation=0", "epochs=2")
    assert result.returncode == 0, result.stderr
    run = workdir.only_run
    assert run.summary["val/accuracy"] is None
    assert run.summary["best/epoch"] is None
    assert {line["val/loss"] for line in run.history} == {None}
    assert run.summary["test/accuracy"] is not None


def test_augmentation_is_seeded_and_changes_only_training(workdir):
    args = ["augmentation=affine", "augmentation.noise=0.1", "epochs=2"]
    for _ in range(2):
        assert workdir.train(*args).returncode == 0
    assert workdir.train("epochs=2").returncode == 0
    first, repeated, plain = workdir.runs
    assert first.exact_results == repeated.exact_results != plain.exact_results


@pytest.mark.parametrize("normalize", ["none", "unit", "standard"])
def test_every_normalization_trains(workdir, normalize):
    lr = 0.003 if normalize == "none" else 0.05
    result = workdir.train(f"dataset.normalize={normalize}", f"lr={lr}", "epochs=10")
    assert result.returncode == 0, result.stderr
    assert workdir.only_run.summary["test/accuracy"] > 0.85


def test_max_samples_reduces_the_dataset(workdir):
    result = workdir.train("dataset.max_samples=200", "epochs=1")
    assert "180 training, 20 validation, 200 test samples" in result.stdout


EXPECTED_MESSAGES = {
    "dataset=idx": "dataset.train_images is missing: it must be a string.",
    "dataset=csv": "dataset.train is missing: it must be a string.",
    "dataset=csv dataset.train=nowhere.csv": "nowhere.csv: there is no such file.",
    "dataset=csv dataset.train=.": ". is a directory.",
    "dataset=csv dataset.train=cut.gz": "cut.gz: the compressed data is truncated or damaged.",
    "dataset=csv dataset.train=ragged.csv": "ragged.csv, row 2: 2 values, but the rows",
    "dataset=csv dataset.train=x dataset.header=maybe": "dataset.header must be auto, true or",
    "dataset=idx dataset.train_images=cut.gz dataset.train_labels=cut.gz": "cut.gz: the compress",
    "dataset=mnist dataset.root=nowhere": "dataset.root=nowhere cannot be read: no such file",
    "dataset=mnist dataset.mirrors=[http://127.0.0.1:9]": "mnist could not be downloaded: put",
    "dataset.normalize=twice": "dataset.normalize must be one of none, unit, standard.",
    "dataset.max_samples=0": (
        "dataset.max_samples=0: dataset.max_samples must be a whole number, at least 1, or null."
    ),
    "dataset.max_samples=5": "dataset.max_samples=5: some class would have no samples.",
    "augmentation=imaginary": "available: affine, flip, none.",
    "augmentation.shift=-1": "augmentation.shift=-1: augmentation.shift must be a number, at",
    "augmentation.flip=2": "augmentation.flip=2: augmentation.flip must be true or false.",
    "--multirun dataset=csv dataset.train=ragged.csv,nowhere.csv": "ragged.csv, row 2",
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("args", EXPECTED_MESSAGES)
def test_bad_data_gives_one_line_and_writes_nothing(workdir, args, tmp_path):
    (workdir.path / "ragged.csv").write_text("0,1,2\n1,2\n")
    (workdir.path / "cut.gz").write_bytes(b"\x1f\x8b\x08\0")
    before = sorted(workdir.path.iterdir())
    result = workdir.train(*args.split())
    assert result.returncode == 2, result.stdout + result.stderr
    assert EXPECTED_MESSAGES[args] in result.stderr
    error_lines = [
        line for line in result.stderr.splitlines() if not line.startswith("downloading")
    ]
    assert len(error_lines) == 1
    assert sorted(workdir.path.iterdir()) == before
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


def test_ctrl_c_during_a_download_leaves_nothing(workdir, tmp_path):
    with serve_mirror({"train-images-idx3-ubyte.gz": bytes(10**6)}, "silent") as first:
        args = ["dataset=mnist", f"dataset.mirrors=[{first.url}]", "tracking=disabled"]
        process = workdir.start(TRAIN_SCRIPT, *args)
        assert first.half_sent.wait(30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert list(workdir.path.iterdir()) == []


def test_damaged_idx_files_are_reported_by_the_command(workdir, files):
    original = (workdir.path / "train-x").read_bytes()
    damages = {
        original[:-1]: "holds 4,799 bytes of values",
        original + b"x": "has data after the 4,800 bytes",
        b"": "train-x is empty.",
        b"\0\0\x0f" + original[3:]: "train-x is not an IDX file",
        original[:4] + b"\xff" * 8 + original[12:]: "more than it can hold",
        original[:7] + b"\x2d" + original[8:]: "bytes of values",
    }
    for content, message in damages.items():
        (workdir.path / "train-x").write_bytes(content)
        result = workdir.train(*files)
        assert result.returncode == 2, result.stdout
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not workdir.runs


def test_history_of_a_run_on_user_data_is_complete(workdir, files):
    assert workdir.train(*files, "epochs=3").returncode == 0
    lines = (workdir.only_run.path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert np.isfinite(json.loads(lines[-1])["train/loss"])
