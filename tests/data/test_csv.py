from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn.data import cache, csv, csv_parser
from nn.data.csv import CSV
from nn.errors import UserError
from tests.data.idx_files import images_and_labels
from tests.faulty_disk import raise_disk_full

EXAMPLES = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = [f"pixel{i}" for i in range(16)]


def rows(count=60, label_last=False, labelled=True, seed=0):
    images, labels = images_and_labels(count, seed=seed)
    columns = [images.reshape(count, -1)]
    if labelled:
        columns.insert(len(columns) if label_last else 0, labels)
    return np.column_stack(columns)


def write(path, table, names=None):
    lines = [",".join(names)] if names else []
    lines += [",".join(map(str, row)) for row in table]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def load(**settings):
    return CSV(**settings).load(np.random.default_rng(0))


def check(dataset, count=60):
    images, labels = images_and_labels(count)
    sets = [dataset.train, dataset.val]
    found = np.concatenate([s.raw[:, 0] for s in sets])
    order = np.lexsort(found.reshape(count, -1).T)
    expected = np.lexsort(images.reshape(count, -1).T)
    np.testing.assert_array_equal(found[order], images[expected])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(np.concatenate([s.labels for s in sets])[order], labels[expected])


@pytest.mark.parametrize(
    ("table", "names", "settings"),
    [
        (rows(), ["label", *NAMES], {}),
        (rows(), None, {}),
        (rows(), None, {"header": False, "label": "first"}),
        (rows(label_last=True), [*NAMES, "Class"], {}),
        (rows(label_last=True), None, {"label": "last"}),
        (rows(label_last=True), [*NAMES, "what"], {"label": "what", "header": "true"}),
        (rows(), [str(i) for i in range(17)], {"header": True, "label": "first"}),
    ],
    ids=["kaggle", "colab", "told", "by name", "last", "named", "a header of numbers"],
)
def test_headers_and_labels_are_found(tmp_path, table, names, settings):
    check(load(train=write(tmp_path / "train.csv", table, names), **settings))


def test_compressed_and_marked_files_are_read(tmp_path):
    content = (tmp_path / "x").with_suffix(".csv")
    write(content, rows(), ["label", *NAMES])
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + content.read_bytes())
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(content.read_bytes()))
    windows = tmp_path / "windows.csv"
    windows.write_bytes(content.read_bytes().replace(b"\n", b"\r\n"))
    for path in (marked, packed, windows):
        check(load(train=str(path)))


def test_a_test_file_may_lack_labels(tmp_path):
    train = write(tmp_path / "train.csv", rows(), ["label", *NAMES])
    test = write(tmp_path / "test.csv", rows(9, labelled=False), NAMES)
    assert load(train=train, test=test).test is None


def test_a_test_file_with_labels_is_the_test_set(tmp_path):
    train = write(tmp_path / "train.csv", rows(), ["label", *NAMES])
    test = write(tmp_path / "test.csv", rows(30, label_last=True, seed=1), [*NAMES, "label"])
    found = load(train=train, test=test).test
    images, labels = images_and_labels(30, seed=1)
    np.testing.assert_array_equal(found.raw[:, 0], images)
    np.testing.assert_array_equal(found.labels, labels)


def test_a_file_is_parsed_once_until_its_content_changes(tmp_path, monkeypatch):
    path = tmp_path / "train.csv"
    train = write(path, rows())
    parsed = []
    parse = csv_parser.parse
    monkeypatch.setattr(csv_parser, "parse", lambda *words: parsed.append(words) or parse(*words))
    check(load(train=train))
    path.rename(tmp_path / "moved.csv")
    check(load(train=str(tmp_path / "moved.csv")))
    assert len(parsed) == 1
    write(path, rows(61))
    check(load(train=train), 61)
    assert len(parsed) == 2


def test_a_damaged_cache_is_parsed_anew(tmp_path):
    train = write(tmp_path / "train.csv", rows())
    check(load(train=train))
    (kept,) = cache.cache_dir("csv").glob("*.npy")
    for damaged in (kept.read_bytes()[:-100], b"", b"no array", b"PK\3\4", b"\x93NUMPY\1\0v\0{"):
        kept.write_bytes(damaged)
        check(load(train=train))


