"""The index column that pandas writes into a CSV file is ignored in training and prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nn.data.csv import CSV
from nn.errors import UserError
from nn.predict import array_files
from tests.conftest import ROOT
from tests.data.idx_files import INPUT_SPEC, images_and_labels

NAMES = [f"pixel{i}" for i in range(16)]
COUNT = 60


def frame(count=COUNT, label=0, seed=0):
    """Return images and labels as a DataFrame, with the labels in any column or without them."""
    images, labels = images_and_labels(count, seed=seed)
    table = pd.DataFrame(images.reshape(count, -1), columns=NAMES)
    if label is not None:
        table.insert(label, "label", labels)
    return table


def load(**settings):
    return CSV(validation=0, **settings).load(np.random.default_rng(0))


def check(samples, count=COUNT, seed=0):
    images, labels = images_and_labels(count, seed=seed)
    np.testing.assert_array_equal(samples.raw[:, 0], images)
    np.testing.assert_array_equal(samples.labels, labels)
    assert samples.raw.dtype == np.uint8


def shuffled(table):
    return table.set_index(np.random.default_rng(1).permutation(len(table)) + 700)


def with_column(table, place, name, values):
    table.insert(place, name, values)
    return table


@pytest.mark.parametrize("label", [0, 7, 16])
@pytest.mark.parametrize("name", [None, "Unnamed: 0", "index", "id", "ImageId", "image_id", "Id"])
def test_an_index_is_ignored_wherever_the_label_is(tmp_path, name, label):
    path = tmp_path / "train.csv"
    frame(label=label).to_csv(path, index_label=name)
    dataset = load(train=str(path))
    check(dataset.train)
    called = f" ({name})" if name else ""
    assert dataset.notes == (f"{path}: column 1{called} is an index and is ignored.",)


@pytest.mark.parametrize(
    "make",
    [
        lambda table: shuffled(table),
        lambda table: table.set_index(np.arange(len(table), dtype=float)),
        lambda table: table.set_index(np.arange(len(table)) + 1),
        lambda table: table.set_index(np.arange(len(table)) % 30),
    ],
    ids=["shuffled", "floats", "from 1", "concatenated"],
)
def test_an_index_without_a_name_may_be_any_whole_numbers(tmp_path, make):
    make(frame()).to_csv(tmp_path / "train.csv")
    check(load(train=str(tmp_path / "train.csv")).train)


def test_an_index_that_was_written_and_read_and_written_again_is_ignored(tmp_path):
    path = tmp_path / "train.csv"
    frame().to_csv(path)
    pd.read_csv(path).to_csv(path)
    dataset = load(train=str(path))
    check(dataset.train)
    assert len(dataset.notes) == 2


@pytest.mark.parametrize("names", [None, ["level_0", "level_1"], ["", "level_1"]])
def test_an_index_of_several_levels_is_ignored(tmp_path, names):
    table = frame()
    table.index = pd.MultiIndex.from_arrays([np.arange(COUNT) // 10, np.arange(COUNT) % 10])
    path = tmp_path / "train.csv"
    table.to_csv(path, index_label=names)
    dataset = load(train=str(path))
    check(dataset.train)
    assert len(dataset.notes) == 2


def test_an_index_may_be_last_or_beside_the_label(tmp_path):
    for place in (1, 17):
        table = with_column(frame(), place, "id", range(COUNT))
        table.to_csv(tmp_path / "train.csv", index=False)
        check(load(train=str(tmp_path / "train.csv")).train)


@pytest.mark.parametrize("name", ["number", "row of the image"])
def test_an_index_of_another_name_is_known_by_its_values(tmp_path, name):
    frame().to_csv(tmp_path / "train.csv", index_label=name)
    check(load(train=str(tmp_path / "train.csv")).train)


@pytest.mark.parametrize("start", [0, 1, 1000])
@pytest.mark.parametrize(
    ("label", "index", "setting"),
    [
        (0, 0, "auto"),
        (0, 0, "first"),
        (0, 1, "auto"),
        (0, 17, "auto"),
        (16, 0, "last"),
        (16, 16, "last"),
        (16, 17, "last"),
    ],
)
def test_an_index_without_a_header_is_known_by_its_values(tmp_path, label, index, setting, start):
    table = with_column(frame(label=label), index, "index", np.arange(COUNT) + start)
    table.to_csv(tmp_path / "train.csv", index=False, header=False)
    dataset = load(train=str(tmp_path / "train.csv"), label=setting)
    check(dataset.train)
    assert len(dataset.notes) == 1


def test_a_shuffled_index_without_a_header_is_known_by_its_values(tmp_path):
    shuffled(frame()).to_csv(tmp_path / "train.csv", header=False)
    check(load(train=str(tmp_path / "train.csv")).train)


@pytest.mark.parametrize("index", [True, False])
def test_the_header_of_an_array_is_a_header(tmp_path, index):
    table = frame()
    table.columns = range(17)
    table.to_csv(tmp_path / "train.csv", index=index)
    check(load(train=str(tmp_path / "train.csv")).train)


def test_the_header_that_r_writes_lacks_the_name_of_the_index(tmp_path):
    lines = frame().to_csv(header=False).splitlines()
    header = ",".join(["label", *NAMES])
    (tmp_path / "train.csv").write_text("\n".join([header, *lines]))
    check(load(train=str(tmp_path / "train.csv")).train)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("label", [0, None])
@pytest.mark.parametrize("test_index", [True, False])
@pytest.mark.parametrize("train_index", [True, False])
def test_of_a_train_and_a_test_file_each_may_have_an_index(
    tmp_path, train_index, test_index, label, header
):
    frame().to_csv(tmp_path / "train.csv", index=train_index, header=header)
    frame(30, label, seed=1).to_csv(tmp_path / "test.csv", index=test_index, header=header)
    dataset = load(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    check(dataset.train)
    assert len(dataset.notes) == train_index + test_index
    if label is None:
        assert dataset.test is None
    else:
        check(dataset.test, 30, seed=1)


def test_kaggles_test_file_may_have_an_id_and_no_label(tmp_path):
    frame().to_csv(tmp_path / "train.csv", index=False)
    frame(30, None).to_csv(tmp_path / "test.csv", index_label="ImageId")
    dataset = load(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    assert dataset.test is None
    assert "test.csv: column 1 (ImageId) is an index" in dataset.notes[0]


@pytest.mark.parametrize("index", [None, 0, -1])
@pytest.mark.parametrize("label", [None, 0])
@pytest.mark.parametrize("header", [True, False])
def test_samples_to_predict_may_have_an_index(tmp_path, header, label, index):
    table = frame(label=label)
    if index is not None:
        place = 0 if index == 0 else table.shape[1]
        table = with_column(table, place, "" if index == 0 else "id", range(COUNT))
    table.to_csv(tmp_path / "test.csv", index=False, header=header)
    content = array_files.read_samples(tmp_path / "test.csv", INPUT_SPEC)
    images, labels = images_and_labels(COUNT)
    np.testing.assert_array_equal(content.samples[:, 0], images)
    assert len(content.notes) == (index is not None)
    if label is None:
        assert content.labels is None
    else:
        np.testing.assert_array_equal(content.labels, labels)


def test_one_sample_to_predict_may_have_an_id(tmp_path):
    frame(1, None).to_csv(tmp_path / "test.csv", index_label="ImageId")
    content = array_files.read_samples(tmp_path / "test.csv", INPUT_SPEC)
    assert content.samples.shape == (1, 1, 4, 4)
    assert content.labels is None


@pytest.mark.parametrize("header", [True, False])
def test_a_pixel_that_counts_upwards_is_never_an_index(tmp_path, header):
    """Where the number of columns is a square, all of them are pixels."""
    for place in (1, 16):
        table = frame()
        table.iloc[:, place] = np.arange(COUNT, dtype=np.uint8)
        for part in ("train", "test"):
            table.to_csv(tmp_path / f"{part}.csv", index=False, header=header)
        dataset = load(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
        assert dataset.shape == dataset.test.sample_shape == (1, 4, 4)
        assert not dataset.notes
        pixels = table.drop(columns="label")
        np.testing.assert_array_equal(dataset.test.raw.reshape(COUNT, -1), pixels)
        content = array_files.read_samples(tmp_path / "test.csv", INPUT_SPEC)
        np.testing.assert_array_equal(content.samples.reshape(COUNT, -1), pixels)
        pixels.to_csv(tmp_path / "test.csv", index=False, header=header)
        content = array_files.read_samples(tmp_path / "test.csv", INPUT_SPEC)
        np.testing.assert_array_equal(content.samples.reshape(COUNT, -1), pixels)


def test_a_pixel_that_counts_upwards_in_a_file_of_other_width_keeps_its_name(tmp_path):
    table = frame().assign(pixel16=0)
    table["pixel0"] = np.arange(COUNT)
    table.to_csv(tmp_path / "train.csv", index=False)
    dataset = load(train=str(tmp_path / "train.csv"))
    assert dataset.shape == (17,)


def test_ten_labels_in_order_are_labels_and_no_index(tmp_path):
    inputs = replace(INPUT_SPEC, class_names=tuple("0123456789"))
    table = frame(10)
    table["label"] = range(10)
    table.to_csv(tmp_path / "test.csv", index=False, header=False)
    assert array_files.read_samples(tmp_path / "test.csv", inputs).labels.tolist() == list(
        range(10)
    )


def test_a_feature_called_index_is_learned_from(tmp_path):
    table = frame().assign(index=np.linspace(0, 1, COUNT))
    table.to_csv(tmp_path / "train.csv", index=False)
    assert load(train=str(tmp_path / "train.csv")).shape == (17,)


def test_labels_may_be_in_a_column_called_id(tmp_path):
    frame().rename(columns={"label": "id"}).to_csv(tmp_path / "train.csv", index=False)
    check(load(train=str(tmp_path / "train.csv"), label="id").train)


def test_the_rows_and_columns_of_mistakes_are_those_of_the_file(tmp_path):
    table = frame().astype(int)
    table.index += 1000
    table.iloc[4, 3] = 300
    table.to_csv(tmp_path / "train.csv")
    with pytest.raises(UserError, match="row 6, column 5: the pixel 300 is not within 0 to 255"):
        load(train=str(tmp_path / "train.csv"))


def test_true_classes_may_be_in_a_file_with_an_index(tmp_path):
    labels = pd.DataFrame({"ImageId": np.arange(COUNT) + 1, "Label": np.arange(COUNT) % 3})
    labels.to_csv(tmp_path / "labels.csv")
    found = array_files.read_labels(tmp_path / "labels.csv", INPUT_SPEC, COUNT)
    np.testing.assert_array_equal(found, labels["Label"])
    labels.sample(frac=1, random_state=0).to_csv(tmp_path / "labels.csv")
    with pytest.raises(UserError, match="its rows are not sorted by its first column"):
        array_files.read_labels(tmp_path / "labels.csv", INPUT_SPEC, COUNT)


def test_the_commands_say_in_one_line_what_they_ignore(workplace):
    frame().to_csv(workplace.path / "train.csv")
    frame(9, None).to_csv(workplace.path / "test.csv")
    words = ("dataset=csv", "dataset.train=train.csv", "epochs=1", "hydra.run.dir=run")
    done = workplace.train(*words)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told.count("train.csv: column 1 is an index and is ignored.") == 1
    done = workplace.run(str(ROOT / "scripts/predict.py"), "run", "test.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("test.csv: column 1 is an index and is ignored.\n1: ")
