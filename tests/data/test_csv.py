from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn.data import cache, csv, csv_parser
from nn.data.csv import CSV
from nn.errors import UserError
from tests.data.idx_files import make_images_and_labels
from tests.faulty_disk import raise_disk_full

HYPOTHESIS_SETTINGS = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PIXEL_NAMES = [f"pixel{i}" for i in range(16)]


def make_rows(count=60, label_last=False, with_labels=True, seed=0):
    images, labels = make_images_and_labels(count, seed=seed)
    columns = [images.reshape(count, -1)]
    if with_labels:
        columns.insert(len(columns) if label_last else 0, labels)
    return np.column_stack(columns)


def write_csv(path, table, names=None):
    lines = [",".join(names)] if names else []
    lines += [",".join(map(str, row)) for row in table]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def load_csv(**settings):
    return CSV(**settings).load(np.random.default_rng(0))


def check_dataset(dataset, count=60):
    images, labels = make_images_and_labels(count)
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
        (make_rows(), ["label", *PIXEL_NAMES], {}),
        (make_rows(), None, {}),
        (make_rows(), None, {"header": False, "label": "first"}),
        (make_rows(label_last=True), [*PIXEL_NAMES, "Class"], {}),
        (make_rows(label_last=True), None, {"label": "last"}),
        (make_rows(label_last=True), [*PIXEL_NAMES, "what"], {"label": "what", "header": "true"}),
        (make_rows(), [str(i) for i in range(17)], {"header": True, "label": "first"}),
    ],
    ids=["kaggle", "colab", "told", "by name", "last", "named", "a header of numbers"],
)
def test_headers_and_labels_are_found(tmp_path, table, names, settings):
    check_dataset(load_csv(train=write_csv(tmp_path / "train.csv", table, names), **settings))


def test_gzip_bom_and_crlf_files_are_read(tmp_path):
    content = (tmp_path / "x").with_suffix(".csv")
    write_csv(content, make_rows(), ["label", *PIXEL_NAMES])
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + content.read_bytes())
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(content.read_bytes()))
    windows = tmp_path / "windows.csv"
    windows.write_bytes(content.read_bytes().replace(b"\n", b"\r\n"))
    for path in (marked, packed, windows):
        check_dataset(load_csv(train=str(path)))


def test_test_file_may_lack_labels(tmp_path):
    train = write_csv(tmp_path / "train.csv", make_rows(), ["label", *PIXEL_NAMES])
    test = write_csv(tmp_path / "test.csv", make_rows(9, with_labels=False), PIXEL_NAMES)
    assert load_csv(train=train, test=test).test is None


def test_test_file_with_labels_is_the_test_set(tmp_path):
    train = write_csv(tmp_path / "train.csv", make_rows(), ["label", *PIXEL_NAMES])
    test = write_csv(
        tmp_path / "test.csv", make_rows(30, label_last=True, seed=1), [*PIXEL_NAMES, "label"]
    )
    found = load_csv(train=train, test=test).test
    images, labels = make_images_and_labels(30, seed=1)
    np.testing.assert_array_equal(found.raw[:, 0], images)
    np.testing.assert_array_equal(found.labels, labels)


def test_file_is_parsed_again_only_after_a_change(tmp_path, monkeypatch):
    path = tmp_path / "train.csv"
    train = write_csv(path, make_rows())
    parsed = []
    parse = csv_parser.parse
    monkeypatch.setattr(csv_parser, "parse", lambda *args: parsed.append(args) or parse(*args))
    check_dataset(load_csv(train=train))
    path.rename(tmp_path / "moved.csv")
    check_dataset(load_csv(train=str(tmp_path / "moved.csv")))
    assert len(parsed) == 1
    write_csv(path, make_rows(61))
    check_dataset(load_csv(train=train), 61)
    assert len(parsed) == 2


def test_damaged_cache_is_parsed_again(tmp_path):
    train = write_csv(tmp_path / "train.csv", make_rows())
    check_dataset(load_csv(train=train))
    (cache_file,) = cache.cache_dir("csv").glob("*.npy")
    for damaged in (
        cache_file.read_bytes()[:-100],
        b"",
        b"no array",
        b"PK\3\4",
        b"\x93NUMPY\1\0v\0{",
    ):
        cache_file.write_bytes(damaged)
        check_dataset(load_csv(train=train))


def test_new_parser_version_ignores_arrays_cached_by_the_old_one(tmp_path, monkeypatch):
    train = write_csv(tmp_path / "train.csv", make_rows())
    load_csv(train=train)
    monkeypatch.setattr(csv_parser, "PARSER_VERSION", csv_parser.PARSER_VERSION + 1)
    check_dataset(load_csv(train=train))
    assert len(list(cache.cache_dir("csv").glob("*.npy"))) == 2


def test_temporary_directory_removed_by_another_process_is_ignored(tmp_path):
    directory = cache.cache_dir("csv")
    directory.mkdir(parents=True)
    (directory / ".aside-gone").symlink_to("nowhere")
    check_dataset(load_csv(train=write_csv(tmp_path / "train.csv", make_rows())))


