"""scripts/train.py on the user's own data."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.data.homes import home
from tests.data.idx_files import images_and_labels, write_idx
from tests.data.test_csv import NAMES, rows, write


@pytest.fixture
def files(workplace):
    for part, count in (("train", 300), ("test", 60)):
        images, labels = images_and_labels(count, seed=count)
        write_idx(workplace.path / f"{part}-x", images)
        write_idx(workplace.path / f"{part}-y.gz", labels, compressed=True)
    return [
        "dataset=idx",
        "dataset.train_images=train-x",
        "dataset.train_labels=train-y.gz",
        "dataset.test_images=test-x",
        "dataset.test_labels=test-y.gz",
    ]


def test_idx_files_are_learned_from(workplace, files):
    done = workplace.train(*files)
    assert done.returncode == 0, done.stderr
    summary = workplace.only_run.summary
    assert summary["test/accuracy"] > 0.9
    assert len(summary["confusion_matrix"]) == 3
    assert len(summary["dataset/sha256"]) == 64
    assert "270 training, 30 validation, 60 test samples" in done.stdout


def test_csv_files_are_learned_from_and_may_lack_test_labels(workplace):
    write(workplace.path / "train.csv", rows(300), ["label", *NAMES])
    write(workplace.path / "test.csv", rows(9, labelled=False), NAMES)
    done = workplace.train("dataset=csv", "dataset.train=train.csv", "dataset.test=test.csv")
    assert done.returncode == 0, done.stderr
    summary = workplace.only_run.summary
    assert summary["test/accuracy"] is None
    assert summary["test/loss"] is None
    assert summary["val/accuracy"] > 0.9
    assert sum(map(sum, summary["confusion_matrix"])) == 30
    assert "Validation accuracy" in done.stdout


def test_without_validation_none_is_recorded(workplace):
    done = workplace.train("dataset.validation=0", "epochs=2")
    assert done.returncode == 0, done.stderr
    run = workplace.only_run
    assert run.summary["val/accuracy"] is None
    assert run.summary["best/epoch"] is None
    assert {line["val/loss"] for line in run.history} == {None}
    assert run.summary["test/accuracy"] is not None


def test_augmentation_is_seeded_and_changes_the_training_only(workplace):
    words = ["augmentation=affine", "augmentation.noise=0.1", "epochs=2"]
    for _ in range(2):
        assert workplace.train(*words).returncode == 0
    assert workplace.train("epochs=2").returncode == 0
    first, again, plain = workplace.runs
    assert first.bits == again.bits != plain.bits


@pytest.mark.parametrize("normalize", ["none", "unit", "standard"])
def test_every_normalization_trains(workplace, normalize):
    lr = 0.003 if normalize == "none" else 0.05
    done = workplace.train(f"dataset.normalize={normalize}", f"lr={lr}", "epochs=10")
    assert done.returncode == 0, done.stderr
    assert workplace.only_run.summary["test/accuracy"] > 0.85


def test_a_limit_gives_a_quick_look(workplace):
    done = workplace.train("dataset.max_samples=200", "epochs=1")
    assert "180 training, 20 validation, 200 test samples" in done.stdout


BAD = {
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


@pytest.mark.parametrize("words", BAD)
def test_bad_data_is_told_in_one_sentence_and_leaves_nothing(workplace, words, tmp_path):
    (workplace.path / "ragged.csv").write_text("0,1,2\n1,2\n")
    (workplace.path / "cut.gz").write_bytes(b"\x1f\x8b\x08\0")
    before = sorted(workplace.path.iterdir())
    done = workplace.train(*words.split())
    assert done.returncode == 2, done.stdout + done.stderr
    assert BAD[words] in done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("downloading")]
    assert len(told) == 1
    assert sorted(workplace.path.iterdir()) == before
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


def test_ctrl_c_during_a_download_leaves_nothing(workplace, tmp_path):
    with home({"train-images-idx3-ubyte.gz": bytes(10**6)}, "silent") as first:
        words = ["dataset=mnist", f"dataset.mirrors=[{first.url}]", "tracking=disabled"]
        process = workplace.start(str(ROOT / "scripts/train.py"), *words)
        assert first.half_sent.wait(30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert list(workplace.path.iterdir()) == []


def test_damage_to_idx_files_is_told_through_the_command(workplace, files):
    whole = (workplace.path / "train-x").read_bytes()
    damages = {
        whole[:-1]: "holds 4,799 bytes of values",
        whole + b"x": "has data after the 4,800 bytes",
        b"": "train-x is empty.",
        b"\0\0\x0f" + whole[3:]: "train-x is not an IDX file",
        whole[:4] + b"\xff" * 8 + whole[12:]: "more than it can hold",
        whole[:7] + b"\x2d" + whole[8:]: "bytes of values",
    }
    for content, sentence in damages.items():
        (workplace.path / "train-x").write_bytes(content)
        done = workplace.train(*files)
        assert done.returncode == 2, done.stdout
        assert sentence in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not workplace.runs


def test_the_history_of_a_run_on_the_users_data_is_whole(workplace, files):
    assert workplace.train(*files, "epochs=3").returncode == 0
    lines = (workplace.only_run.path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert np.isfinite(json.loads(lines[-1])["train/loss"])
