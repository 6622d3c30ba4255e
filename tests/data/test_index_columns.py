"""The index column that pandas writes into a CSV file is ignored in training and prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nn.data.csv import CSV
from nn.errors import UserError
from nn.predict import array_files
from tests.conftest import PREDICT_SCRIPT
from tests.data.idx_files import INPUT_SPEC, make_images_and_labels

PIXEL_NAMES = [f"pixel{i}" for i in range(16)]
NUM_SAMPLES = 60


def make_frame(count=NUM_SAMPLES, label=0, seed=0):
    """Return images and labels as a DataFrame, with the labels in any column or without them."""
    images, labels = make_images_and_labels(count, seed=seed)
    table = pd.DataFrame(images.reshape(count, -1), columns=PIXEL_NAMES)
    if label is not None:
        table.insert(label, "label", labels)
    return table


def load_csv(**settings):
    return CSV(validation=0, **settings).load(np.random.default_rng(0))


def check_samples(samples, count=NUM_SAMPLES, seed=0):
    images, labels = make_images_and_labels(count, seed=seed)
    np.testing.assert_array_equal(samples.raw[:, 0], images)
    np.testing.assert_array_equal(samples.labels, labels)
    assert samples.raw.dtype == np.uint8


def shuffle_index(table):
    return table.set_index(np.random.default_rng(1).permutation(len(table)) + 700)


def insert_column(table, position, name, values):
    table.insert(position, name, values)
    return table


@pytest.mark.parametrize("label", [0, 7, 16])
@pytest.mark.parametrize("name", [None, "Unnamed: 0", "index", "id", "ImageId", "image_id", "Id"])
def test_index_is_ignored_wherever_the_label_is(tmp_path, name, label):
    path = tmp_path / "train.csv"
    make_frame(label=label).to_csv(path, index_label=name)
    dataset = load_csv(train=str(path))
    check_samples(dataset.train)
    name_note = f" ({name})" if name else ""
    assert dataset.notes == (f"{path}: column 1{name_note} is an index and is ignored.",)


@pytest.mark.parametrize(
    "make",
    [
        lambda table: shuffle_index(table),
        lambda table: table.set_index(np.arange(len(table), dtype=float)),
        lambda table: table.set_index(np.arange(len(table)) + 1),
        lambda table: table.set_index(np.arange(len(table)) % 30),
    ],
    ids=["shuffled", "floats", "from 1", "concatenated"],
)
def test_unnamed_index_may_be_any_integers(tmp_path, make):
    make(make_frame()).to_csv(tmp_path / "train.csv")
    check_samples(load_csv(train=str(tmp_path / "train.csv")).train)


def test_index_written_twice_is_ignored(tmp_path):
    path = tmp_path / "train.csv"
    make_frame().to_csv(path)
    pd.read_csv(path).to_csv(path)
    dataset = load_csv(train=str(path))
    check_samples(dataset.train)
    assert len(dataset.notes) == 2


@pytest.mark.parametrize("names", [None, ["level_0", "level_1"], ["", "level_1"]])
def test_multi_index_is_ignored(tmp_path, names):
    table = make_frame()
    table.index = pd.MultiIndex.from_arrays(
        [np.arange(NUM_SAMPLES) // 10, np.arange(NUM_SAMPLES) % 10]
    )
    path = tmp_path / "train.csv"
    table.to_csv(path, index_label=names)
    dataset = load_csv(train=str(path))
    check_samples(dataset.train)
    assert len(dataset.notes) == 2


def test_index_may_be_last_or_next_to_the_label(tmp_path):
    for column in (1, 17):
        table = insert_column(make_frame(), column, "id", range(NUM_SAMPLES))
        table.to_csv(tmp_path / "train.csv", index=False)
        check_samples(load_csv(train=str(tmp_path / "train.csv")).train)


@pytest.mark.parametrize("name", ["number", "row of the image"])
def test_index_with_another_name_is_recognized_by_its_values(tmp_path, name):
    make_frame().to_csv(tmp_path / "train.csv", index_label=name)
    check_samples(load_csv(train=str(tmp_path / "train.csv")).train)


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
def test_index_without_a_header_is_recognized_by_its_values(tmp_path, label, index, setting, start):
    table = insert_column(make_frame(label=label), index, "index", np.arange(NUM_SAMPLES) + start)
    table.to_csv(tmp_path / "train.csv", index=False, header=False)
    dataset = load_csv(train=str(tmp_path / "train.csv"), label=setting)
    check_samples(dataset.train)
    assert len(dataset.notes) == 1


def test_shuffled_index_without_a_header_is_recognized_by_its_values(tmp_path):
    shuffle_index(make_frame()).to_csv(tmp_path / "train.csv", header=False)
    check_samples(load_csv(train=str(tmp_path / "train.csv")).train)


@pytest.mark.parametrize("index", [True, False])
def test_integer_header_is_recognized(tmp_path, index):
    table = make_frame()
    table.columns = range(17)
    table.to_csv(tmp_path / "train.csv", index=index)
    check_samples(load_csv(train=str(tmp_path / "train.csv")).train)


def test_r_style_header_without_index_name_is_read(tmp_path):
    lines = make_frame().to_csv(header=False).splitlines()
    header = ",".join(["label", *PIXEL_NAMES])
    (tmp_path / "train.csv").write_text("\n".join([header, *lines]))
    check_samples(load_csv(train=str(tmp_path / "train.csv")).train)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("label", [0, None])
@pytest.mark.parametrize("test_index", [True, False])
@pytest.mark.parametrize("train_index", [True, False])
def test_train_and_test_files_may_each_have_an_index(
    tmp_path, train_index, test_index, label, header
):
    make_frame().to_csv(tmp_path / "train.csv", index=train_index, header=header)
    make_frame(30, label, seed=1).to_csv(tmp_path / "test.csv", index=test_index, header=header)
    dataset = load_csv(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    check_samples(dataset.train)
    assert len(dataset.notes) == train_index + test_index
    if label is None:
        assert dataset.test is None
    else:
        check_samples(dataset.test, 30, seed=1)


def test_kaggles_test_file_may_have_an_id_and_no_label(tmp_path):
    make_frame().to_csv(tmp_path / "train.csv", index=False)
    make_frame(30, None).to_csv(tmp_path / "test.csv", index_label="ImageId")
    dataset = load_csv(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    assert dataset.test is None
    assert "test.csv: column 1 (ImageId) is an index" in dataset.notes[0]


@pytest.mark.parametrize("index", [None, 0, -1])
@pytest.mark.parametrize("label", [None, 0])
@pytest.mark.parametrize("header", [True, False])
def test_samples_to_predict_may_have_an_index(tmp_path, header, label, index):
    table = make_frame(label=label)
    if index is not None:
        column = 0 if index == 0 else table.shape[1]
        table = insert_column(table, column, "" if index == 0 else "id", range(NUM_SAMPLES))
    table.to_csv(tmp_path / "test.csv", index=False, header=header)
    content = array_files.read_samples(tmp_path / "test.csv", INPUT_SPEC)
    images, labels = make_images_and_labels(NUM_SAMPLES)
    np.testing.assert_array_equal(content.samples[:, 0], images)
    assert len(content.notes) == (index is not None)
    if label is None:
        assert content.labels is None
    else:
        np.testing.assert_array_equal(content.labels, labels)


def test_one_sample_to_predict_may_have_an_id(tmp_path):
    make_frame(1, None).to_csv(tmp_path / "test.csv", index_label="ImageId")
    content = array_files.read_samples(tmp_path / "test.csv", INPUT_SPEC)
    assert content.samples.shape == (1, 1, 4, 4)
    assert content.labels is None


@pytest.mark.parametrize("header", [True, False])
def test_counting_pixel_column_is_never_an_index(tmp_path, header):
    """Where the number of columns is a square, all of them are pixels."""
    for column in (1, 16):
        table = make_frame()
        table.iloc[:, column] = np.arange(NUM_SAMPLES, dtype=np.uint8)
        for part in ("train", "test"):
            table.to_csv(tmp_path / f"{part}.csv", index=False, header=header)
        dataset = load_csv(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
        assert dataset.shape == dataset.test.sample_shape == (1, 4, 4)
        assert not dataset.notes
        pixels = table.drop(columns="label")
        np.testing.assert_array_equal(dataset.test.raw.reshape(NUM_SAMPLES, -1), pixels)
        content = array_files.read_samples(tmp_path / "test.csv", INPUT_SPEC)
        np.testing.assert_array_equal(content.samples.reshape(NUM_SAMPLES, -1), pixels)
        pixels.to_csv(tmp_path / "test.csv", index=False, header=header)
        content = array_files.read_samples(tmp_path / "test.csv", INPUT_SPEC)
        np.testing.assert_array_equal(content.samples.reshape(NUM_SAMPLES, -1), pixels)


def test_named_counting_pixel_column_is_kept_in_non_square_data(tmp_path):
    table = make_frame().assign(pixel16=0)
    table["pixel0"] = np.arange(NUM_SAMPLES)
    table.to_csv(tmp_path / "train.csv", index=False)
    dataset = load_csv(train=str(tmp_path / "train.csv"))
    assert dataset.shape == (17,)


def test_ten_sorted_labels_are_not_an_index(tmp_path):
    inputs = replace(INPUT_SPEC, class_names=tuple("0123456789"))
    table = make_frame(10)
    table["label"] = range(10)
    table.to_csv(tmp_path / "test.csv", index=False, header=False)
    assert array_files.read_samples(tmp_path / "test.csv", inputs).labels.tolist() == list(
        range(10)
    )


def test_feature_named_index_is_kept(tmp_path):
    table = make_frame().assign(index=np.linspace(0, 1, NUM_SAMPLES))
    table.to_csv(tmp_path / "train.csv", index=False)
    assert load_csv(train=str(tmp_path / "train.csv")).shape == (17,)


def test_labels_may_be_in_a_column_named_id(tmp_path):
    make_frame().rename(columns={"label": "id"}).to_csv(tmp_path / "train.csv", index=False)
    check_samples(load_csv(train=str(tmp_path / "train.csv"), label="id").train)


def test_error_positions_refer_to_the_file(tmp_path):
    table = make_frame().astype(int)
    table.index += 1000
    table.iloc[4, 3] = 300
    table.to_csv(tmp_path / "train.csv")
    with pytest.raises(UserError, match="row 6, column 5: the pixel 300 is not within 0 to 255"):
        load_csv(train=str(tmp_path / "train.csv"))


def test_true_labels_may_be_in_a_file_with_an_index(tmp_path):
    labels = pd.DataFrame(
        {"ImageId": np.arange(NUM_SAMPLES) + 1, "Label": np.arange(NUM_SAMPLES) % 3}
    )
    labels.to_csv(tmp_path / "labels.csv")
    found = array_files.read_labels(tmp_path / "labels.csv", INPUT_SPEC, NUM_SAMPLES)
    np.testing.assert_array_equal(found, labels["Label"])
    labels.sample(frac=1, random_state=0).to_csv(tmp_path / "labels.csv")
    with pytest.raises(UserError, match="its rows are not sorted by its first column"):
        array_files.read_labels(tmp_path / "labels.csv", INPUT_SPEC, NUM_SAMPLES)


def test_commands_report_ignored_index_columns_once(workdir):
    make_frame().to_csv(workdir.path / "train.csv")
    make_frame(9, None).to_csv(workdir.path / "test.csv")
    args = ("dataset=csv", "dataset.train=train.csv", "epochs=1", "hydra.run.dir=run")
    result = workdir.train(*args)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines.count("train.csv: column 1 is an index and is ignored.") == 1
    result = workdir.run(PREDICT_SCRIPT, "run", "test.csv")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("test.csv: column 1 is an index and is ignored.\n1: ")