def test_path_may_start_with_the_home_directory(tmp_path):
    write_csv(tmp_path / "home" / "train.csv", make_rows())
    check_dataset(load_csv(train="~/train.csv"))
    with pytest.raises(UserError, match=r"~nobody-of-this-name/x\.csv: there is no such file"):
        load_csv(train="~nobody-of-this-name/x.csv")


BAD_FILES = {
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


@pytest.mark.parametrize("case", BAD_FILES)
def test_errors_name_row_and_column_and_nothing_is_cached(tmp_path, case):
    content, message = BAD_FILES[case]
    path = tmp_path / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as exc_info:
        load_csv(train=str(path))
    if case == "too few":
        return
    assert str(path) in str(exc_info.value)
    assert list(cache.cache_dir("csv").glob("*")) == []


def test_test_file_of_another_width_is_refused(tmp_path):
    train = write_csv(tmp_path / "train.csv", make_rows())
    test = write_csv(tmp_path / "test.csv", make_rows()[:, :9])
    with pytest.raises(UserError, match=r"test.csv has 9 columns; .*train.csv has a label and 16"):
        load_csv(train=train, test=test)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["label", *PIXEL_NAMES[::-1]],
            "test.csv and .* differ in their columns or in the column order",
        ),
        (["what", *PIXEL_NAMES], "test.csv and .* differ in their columns or in the column order"),
        (
            ["label", *PIXEL_NAMES[:-1]],
            "test.csv and .* differ in their columns or in the column order",
        ),
    ],
)
def test_test_file_with_other_columns_is_refused(tmp_path, names, message):
    train = write_csv(tmp_path / "train.csv", make_rows(), ["label", *PIXEL_NAMES])
    test = write_csv(tmp_path / "test.csv", make_rows()[:, : len(names)], names)
    with pytest.raises(UserError, match=message):
        load_csv(train=train, test=test)
    assert list(cache.cache_dir("csv").glob("*")) == []


def test_pixels_of_an_unlabelled_file_are_checked_too(tmp_path):
    train = write_csv(tmp_path / "train.csv", make_rows(), ["label", *PIXEL_NAMES])
    pixels = make_rows(5, with_labels=False).astype(int)
    pixels[2, 3] = 300
    test = write_csv(tmp_path / "test.csv", pixels, PIXEL_NAMES)
    with pytest.raises(UserError, match=r"row 4, column 4: the pixel 300 is not within 0 to 255"):
        load_csv(train=train, test=test)


def test_pixels_between_0_and_1_are_not_rescaled(tmp_path):
    table = make_rows().astype(float)
    table[:, 1:] /= 255
    dataset = load_csv(train=write_csv(tmp_path / "train.csv", table))
    x = dataset.train.rescaling.apply(dataset.train.raw, np.empty(dataset.train.raw.shape, "f4"))
    assert x.max() == pytest.approx(table[:, 1:].max(), abs=1e-6)


def test_blank_lines_are_skipped(tmp_path):
    path = tmp_path / "train.csv"
    write_csv(path, make_rows(), ["label", *PIXEL_NAMES])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["", lines[0], "", *lines[1:30], "", *lines[30:], "", ""]))
    check_dataset(load_csv(train=str(path)))


def test_missing_label_column_is_refused(tmp_path):
    train = write_csv(tmp_path / "train.csv", make_rows(), ["label", *PIXEL_NAMES])
    with pytest.raises(UserError, match=r"dataset.label=what: .* has no such column; it has label"):
        load_csv(train=train, label="what")


@HYPOTHESIS_SETTINGS
@given(
    st.binary(max_size=200)
    | st.text("0123456789,.\n\r\"' -+exnaN;\t#_", max_size=120).map(str.encode)
)
def test_arbitrary_bytes_are_parsed_or_refused(tmp_path, content):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    try:
        table = csv.CsvTable.from_file(path, "auto")
        found = table.to_samples(table.find_label_column("auto"))
    except UserError as error:
        assert str(path) in str(error)
        return
    assert len(found.images) == len(found.labels) >= 1
    assert np.isfinite(found.images).all()
    assert found.images.min() >= 0
    assert found.images.max() <= 255


@HYPOTHESIS_SETTINGS
@given(st.integers(0, 2**30), st.sampled_from(b'x,\n"-9. \xff'))
def test_changed_byte_is_detected_or_parsed(tmp_path, position, byte):
    path = tmp_path / "train.csv"
    write_csv(path, make_rows(6))
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        found = csv.CsvTable.from_file(path, "auto").to_samples(0)
    except UserError as error:
        assert str(path) in str(error)
        return
    expected = [line.split(",") for line in content.decode().strip().splitlines() if line]
    if expected[0] and not all(map(csv_parser.is_number, expected[0])):
        expected = expected[1:]
    pixels = np.array([row[1:] for row in expected], dtype=np.float32)
    np.testing.assert_array_equal(found.images.reshape(len(pixels), -1), pixels)


def test_full_cache_disk_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    train = write_csv(tmp_path / "train.csv", make_rows())

    def write_half(path, values):
        path.write_bytes(b"half")
        raise_disk_full()

    monkeypatch.setattr(csv.np, "save", write_half)
    with pytest.raises(UserError, match=r"cache directory .* cannot be written to: No space left"):
        load_csv(train=train)
    assert list(cache.cache_dir("csv").glob("*")) == []
