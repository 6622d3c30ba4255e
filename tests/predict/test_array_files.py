"""NumPy files are read as data, by the usual array names, and never run code."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest

from nn.errors import UserError
from nn.predict import array_files
from tests.data.idx_files import INPUT_SPEC, make_images_and_labels

IMAGES, LABELS = make_images_and_labels(20)
TRAINING_DATA = make_images_and_labels(30, seed=1)


def read_array_file(path):
    return array_files.read_samples(path, INPUT_SPEC)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("given", "labelled", "note"),
    [
        ({"anything": IMAGES}, False, None),
        ({"images": IMAGES, "labels": LABELS}, True, None),
        ({"X": IMAGES, "Y": LABELS[:, None]}, True, None),
        ({"arr_0": IMAGES, "arr_1": LABELS}, True, None),
        ({"images": IMAGES, "ids": LABELS}, False, "read images of its 2 arrays"),
        (
            {
                "x_train": TRAINING_DATA[0],
                "y_train": TRAINING_DATA[1],
                "x_test": IMAGES,
                "y_test": LABELS,
            },
            True,
            "read x_test and y_test of its 4 arrays",
        ),
    ],
    ids=["one", "images", "upper case", "no names", "no labels", "mnist.npz"],
)
def test_archive_arrays_are_found_by_their_usual_names(tmp_path, save, given, labelled, note):
    path = tmp_path / "data.npz"
    save(path, **given)
    content = read_array_file(path)
    np.testing.assert_array_equal(content.samples[:, 0], IMAGES)
    if labelled:
        np.testing.assert_array_equal(content.labels, LABELS)
        np.testing.assert_array_equal(array_files.read_labels(path, INPUT_SPEC, 20), LABELS)
    else:
        assert content.labels is None
    assert list(content.notes) == ([f"{path}: {note}"] if note else [])


def test_gzipped_array_is_read(tmp_path):
    packed = io.BytesIO()
    np.save(packed, IMAGES)
    (tmp_path / "images.npy.gz").write_bytes(gzip.compress(packed.getvalue()))
    np.testing.assert_array_equal(read_array_file(tmp_path / "images.npy.gz").samples[:, 0], IMAGES)


def test_labels_archive_may_hold_a_single_array(tmp_path):
    np.savez(tmp_path / "labels.npz", whatever=LABELS)
    found = array_files.read_labels(tmp_path / "labels.npz", INPUT_SPEC, 20)
    np.testing.assert_array_equal(found, LABELS)


def write_archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy_header(shape, dtype="|u1"):
    packed = io.BytesIO()
    description = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(packed, description)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy_header((10**12,)) + bytes(99), "is not a complete .npy array of numbers"),
        (npy_header((20, 4, 4)) + bytes(99), "is not a complete .npy array of numbers"),
        (npy_header((-2, -3)) + bytes(99), "is not a complete .npy array of numbers"),
        (npy_header((0, 4, 4)), "has no values: its shape is 0 x 4 x 4"),
        (
            npy_header((2, 4, 4), "|O") + bytes(999),
            "has values of type object; they must be numbers",
        ),
        (npy_header((2, 4, 4), "<U9") + bytes(999), "has values of type <U9; they must be numbers"),
        (b"\x93NUMPY\1\0v\0{", "is not a complete .npy array of numbers"),
        (b"", "is not a complete .npy array of numbers"),
    ],
)
def test_invalid_arrays_raise_a_one_line_error(tmp_path, content, message):
    with pytest.raises(UserError, match=f"x.npy in .*data.npz {message}"):
        read_array_file(write_archive(tmp_path / "data.npz", x=content))
    (tmp_path / "x.npy").write_bytes(content or b"\x93NUMPY")
    with pytest.raises(UserError, match=f"x.npy {message}"):
        read_array_file(tmp_path / "x.npy")


def test_objects_are_never_unpickled(tmp_path):
    class UnpicklingTrap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    np.savez(tmp_path / "data.npz", images=np.array([UnpicklingTrap()], object))
    with pytest.raises(UserError, match="has values of type object; they must be numbers"):
        read_array_file(tmp_path / "data.npz")


def test_ambiguous_array_names_are_listed(tmp_path):
    np.savez(tmp_path / "data.npz", a=IMAGES, b=LABELS)
    message = "has the arrays a, b; rename the one to read to x_test, test_images or images"
    with pytest.raises(UserError, match=message):
        read_array_file(tmp_path / "data.npz")


@pytest.mark.parametrize("damage", ["cut", "spoiled", "encrypted"])
def test_damaged_archive_raises_a_one_line_error(tmp_path, damage):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-30]
    elif damage == "spoiled":
        content[60:200] = bytes(140)
    else:
        at = content.index(b"PK\1\2")
        content[6] |= 1
        content[at + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError) as exc_info:
        read_array_file(path)
    assert "data.npz" in str(exc_info.value)
    assert "\n" not in str(exc_info.value)


def test_file_with_a_misleading_extension_is_refused(tmp_path):
    for suffix, name in (("npy", "a NumPy .npy file"), ("npz", "a NumPy .npz archive")):
        (tmp_path / f"x.{suffix}").write_text("1,2\n")
        with pytest.raises(UserError, match=f"x.{suffix} is not {name}"):
            read_array_file(tmp_path / f"x.{suffix}")
