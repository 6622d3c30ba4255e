"""Files of other formats are read where that is easy, and otherwise identified."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest

from nn.data import files
from nn.data.csv import CSV
from nn.data.csv_parser import Dialect
from nn.data.idx import IDX
from nn.errors import UserError
from nn.predict import array_files
from tests.data.idx_files import INPUT_SPEC, make_images_and_labels, to_idx_bytes
from tests.data.test_csv import PIXEL_NAMES, check_dataset, make_rows, write_csv


def load_csv(path, **settings):
    return CSV(train=str(path), **settings).load(np.random.default_rng(0))


def make_csv_text(delimiter=",", decimal=".", header=True):
    table = pd.DataFrame(make_rows(), columns=["label", *PIXEL_NAMES])
    if decimal != ".":
        table[PIXEL_NAMES] /= 2
    return table.to_csv(sep=delimiter, decimal=decimal, header=header, index=False)


def zip_bytes(*names, content=b"x"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name in names:
            file.writestr(name, content)
    return packed.getvalue()


def tar_bytes():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        file.addfile(tarfile.TarInfo("train.csv"))
    return packed.getvalue()


def npz_bytes(**arrays):
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def image_bytes(kind):
    from PIL import Image

    packed = io.BytesIO()
    Image.new("L", (4, 4)).save(packed, kind)
    return packed.getvalue()


OTHER_FORMATS = {
    "zip": (zip_bytes("train.csv"), "a ZIP archive", "unpack it first"),
    "empty zip": (zip_bytes(), "a ZIP archive", "unpack it first"),
    "xlsx": (zip_bytes("[Content_Types].xml", "xl/workbook.xml"), "an Office document", "as CSV"),
    "openpyxl": (zip_bytes("docProps/app.xml", "xl/workbook.xml"), "an Office document", "as CSV"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an Office document", "as CSV"),
    "ods": (zip_bytes("mimetype"), "an OpenDocument file", "export it as CSV"),
    "pt": (zip_bytes("model/data.pkl"), "a PyTorch file", "pickles can run code"),
    "npz": (npz_bytes(x=np.zeros(3)), "a NumPy .npz archive", "convert it to CSV first"),
    "tar": (tar_bytes(), "a tar archive", "unpack it first"),
    "tar.gz": (gzip.compress(tar_bytes()), "a tar archive", "unpack it first"),
    "twice": (gzip.compress(gzip.compress(b"0,1")), "a gzip file within a gzip file", "unpack"),
    "pdf.gz": (gzip.compress(b"%PDF-1.7\n"), "a PDF file", ""),
    "bz2": (bz2.compress(b"0,1"), "a bzip2 file", "unpack it first"),
    "xz": (lzma.compress(b"0,1"), "an xz file", "unpack it first"),
    "zst": (b"\x28\xb5\x2f\xfd" + bytes(9), "a Zstandard file", "unpack it first"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(9), "a 7z archive", "unpack it first"),
    "parquet": (b"PAR1\x15\x04" + bytes(99), "a Parquet file", "convert it to CSV first"),
    "feather": (b"ARROW1\0\0" + bytes(99), "an Arrow file", "convert it to CSV first"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file", "convert it to CSV first"),
    "mat": (b"MATLAB 5.0 MAT-file, " + bytes(99), "a MATLAB file", "convert it to CSV first"),
    "pickle": (pickle.dumps({"x": [1]}), "a pickle", "never loaded"),
    "pickled array": (pickle.dumps(np.zeros(9), protocol=2), "a pickle", "never loaded"),
    "pickled frame": (pickle.dumps(pd.DataFrame({"x": [1]})), "a pickle", "never loaded"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF file", ""),
    "404": (b"\n<!DOCTYPE html>\n<html><body>404", "a web page", "download the file itself"),
    "html": (b"<HTML><head>", "a web page", "download the file itself"),
    "xml": (b"<?xml version='1.0'?><a/>", "an XML file", ""),
    "json": (b'{"train": [1]}', "a JSON file", "convert it to CSV first"),
    "json list": (b"[[1, 2], [3, 4]]", "a JSON file", "convert it to CSV first"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
    "utf-32": ("0,1\n".encode("utf-32"), "text in UTF-32", "save it as UTF-8"),
    "sqlite": (b"SQLite format 3\0" + bytes(99), "an SQLite database", "export it as CSV"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(99), "a HEIF or AVIF image", "convert it to PNG"),
    "svg": (b"<svg xmlns=", "an SVG drawing", "convert it to PNG"),
    **{
        kind: (image_bytes(kind), "image", "")
        for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
    },
}


@pytest.mark.parametrize("kind", OTHER_FORMATS)
def test_other_formats_are_identified_in_the_error(tmp_path, kind):
    content, name, remedy = OTHER_FORMATS[kind]
    path = tmp_path / "file"
    path.write_bytes(content)
    readers = {
        "a CSV file": lambda: load_csv(path),
        "an IDX file": lambda: IDX(train_images=str(path), train_labels=str(path)).read(None),
        "an image or a CSV, IDX, .npy or .npz file": lambda: array_files.read_samples(
            path, INPUT_SPEC
        ),
    }
    if kind == "npz":
        del readers["an image or a CSV, IDX, .npy or .npz file"]
    for expected, reader in readers.items():
        with pytest.raises(UserError) as exc_info:
            reader()
        message = str(exc_info.value)
        assert f"{path} is " in message
        assert name in message
        assert f", not {expected}" in message
        assert remedy in message
        assert "\n" not in message


def test_error_suggests_the_dataset_that_reads_the_file(tmp_path):
    csv, idx = tmp_path / "train.csv", tmp_path / "images"
    write_csv(csv, make_rows())
    idx.write_bytes(to_idx_bytes(make_images_and_labels()[0]))
    with pytest.raises(UserError, match=r"is an IDX file, not a CSV file; dataset=idx reads it\."):
        load_csv(idx)
    with pytest.raises(UserError, match=r"is a text file, not an IDX file; dataset=csv reads CSV"):
        IDX(train_images=str(csv), train_labels=str(csv)).read(None)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("header", [True, False])
def test_common_delimiters_are_detected(tmp_path, delimiter, header):
    path = tmp_path / "train.csv"
    path.write_text(make_csv_text(delimiter, header=header))
    check_dataset(load_csv(path))
    np.testing.assert_array_equal(
        array_files.read_samples(path, INPUT_SPEC).labels, make_images_and_labels()[1]
    )


def test_savetxt_output_is_read(tmp_path):
    np.savetxt(tmp_path / "plain.txt", make_rows())
    check_dataset(load_csv(tmp_path / "plain.txt"))
    np.savetxt(tmp_path / "aligned.txt", make_rows(), "%8.2f", delimiter="  ", header="label a b")
    with pytest.raises(UserError, match="the header has"):
        load_csv(tmp_path / "aligned.txt")
    np.savetxt(tmp_path / "aligned.txt", make_rows(), "%8.2f", delimiter="  ")
    check_dataset(load_csv(tmp_path / "aligned.txt"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_excel_unicode_text_is_read(tmp_path, encoding, delimiter):
    path = tmp_path / "train.txt"
    for packed in (False, True):
        content = make_csv_text(delimiter).replace("\n", "\r\n").encode(encoding)
        path.write_bytes(gzip.compress(content) if packed else content)
        check_dataset(load_csv(path))


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_decimal_commas_are_refused_with_a_remedy(tmp_path, delimiter, header):
    path = tmp_path / "train.csv"
    path.write_text(make_csv_text(delimiter, decimal=",", header=header))
    row = 1 + header
    with pytest.raises(
        UserError, match=rf"row {row}, column 2: '\d+,\d' has a decimal comma; write"
    ):
        load_csv(path)


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("1,2,3\n4,5,6", ","),
        ("1, 2, 3\n4, 5, 6", ","),
        ("1,\t2,\t3\n4,\t5,\t6", ","),
        ("label;a,p1,p2\n1,2,3", ","),
        ('"a;b","c;d"\n1,2', ","),
        ('"a,b";"c,d"\n1;2', ";"),
        ("label;pixel,0\n3;0\n4;1", ";"),
        ("1;2;3\n4;5", ";"),
        ("0,5;1,5\n2,5;3", ";"),
        ("1", ","),
        ("", ","),
        ("a b,c d\n1,2", ","),
    ],
)
def test_delimiter_must_be_in_every_line(content, delimiter):
    assert Dialect.sniff(io.BytesIO(content.encode())).delimiter == delimiter


@pytest.mark.parametrize("word", ["PAR1", "BM", "BMI", "GIF", "RIFF", "ARROW1", "II", "MM", "PK"])
def test_header_may_start_like_another_format(tmp_path, word):
    path = tmp_path / "train.csv"
    write_csv(path, make_rows(), [word, *PIXEL_NAMES])
    assert files.identify(path.read_bytes()[:512]) is None
    check_dataset(load_csv(path, label="first"))
