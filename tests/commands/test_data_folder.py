"""NN_DATA names a directory of datasets, so that no command needs its path."""

from __future__ import annotations

import gzip
import hashlib
import json

import numpy as np
import pytest

from nn.data import cache
from nn.data.mnist import FashionMNIST
from nn.errors import UserError
from tests.conftest import ROOT
from tests.data.genuine import GENUINE, needs_genuine
from tests.data.test_csv import NAMES, rows, write
from tests.data.test_mnist import CONTENTS, Small, correct

TRAIN, SWEEP = str(ROOT / "scripts/train.py"), str(ROOT / "scripts/sweep.py")
CSV_WORDS = ("dataset=csv", "dataset.train=train.csv", "epochs=2")


def read(root=None):
    return Small(mirrors=[], root=root).read(np.random.default_rng(0))


def fill(folder, contents=CONTENTS):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("NN_DATA", str(folder))
    return folder


@pytest.mark.parametrize("place", ["", "mnist"])
def test_mnist_is_found_in_the_folder_or_in_one_of_its_name(data, place):
    fill(data / place)
    assert correct(read())
    assert not list(cache.cache_dir("mnist").glob("*"))


def test_the_folder_may_be_in_the_home_folder(tmp_path, monkeypatch):
    fill(tmp_path / "home/data")
    monkeypatch.setenv("NN_DATA", "~/data")
    assert correct(read())


def test_a_root_comes_first_and_the_folder_before_the_cache(data, tmp_path):
    damaged = {name: content[:-1] + b"\xff" for name, content in CONTENTS.items()}
    fill(data / "mnist", damaged)
    assert correct(read(str(fill(tmp_path / "root"))))
    fill(cache.cache_dir("mnist"))
    with pytest.raises(UserError, match=r"data/mnist/train-images.* is not the published file"):
        read()
    for path in (data / "mnist").iterdir():
        path.unlink()
    assert correct(read())


def test_another_dataset_of_the_same_file_names_is_passed_over(data, monkeypatch):
    """MNIST and Fashion-MNIST have the same file names, and either may lie in the directory."""
    wrong = {name: content[:-1] + b"\xff" for name, content in CONTENTS.items()}
    fill(data, wrong)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in wrong.items()}
    monkeypatch.setattr(FashionMNIST, "REGISTRY", digests)
    fill(cache.cache_dir("mnist"))
    assert correct(read())
    with pytest.raises(UserError, match="belongs to fashion_mnist; set dataset=fashion_mnist"):
        read(str(data))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["absent", "file", "user"])
def test_a_folder_that_cannot_be_read_is_one_sentence(workplace, tmp_path, kind):
    (tmp_path / "file").touch()
    name = "~nobody-of-this-name/x" if kind == "user" else str(tmp_path / kind)
    for words in (("dataset=mnist",), CSV_WORDS):
        done = workplace.train(*words, NN_DATA=name)
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.startswith(f"NN_DATA={name} cannot be read: ")
        assert len(done.stderr.splitlines()) == 1
    assert list(workplace.path.iterdir()) == []
    assert workplace.train("epochs=1", NN_DATA=name).returncode == 0


def test_a_file_that_is_not_here_is_found_there_and_one_that_is_here_comes_first(workplace, data):
    write(data / "train.csv", rows(60), ["label", *NAMES])
    done = workplace.train(*CSV_WORDS, "dataset.test=test.csv")
    assert done.returncode == 2
    assert done.stderr == f"test.csv: there is no such file, nor is there {data}/test.csv.\n"
    done = workplace.train(*CSV_WORDS)
    assert done.returncode == 0, done.stderr
    assert ": 54 training" in done.stdout
    write(workplace.path / "train.csv", rows(90), ["label", *NAMES])
    assert ": 81 training" in workplace.train(*CSV_WORDS).stdout


def test_idx_files_are_found_there_too(workplace, data):
    names = [f"{part}-{what}" for part in ("train", "t10k") for what in ("images", "labels")]
    settings = ("train_images", "train_labels", "test_images", "test_labels")
    for name, content in zip(names, CONTENTS.values(), strict=True):
        (data / name).write_bytes(content)
    words = [f"dataset.{key}={name}" for key, name in zip(settings, names, strict=True)]
    done = workplace.train("dataset=idx", *words, "dataset.validation=0", "epochs=1")
    assert done.returncode == 0, done.stderr
    assert "30 test samples" in done.stdout


def test_a_run_goes_on_and_is_repeated_where_the_same_data_is_found_only(workplace, tmp_path):
    for name, seed in (("first", 0), ("copy", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "train.csv", rows(60, seed=seed), ["label", *NAMES])
    (tmp_path / "empty").mkdir()
    done = workplace.train(*CSV_WORDS, "hydra.run.dir=run", NN_DATA=str(tmp_path / "first"))
    assert done.returncode == 0, done.stderr
    sentences = {"other": "the dataset is not the one", "empty": "train.csv: there is no such file"}
    for words in (("reproduce=run", "tracking=disabled"), ("resume=run", "epochs=3")):
        done = workplace.run(TRAIN, *words, NN_DATA=str(tmp_path / "copy"))
        assert done.returncode == 0, done.stderr
        for name, sentence in sentences.items():
            again = [word.replace("epochs=3", "epochs=4") for word in words]
            done = workplace.run(TRAIN, *again, NN_DATA=str(tmp_path / name))
            assert done.returncode == 2, done.stdout + done.stderr
            assert sentence in done.stderr
            assert len(done.stderr.splitlines()) == 1
        assert len(workplace.runs) == 2


def test_the_workers_of_a_sweep_find_it(workplace, data):
    write(data / "train.csv", rows(60), ["label", *NAMES])
    (workplace.path / "sweep.yaml").write_text(
        json.dumps(
            {
                "program": "scripts/train.py",
                "method": "random",
                "metric": {"name": "val/loss", "goal": "minimize"},
                "parameters": {"lr": {"min": 0.01, "max": 0.1}},
            }
        )
    )
    words = ("sweep.yaml", "--count", "2", "--workers", "1", *CSV_WORDS, "tracking=disabled")
    done = workplace.run(SWEEP, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {run.summary["status"] for run in workplace.runs} == {"finished"}


@needs_genuine
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_the_genuine_files_are_found(workplace, dataset):
    words = (f"dataset={dataset}", "dataset.max_samples=500", "epochs=1")
    done = workplace.train(*words, NN_DATA=str(GENUINE))
    assert done.returncode == 0, done.stderr