def test_a_new_parser_does_not_read_the_arrays_of_the_old_one(tmp_path, monkeypatch):
    train = write(tmp_path / "train.csv", rows())
    load(train=train)
    monkeypatch.setattr(csv_parser, "PARSER_VERSION", csv_parser.PARSER_VERSION + 1)
    check(load(train=train))
    assert len(list(cache.cache_dir("csv").glob("*.npy"))) == 2


def test_a_temporary_directory_that_another_process_removes_is_ignored(tmp_path):
    directory = cache.cache_dir("csv")
    directory.mkdir(parents=True)
    (directory / ".aside-gone").symlink_to("nowhere")
    check(load(train=write(tmp_path / "train.csv", rows())))


def test_a_path_may_start_with_the_home_directory(tmp_path):
    write(tmp_path / "home" / "train.csv", rows())
    check(load(train="~/train.csv"))
    with pytest.raises(UserError, match=r"~nobody-of-this-name/x\.csv: there is no such file"):
        load(train="~nobody-of-this-name/x.csv")


BAD = {
    "a ragged row": ("0,1,2,3\n1,2,3\n", "row 2: 3 values, but the rows above have 4"),
    "a longer row": ("0,1,2,3\n1,2,3,4,5\n", "row 2: 5 values, but the rows above have 4"),
    "text": ("0,1,2\n1,x,3\n", "row 2, column 2: 'x' is not a number"),
    "a missing value": ("0,1,2\n1,,3\n", "row 2, column 2: a value is missing"),
    "text below a header": ("label,a,b\n0,1,2\n1,2,oh\n", "row 3, column 3: 'oh' is not a number"),
    "no number": ("0,1,2\n1,nan,3\n", "row 2, column 2: 'nan' is not a number"),
    "infinity": ("0,1,2\n1,1e999,3\n", "row 2, column 2: '1e999' is not a number"),
    "a half label": ("0,1,2\n1.5,2,3\n", "row 2, column 1: the label 1.5 is not a whole number"),
    "a negative label": ("0,1,2\n-1,2,3\n", "row 2, column 1: the label -1 is not a whole number"),
    "a huge label": ("0,1,2\n123456,2,3\n", "row 2, column 1: the label 123456"),
    "a bright pixel": ("0,1,2\n1,256,3\n", "row 2, column 2: the pixel 256 is not within 0 to 255"),
    "a dark pixel": ("0,1,2\n1,2,-3\n", "row 2, column 3: the pixel -3 is not within 0 to 255"),
    "nothing": ("", "is empty"),
    "a header only": ("label,a,b\n", "has no rows of numbers"),
    "a wide header": ("id,label,a,b\n0,1,77\n1,0,3\n", "row 1: the header has 4 columns, the rows"),
    "a bad first row": ("1,2,3x,4,5\n0,2,3,4,5\n", "row 1, column 3: '3x' is not a number"),
    "no labels": ("p,q,r\n1,2,3\n4,5,6\n", "no column is named label; select the label column"),
    "one class": ("1,2,3\n1,5,6\n", "all labels are 1, but training needs two classes"),
    "other digits": ("0,1,2\n1,٣,3\n", "row 2, column 2: '٣' is not a number"),
    "labels only": ("0\n1\n0\n1\n", "has no pixels"),
    "too few": ("0,1,2\n1,2,3\n", "class 0 has 1 samples, of which"),
    "no text": (b"\x80\x81,1\n", "is not UTF-8 text; if it is text, save it as UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_told_with_row_and_column_and_not_cached(tmp_path, case):
    content, sentence = BAD[case]
    path = tmp_path / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=sentence) as told:
        load(train=str(path))
    if case == "too few":
        return
    assert str(path) in str(told.value)
    assert list(cache.cache_dir("csv").glob("*")) == []


def test_a_file_of_another_width_is_refused(tmp_path):
    train = write(tmp_path / "train.csv", rows())
    test = write(tmp_path / "test.csv", rows()[:, :9])
    with pytest.raises(UserError, match=r"test.csv has 9 columns; .*train.csv has a label and 16"):
        load(train=train, test=test)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["label", *NAMES[::-1]], "test.csv and .* differ in their columns or in the column order"),
        (["what", *NAMES], "test.csv and .* differ in their columns or in the column order"),
        (["label", *NAMES[:-1]], "test.csv and .* differ in their columns or in the column order"),
    ],
)
def test_a_test_file_with_other_columns_is_refused(tmp_path, names, sentence):
    train = write(tmp_path / "train.csv", rows(), ["label", *NAMES])
    test = write(tmp_path / "test.csv", rows()[:, : len(names)], names)
    with pytest.raises(UserError, match=sentence):
        load(train=train, test=test)
    assert list(cache.cache_dir("csv").glob("*")) == []


