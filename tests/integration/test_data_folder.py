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
from tests.conftest import SWEEP_SCRIPT, TRAIN_SCRIPT
from tests.data.real_data import REAL_DATA, requires_real_data
from tests.data.test_csv import PIXEL_NAMES, make_rows, write_csv
from tests.data.test_mnist import FILE_CONTENTS, TinyMNIST, check_content

CSV_OVERRIDES = ("dataset=csv", "dataset.train=train.csv", "epochs=2")


def read_mnist(root=None):
    return TinyMNIST(mirrors=[], root=root).read(np.random.default_rng(0))


def write_archives(folder, contents=FILE_CONTENTS):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("NN_DATA", str(folder))
    return folder


@pytest.mark.parametrize("place", ["", "mnist"])
def test_mnist_is_found_in_the_folder_or_a_subfolder_of_its_name(data_dir, place):
    write_archives(data_dir / place)
    assert check_content(read_mnist())
    assert not list(cache.cache_dir("mnist").glob("*"))


def test_data_folder_may_be_in_the_home_directory(tmp_path, monkeypatch):
    write_archives(tmp_path / "home/data")
    monkeypatch.setenv("NN_DATA", "~/data")
    assert check_content(read_mnist())


def test_root_precedes_data_folder_precedes_cache(data_dir, tmp_path):
    damaged = {name: content[:-1] + b"\xff" for name, content in FILE_CONTENTS.items()}
    write_archives(data_dir / "mnist", damaged)
    assert check_content(read_mnist(str(write_archives(tmp_path / "root"))))
    write_archives(cache.cache_dir("mnist"))
    with pytest.raises(UserError, match=r"data/mnist/train-images.* is not the published file"):
        read_mnist()
    for path in (data_dir / "mnist").iterdir():
        path.unlink()
    assert check_content(read_mnist())


def test_another_dataset_with_the_same_file_names_is_skipped(data_dir, monkeypatch):
    """MNIST and Fashion-MNIST have the same file names, and either may lie in the directory."""
    wrong = {name: content[:-1] + b"\xff" for name, content in FILE_CONTENTS.items()}
    write_archives(data_dir, wrong)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in wrong.items()}
    monkeypatch.setattr(FashionMNIST, "REGISTRY", digests)
    write_archives(cache.cache_dir("mnist"))
    assert check_content(read_mnist())
    with pytest.raises(UserError, match="belongs to fashion_mnist; set dataset=fashion_mnist"):
        read_mnist(str(data_dir))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["absent", "file", "user"])
def test_unreadable_data_folder_gives_a_one_line_error(workdir, tmp_path, kind):
    (tmp_path / "file").touch()
    name = "~nobody-of-this-name/x" if kind == "user" else str(tmp_path / kind)
    for args in (("dataset=mnist",), CSV_OVERRIDES):
        result = workdir.train(*args, NN_DATA=name)
        assert result.returncode == 2, result.stdout + result.stderr
        assert result.stderr.startswith(f"NN_DATA={name} cannot be read: ")
        assert len(result.stderr.splitlines()) == 1
    assert list(workdir.path.iterdir()) == []
    assert workdir.train("epochs=1", NN_DATA=name).returncode == 0


def test_data_folder_is_searched_after_the_working_directory(workdir, data_dir):
    write_csv(data_dir / "train.csv", make_rows(60), ["label", *PIXEL_NAMES])
    result = workdir.train(*CSV_OVERRIDES, "dataset.test=test.csv")
    assert result.returncode == 2
    assert result.stderr == f"test.csv: there is no such file, nor is there {data_dir}/test.csv.\n"
    result = workdir.train(*CSV_OVERRIDES)
    assert result.returncode == 0, result.stderr
    assert ": 54 training" in result.stdout
    write_csv(workdir.path / "train.csv", make_rows(90), ["label", *PIXEL_NAMES])
    assert ": 81 training" in workdir.train(*CSV_OVERRIDES).stdout


def test_idx_files_are_found_in_the_data_folder(workdir, data_dir):
    names = [f"{part}-{what}" for part in ("train", "t10k") for what in ("images", "labels")]
    settings = ("train_images", "train_labels", "test_images", "test_labels")
    for name, content in zip(names, FILE_CONTENTS.values(), strict=True):
        (data_dir / name).write_bytes(content)
    args = [f"dataset.{key}={name}" for key, name in zip(settings, names, strict=True)]
    result = workdir.train("dataset=idx", *args, "dataset.validation=0", "epochs=1")
    assert result.returncode == 0, result.stderr
    assert "30 test samples" in result.stdout


def test_resume_and_reproduce_require_the_same_data(workdir, tmp_path):
    for name, seed in (("first", 0), ("copy", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        write_csv(tmp_path / name / "train.csv", make_rows(60, seed=seed), ["label", *PIXEL_NAMES])
    (tmp_path / "empty").mkdir()
    result = workdir.train(*CSV_OVERRIDES, "hydra.run.dir=run", NN_DATA=str(tmp_path / "first"))
    assert result.returncode == 0, result.stderr
    messages = {"other": "the dataset is not the one", "empty": "train.csv: there is no such file"}
    for args in (("reproduce=run", "tracking=disabled"), ("resume=run", "epochs=3")):
        result = workdir.run(TRAIN_SCRIPT, *args, NN_DATA=str(tmp_path / "copy"))
        assert result.returncode == 0, result.stderr
        for name, message in messages.items():
            extended = [word.replace("epochs=3", "epochs=4") for word in args]
            result = workdir.run(TRAIN_SCRIPT, *extended, NN_DATA=str(tmp_path / name))
            assert result.returncode == 2, result.stdout + result.stderr
            assert message in result.stderr
            assert len(result.stderr.splitlines()) == 1
        assert len(workdir.runs) == 2


def test_sweep_workers_use_the_data_folder(workdir, data_dir):
    write_csv(data_dir / "train.csv", make_rows(60), ["label", *PIXEL_NAMES])
    (workdir.path / "sweep.yaml").write_text(
        json.dumps(
            {
                "program": "scripts/train.py",
                "method": "random",
                "metric": {"name": "val/loss", "goal": "minimize"},
                "parameters": {"lr": {"min": 0.01, "max": 0.1}},
            }
        )
    )
    args = ("sweep.yaml", "--count", "2", "--workers", "1", *CSV_OVERRIDES, "tracking=disabled")
    result = workdir.run(SWEEP_SCRIPT, *args)
    assert result.returncode == 0, result.stdout + result.stderr
    assert {run.summary["status"] for run in workdir.runs} == {"finished"}


@requires_real_data
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_published_files_are_found(workdir, dataset):
    args = (f"dataset={dataset}", "dataset.max_samples=500", "epochs=1")
    result = workdir.train(*args, NN_DATA=str(REAL_DATA))
    assert result.returncode == 0, result.stderr
