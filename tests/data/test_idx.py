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
from tests.data.idx_files import CODES, idx_bytes, images_and_labels, write_idx

ANY_NUMBER_OF_EXAMPLES = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ANY_NUMBER_OF_EXAMPLES
@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=5, max_side=5))
    ),
    st.booleans(),
)
def test_every_type_and_rank_comes_back_as_it_was(tmp_path, array, compressed):
    found, _ = idx.read(write_idx(tmp_path / "file", array, compressed))
    np.testing.assert_array_equal(found, array)


@ANY_NUMBER_OF_EXAMPLES
@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda b: b"\0\0\x08\x02" + b))
def test_whatever_the_bytes_there_is_an_array_or_a_sentence(tmp_path, content):
    for written in (content, gzip.compress(content)):
        (tmp_path / "file").write_bytes(written)
        try:
            array, _ = idx.read(tmp_path / "file")
        except UserError as mistake:
            assert str(tmp_path / "file") in str(mistake)
        else:
            assert idx_bytes(array) == content


@ANY_NUMBER_OF_EXAMPLES
@given(st.integers(0, 400), st.integers(1, 255), st.booleans())
def test_a_flipped_byte_gives_an_array_of_the_same_size_or_a_sentence(tmp_path, at, by, compressed):
    images, _ = images_and_labels(20)
    content = bytearray(idx_bytes(images))
    content = bytearray(gzip.compress(content)) if compressed else content
    content[at % len(content)] ^= by
    (tmp_path / "file").write_bytes(content)
    try:
        array, _ = idx.read(tmp_path / "file")
    except UserError:
        return
    assert array.size == images.size


@pytest.mark.parametrize("compressed", [False, True])
def test_every_cut_is_noticed(tmp_path, compressed):
    content = idx_bytes(images_and_labels(3)[0])
    whole = gzip.compress(content) if compressed else content
    for length in range(len(whole)):
        (tmp_path / "file").write_bytes(whole[:length])
        with pytest.raises(UserError):
            idx.read(tmp_path / "file")


DAMAGES = {
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


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_with_the_name_of_the_file(tmp_path, damage):
    content, sentence = DAMAGES[damage]
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(UserError, match=sentence) as told:
        idx.read(tmp_path / "images")
    assert str(tmp_path / "images") in str(told.value)


def test_a_folder_a_pipe_and_nothing_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, sentence in [(tmp_path, "directory"), (tmp_path / "pipe", "not a regular file")]:
        with pytest.raises(UserError, match=sentence):
            idx.read(path)
    with pytest.raises(UserError, match="there is no such file"):
        idx.read(tmp_path / "nothing")


@pytest.mark.parametrize("claimed", [2**31, 2**20])
def test_a_bomb_is_refused_in_little_memory(tmp_path, claimed):
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
    grown = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout
    assert int(grown) * 1024 < 4 * min(claimed, 2**20) + 16e6


def source(tmp_path, train=None, test=None, **settings):
    """Write files and return a source configured with their names."""
    train, test = train or images_and_labels(), test or images_and_labels(30, seed=1)
    names = ("train_images", "train_labels", "test_images", "test_labels")
    paths = [
        str(write_idx(tmp_path / name, array))
        for name, array in zip(names, (*train, *test), strict=True)
    ]
    return IDX(**dict(zip(names, paths, strict=True)), **settings)


def test_the_test_files_are_the_test_set(tmp_path):
    dataset = source(tmp_path, validation=0.2).load(np.random.default_rng(0))
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [48, 12, 30]
    np.testing.assert_array_equal(dataset.test.raw[:, 0], images_and_labels(30, seed=1)[0])
    assert dataset.shape == (1, 4, 4)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.raw.dtype == np.uint8


@pytest.mark.parametrize(
    ("dtype", "shape", "sample"),
    [("f4", (7,), (7,)), ("i2", (5, 6), (1, 5, 6)), ("f8", (3, 5, 6), (3, 5, 6)), ("i4", (), (1,))],
)
def test_samples_of_any_rank_and_type_can_be_learned_from(tmp_path, dtype, shape, sample):
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 3).astype(np.uint8)
    values = rng.integers(0, 100, (60, *shape)).astype(dtype)
    dataset = source(tmp_path, (values, labels), (values, labels)).load(rng)
    assert dataset.shape == sample
    scaled = dataset.train.rescaling.apply(
        dataset.train.raw, np.empty(dataset.train.raw.shape, "f4")
    )
    assert (scaled.min(), scaled.max()) == pytest.approx((0, 1), abs=1e-6)


def test_sets_that_do_not_belong_together_are_refused(tmp_path):
    images, labels = images_and_labels()
    wide = images_and_labels(side=5)[0]
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
    for train, test, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            source(tmp_path, train, test).load(np.random.default_rng(0))


def test_without_a_test_set_there_is_none(tmp_path):
    images, labels = images_and_labels()
    train_images = str(write_idx(tmp_path / "x", images))
    train_labels = str(write_idx(tmp_path / "y", labels))
    dataset = IDX(train_images=train_images, train_labels=train_labels).load(
        np.random.default_rng(0)
    )
    assert dataset.test is None


@pytest.mark.parametrize("normalize", ["none", "unit", "standard"])
def test_scales_are_measured_on_the_training_set_alone(tmp_path, normalize):
    dataset = source(tmp_path, normalize=normalize).load(np.random.default_rng(0))
    raw = dataset.train.raw
    x = dataset.train.rescaling.apply(raw, np.empty(raw.shape, np.float32))
    if normalize == "none":
        np.testing.assert_array_equal(x, raw)
    elif normalize == "unit":
        np.testing.assert_allclose(x, raw / 255, rtol=1e-6)
    else:
        assert (x.mean(), x.std()) == pytest.approx((0, 1), abs=1e-5)
    assert dataset.test.rescaling == dataset.val.rescaling == dataset.train.rescaling


def test_a_limit_keeps_the_classes_in_proportion(tmp_path):
    dataset = source(tmp_path, max_samples=30, validation=0.2).load(np.random.default_rng(0))
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [24, 6, 30]
    assert list(np.bincount(dataset.train.labels)) == [8, 8, 8]


def test_the_digest_is_of_the_content(tmp_path):
    images, labels = images_and_labels()
    first = source(tmp_path).load(np.random.default_rng(0)).sha256
    assert source(tmp_path, max_samples=30).load(np.random.default_rng(5)).sha256 == first
    images[0, 0, 0] ^= 1
    assert source(tmp_path, (images, labels)).load(np.random.default_rng(0)).sha256 != first