def test_pixels_of_an_unlabelled_file_are_checked_too(tmp_path):
    train = write(tmp_path / "train.csv", rows(), ["label", *NAMES])
    pixels = rows(5, labelled=False).astype(int)
    pixels[2, 3] = 300
    test = write(tmp_path / "test.csv", pixels, NAMES)
    with pytest.raises(UserError, match=r"row 4, column 4: the pixel 300 is not within 0 to 255"):
        load(train=train, test=test)


def test_pixels_between_0_and_1_stay_so(tmp_path):
    table = rows().astype(float)
    table[:, 1:] /= 255
    dataset = load(train=write(tmp_path / "train.csv", table))
    x = dataset.train.rescaling.apply(dataset.train.raw, np.empty(dataset.train.raw.shape, "f4"))
    assert x.max() == pytest.approx(table[:, 1:].max(), abs=1e-6)


def test_blank_lines_are_passed_over(tmp_path):
    path = tmp_path / "train.csv"
    write(path, rows(), ["label", *NAMES])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["", lines[0], "", *lines[1:30], "", *lines[30:], "", ""]))
    check(load(train=str(path)))


def test_a_column_that_is_not_there_is_refused(tmp_path):
    train = write(tmp_path / "train.csv", rows(), ["label", *NAMES])
    with pytest.raises(UserError, match=r"dataset.label=what: .* has no such column; it has label"):
        load(train=train, label="what")


@EXAMPLES
@given(
    st.binary(max_size=200)
    | st.text("0123456789,.\n\r\"' -+exnaN;\t#_", max_size=120).map(str.encode)
)
def test_whatever_the_bytes_there_are_numbers_or_a_sentence(tmp_path, content):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    try:
        table = csv.CsvTable.from_file(path, "auto")
        found = table.to_samples(table.find_label_column("auto"))
    except UserError as mistake:
        assert str(path) in str(mistake)
        return
    assert len(found.images) == len(found.labels) >= 1
    assert np.isfinite(found.images).all()
    assert found.images.min() >= 0
    assert found.images.max() <= 255


@EXAMPLES
@given(st.integers(0, 2**30), st.sampled_from(b'x,\n"-9. \xff'))
def test_a_changed_byte_is_noticed_or_is_a_number(tmp_path, at, byte):
    path = tmp_path / "train.csv"
    write(path, rows(6))
    content = bytearray(path.read_bytes())
    content[at % len(content)] = byte
    path.write_bytes(content)
    try:
        found = csv.CsvTable.from_file(path, "auto").to_samples(0)
    except UserError as mistake:
        assert str(path) in str(mistake)
        return
    expected = [line.split(",") for line in content.decode().strip().splitlines() if line]
    if expected[0] and not all(map(csv_parser.is_number, expected[0])):
        expected = expected[1:]
    pixels = np.array([row[1:] for row in expected], dtype=np.float32)
    np.testing.assert_array_equal(found.images.reshape(len(pixels), -1), pixels)


def test_a_full_cache_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    train = write(tmp_path / "train.csv", rows())

    def full(path, values):
        path.write_bytes(b"half")
        raise_disk_full()

    monkeypatch.setattr(csv.np, "save", full)
    with pytest.raises(UserError, match=r"cache directory .* cannot be written to: No space left"):
        load(train=train)
    assert list(cache.cache_dir("csv").glob("*")) == []
