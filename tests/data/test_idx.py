from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nn.data import idx
from nn.data.idx import IDX
from nn.errors import UserError
from tests.data.idx_files import TYPE_CODES, make_images_and_labels, to_idx_bytes, write_idx

HYPOTHESIS_SETTINGS = settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@HYPOTHESIS_SETTINGS
@given(
    st.sampled_from(sorted(TYPE_CODES)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=5, max_side=5))
    ),
    st.booleans(),
)
def test_every_dtype_and_rank_round_trips(tmp_path, array, compressed):
    found, _ = idx.read(write_idx(tmp_path / "file", array, compressed))
    np.testing.assert_array_equal(found, array)


@HYPOTHESIS_SETTINGS
@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda b: b"\0\0\x08\x02" + b))
def test_arbitrary_bytes_are_parsed_or_refused(tmp_path, content):
    for written in (content, gzip.compress(content)):
        (tmp_path / "file").write_bytes(written)
        try:
            array, _ = idx.read(tmp_path / "file")
        except UserError as error:
            assert str(tmp_path / "file") in str(error)
        else:
            assert to_idx_bytes(array) == content


@HYPOTHESIS_SETTINGS
@given(st.integers(0, 400), st.integers(1, 255), st.booleans())
def test_flipped_byte_keeps_the_size_or_is_refused(tmp_path, position, mask, compressed):
    images, _ = make_images_and_labels(20)
    content = bytearray(to_idx_bytes(images))
    content = bytearray(gzip.compress(content)) if compressed else content
    content[position % len(content)] ^= mask
    (tmp_path / "file").write_bytes(content)
    try:
        array, _ = idx.read(tmp_path / "file")
    except UserError:
        return
    assert array.size == images.size


@pytest.mark.parametrize("compressed", [False, True])
def test_every_truncation_is_detected(tmp_path, compressed):
    content = to_idx_bytes(make_images_and_labels(3)[0])
    stream = gzip.compress(content) if compressed else content
    for length in range(len(stream)):
        (tmp_path / "file").write_bytes(stream[:length])
        with pytest.raises(UserError):
            idx.read(tmp_path / "file")


DAMAGED_FILES = {
    "empty": (b"", "is empty"),
    "wrong magic": (
        b"PK\x03\x04" + b"x" * 40,
        "is a ZIP archive, not an IDX file; unpack it first",
    ),
    "unknown type": (b"\0\0\x0a\x01\0\0\0\x01x", "is not an IDX file"),
    "cut in its header": (b"\0\0\x08\x03\0\0\0\x01", "is truncated in its header"),
    "too short": (
        b"\0\0\x08\x01\0\0\0\x05abc",
        "holds 3 bytes of values; its header, 5, declares 5",
    ),
    "too long": (b"\0\0\x08\x01\0\0\0\x02abc", "has data after the 2 bytes"),
    "terabytes": (b"\0\0\x08\x02" + b"\xff" * 8 + b"abc", "more than it can hold"),
    "no values": (b"\0\0\x08\x02\0\0\0\0\0\0\0\x05", "has no values: its shape is 0 x 5"),
    "cut archive": (gzip.compress(b"\0\0\x08\x01\0\0\0\x03abc")[:-9], "truncated or damaged"),
    "not an archive": (b"\x1f\x8bnothing", "truncated or damaged"),
}


@pytest.mark.parametrize("damage", DAMAGED_FILES)
def test_errors_name_the_damaged_file(tmp_path, damage):
    content, message = DAMAGED_FILES[damage]
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(UserError, match=message) as exc_info:
        idx.read(tmp_path / "images")
    assert str(tmp_path / "images") in str(exc_info.value)


def test_folder_pipe_and_missing_file_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in [(tmp_path, "directory"), (tmp_path / "pipe", "not a regular file")]:
        with pytest.raises(UserError, match=message):
            idx.read(path)
    with pytest.raises(UserError, match="there is no such file"):
        idx.read(tmp_path / "nothing")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("claimed", [2**31, 2**20])
def test_decompression_bomb_is_refused_in_little_memory(tmp_path, claimed):
    """A few kilobytes unpack to a gigabyte, whatever size the header claims."""
    header = b"\0\0\x08\x01" + struct.pack(">I", claimed)
    with gzip.open(tmp_path / "bomb", "wb", compresslevel=9) as file:
        file.write(header)
        for _ in range(64):
            file.write(bytes(1 << 24))
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from nn.data import idx\n"
        "from nn.errors import UserError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: idx.read(Path(sys.argv[1]))\n"
        "except UserError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "bomb")]
    memory_growth = subprocess.run(
        line, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert int(memory_growth) * 1024 < 4 * min(claimed, 2**20) + 16e6


def make_source(tmp_path, train=None, test=None, **settings):
    """Write files and return a source configured with their names."""
    train, test = train or make_images_and_labels(), test or make_images_and_labels(30, seed=1)
    names = ("train_images", "train_labels", "test_images", "test_labels")
    paths = [
        str(write_idx(tmp_path / name, array))
        for name, array in zip(names, (*train, *test), strict=True)
    ]
    return IDX(**dict(zip(names, paths, strict=True)), **settings)


def test_test_files_are_the_test_set(tmp_path):
    dataset = make_source(tmp_path, validation=0.2).load(np.random.default_rng(0))
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [48, 12, 30]
    np.testing.assert_array_equal(dataset.test.raw[:, 0], make_images_and_labels(30, seed=1)[0])
    assert dataset.shape == (1, 4, 4)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.raw.dtype == np.uint8


@pytest.mark.parametrize(
    ("dtype", "shape", "sample"),
    [("f4", (7,), (7,)), ("i2", (5, 6), (1, 5, 6)), ("f8", (3, 5, 6), (3, 5, 6)), ("i4", (), (1,))],
)
def test_samples_of_any_rank_and_dtype_load(tmp_path, dtype, shape, sample):
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 3).astype(np.uint8)
    values = rng.integers(0, 100, (60, *shape)).astype(dtype)
    dataset = make_source(tmp_path, (values, labels), (values, labels)).load(rng)
    assert dataset.shape == sample
    scaled = dataset.train.rescaling.apply(
        dataset.train.raw, np.empty(dataset.train.raw.shape, "f4")
    )
    assert (scaled.min(), scaled.max()) == pytest.approx((0, 1), abs=1e-6)


def test_mismatched_files_are_refused(tmp_path):
    images, labels = make_images_and_labels()
    wide = make_images_and_labels(side=5)[0]
    cases = [
        ((images, labels[:-1]), None, "has 60 samples, .* 59 labels"),
        (None, (wide, labels), "has samples of 1 x 5 x 5, .* of 1 x 4 x 4"),
        (None, (images, labels + 1), "has the label 3; the classes are 0 to 2"),
        ((images, labels.astype("f4") + 0.5), None, "not whole numbers"),
        ((images, images), None, "has no labels: its shape is 60 x 4 x 4"),
        ((images, labels.astype("i4") * 10**6), None, "the classes are 0 to 999"),
        ((images, labels.astype("i1") - 1), None, "has the label -1"),
        ((np.full((60, 4), np.nan), labels), None, "not finite"),
        ((images, np.arange(60, dtype="u1")), None, "class 0 has 1 samples, of which"),
    ]
    for train, test, message in cases:
        with pytest.raises(UserError, match=message):
            make_source(tmp_path, train, test).load(np.random.default_rng(0))


def test_without_a_test_file_there_is_no_test_set(tmp_path):
    images, labels = make_images_and_labels()
    train_images = str(write_idx(tmp_path / "x", images))
    train_labels = str(write_idx(tmp_path / "y", labels))
    dataset = IDX(train_images=train_images, train_labels=train_labels).load(
        np.random.default_rng(0)
    )
    assert dataset.test is None


@pytest.mark.parametrize("normalize", ["none", "unit", "standard"])
def test_normalization_is_fitted_on_the_training_set_only(tmp_path, normalize):
    dataset = make_source(tmp_path, normalize=normalize).load(np.random.default_rng(0))
    raw = dataset.train.raw
    x = dataset.train.rescaling.apply(raw, np.empty(raw.shape, np.float32))
    if normalize == "none":
        np.testing.assert_array_equal(x, raw)
    elif normalize == "unit":
        np.testing.assert_allclose(x, raw / 255, rtol=1e-6)
    else:
        assert (x.mean(), x.std()) == pytest.approx((0, 1), abs=1e-5)
    assert dataset.test.rescaling == dataset.val.rescaling == dataset.train.rescaling


def test_max_samples_preserves_class_proportions(tmp_path):
    dataset = make_source(tmp_path, max_samples=30, validation=0.2).load(np.random.default_rng(0))
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [24, 6, 30]
    assert list(np.bincount(dataset.train.labels)) == [8, 8, 8]


def test_digest_depends_only_on_the_content(tmp_path):
    images, labels = make_images_and_labels()
    first = make_source(tmp_path).load(np.random.default_rng(0)).sha256
    assert make_source(tmp_path, max_samples=30).load(np.random.default_rng(5)).sha256 == first
    images[0, 0, 0] ^= 1
    assert make_source(tmp_path, (images, labels)).load(np.random.default_rng(0)).sha256 != first
