from __future__ import annotations

import gzip
import hashlib
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from nn.data import cache, mnist
from nn.errors import UserError
from tests.data.idx_files import make_images_and_labels, to_idx_bytes
from tests.data.mirror_server import serve_mirror
from tests.data.real_data import REAL_DATA, requires_real_data
from tests.faulty_disk import raise_disk_full

FILE_CONTENTS = dict(
    zip(
        mnist.MNIST_REGISTRY,
        map(
            to_idx_bytes, (*make_images_and_labels(90, 10), *make_images_and_labels(30, 10, seed=1))
        ),
        strict=True,
    )
)
ARCHIVES = {f"{name}.gz": gzip.compress(content) for name, content in FILE_CONTENTS.items()}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in FILE_CONTENTS.items()}


class TinyMNIST(mnist.MNIST):
    """MNIST with files of a few kilobytes."""

    REGISTRY = DIGESTS


@pytest.fixture
def read_mnist():
    def read_mnist(*homes, root=None):
        return TinyMNIST(mirrors=[each.url for each in homes], root=root).read(
            np.random.default_rng(0)
        )

    return read_mnist


def check_content(content):
    images, labels = make_images_and_labels(90, 10)
    np.testing.assert_array_equal(content.train.images[:, 0], images)
    np.testing.assert_array_equal(content.train.labels, labels)
    return True


def cached_files():
    return sorted(path.name for path in cache.cache_dir("mnist").glob("*"))


@pytest.mark.parametrize("behavior", ["well", "redirect", "slow"])
def test_download_is_cached(read_mnist, behavior):
    with serve_mirror(ARCHIVES, behavior) as first:
        assert check_content(read_mnist(first))
        assert cached_files() == sorted(ARCHIVES)
        request_counts = first.request_counts.total()
        assert check_content(read_mnist(first))
        assert first.request_counts.total() == request_counts


@pytest.mark.parametrize("behavior", ["missing", "wrong byte", "cut", "silent"])
def test_failing_mirror_falls_back_to_the_next(read_mnist, behavior, monkeypatch):
    monkeypatch.setattr(cache, "TIMEOUT_SECONDS", 0.5)
    with serve_mirror(ARCHIVES, behavior) as first, serve_mirror(ARCHIVES) as second:
        assert check_content(read_mnist(first, second))
        assert set(first.request_counts) == set(second.request_counts) == set(ARCHIVES)
    assert cached_files() == sorted(ARCHIVES)


@pytest.mark.parametrize("behavior", ["missing", "wrong byte", "cut"])
def test_error_without_a_working_mirror_says_what_to_do(read_mnist, behavior):
    with serve_mirror(ARCHIVES, behavior) as first, pytest.raises(UserError) as exc_info:
        read_mnist(first)
    for expected in (*ARCHIVES, str(cache.cache_dir("mnist")), "dataset.root=", first.url):
        assert expected in str(exc_info.value)
    assert "\n" not in str(exc_info.value)
    assert cached_files() == []


def test_error_without_a_network_says_what_to_do(read_mnist):
    with serve_mirror(ARCHIVES) as stopped_mirror:
        pass
    with pytest.raises(UserError, match=r"could not be downloaded: put .* dataset.root=DIR"):
        read_mnist(stopped_mirror)
    assert cached_files() == []


@pytest.mark.parametrize("compressed", [True, False])
def test_user_folder_takes_precedence(read_mnist, tmp_path, compressed):
    files = ARCHIVES if compressed else FILE_CONTENTS
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert check_content(read_mnist(root=str(tmp_path)))
    assert cached_files() == []


def test_files_missing_from_the_user_folder_are_downloaded(read_mnist, tmp_path):
    with serve_mirror(ARCHIVES) as first:
        assert check_content(read_mnist(first, root=str(tmp_path)))


def test_differently_compressed_file_is_accepted(read_mnist, tmp_path):
    for name, content in FILE_CONTENTS.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1, mtime=5))
    assert check_content(read_mnist(root=str(tmp_path)))


def test_user_file_with_a_wrong_checksum_is_refused(read_mnist, tmp_path):
    for name, content in FILE_CONTENTS.items():
        (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="train-images-idx3-ubyte is not the published file"):
        read_mnist(root=str(tmp_path))


def test_missing_folder_is_refused(read_mnist):
    with pytest.raises(UserError, match=r"dataset\.root=/nowhere cannot be read: no such file"):
        read_mnist(root="/nowhere")


def test_unreadable_folder_is_reported(tmp_path):
    """Root may read everything, so a child process drops its privileges first."""
    code = (
        "import os, sys, tempfile\n"
        "import numpy as np\n"
        "from nn.data.mnist import MNIST\n"
        "from nn.errors import UserError\n"
        "rng = np.random.default_rng(0)\n"
        "with tempfile.TemporaryDirectory() as place:\n"
        "    os.chmod(place, 0)\n"
        "    if os.geteuid() == 0: os.seteuid(65534)\n"
        "    try: MNIST(root=place).read(rng)\n"
        "    except UserError as told: print(told)\n"
        "    finally:\n"
        "        if os.getuid() == 0: os.seteuid(0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "cannot be read: permission denied." in result.stdout, result.stderr


def test_damaged_cache_is_downloaded_again(read_mnist):
    with serve_mirror(ARCHIVES) as first:
        read_mnist(first)
        name = next(iter(ARCHIVES))
        (cache.cache_dir("mnist") / name).write_bytes(ARCHIVES[name][:-5])
        assert check_content(read_mnist(first))


READER_SCRIPT = """
import json, sys
import numpy as np
from nn.data import mnist
class Small(mnist.MNIST):
    REGISTRY = json.loads(sys.argv[1])
content = Small(mirrors=sys.argv[2:]).read(np.random.default_rng(0))
print(len(content.train.images))
"""


def start_reader(*homes):
    argv = [sys.executable, "-c", READER_SCRIPT, json.dumps(DIGESTS), *(each.url for each in homes)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_concurrent_downloads_do_not_interfere(read_mnist):
    with serve_mirror(ARCHIVES, "slow") as first:
        processes = [start_reader(first) for _ in range(3)]
        for process in processes:
            out, errors = process.communicate(timeout=60)
            assert out == "90\n", errors
    assert cached_files() == sorted(ARCHIVES)
    assert check_content(read_mnist())


def test_killed_download_leaves_no_partial_file(read_mnist):
    with serve_mirror(ARCHIVES, "silent") as first:
        process = start_reader(first)
        assert first.half_sent.wait(30)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not set(ARCHIVES) & set(cached_files())
        first.behavior = "well"
        assert check_content(read_mnist(first))


def test_full_disk_is_reported(read_mnist, monkeypatch):
    fetched = []

    def full(url, _):
        fetched.append(url)
        raise_disk_full()

    monkeypatch.setattr(cache, "_fetch", full)
    sentence = f"^The cache directory {cache.cache_dir('mnist')} cannot be written to: No space"
    with (
        serve_mirror(ARCHIVES) as first,
        serve_mirror(ARCHIVES) as second,
        pytest.raises(UserError, match=sentence),
    ):
        read_mnist(first, second)
    assert len(fetched) == 1
    assert cached_files() == []


@requires_real_data
@pytest.mark.parametrize(
    ("source", "mean", "deviation"),
    [(mnist.MNIST, 0.1307, 0.3081), (mnist.FashionMNIST, 0.2860, 0.3530)],
)
def test_published_files_have_their_known_statistics(source, mean, deviation):
    content = source(root=str(REAL_DATA / source.NAME)).read(np.random.default_rng(0))
    assert content.train.images.shape == (60_000, 1, 28, 28)
    assert content.test.images.shape == (10_000, 1, 28, 28)
    values, counts = np.unique(content.train.images, return_counts=True)
    average = np.average(values / 255, weights=counts)
    assert average == pytest.approx(mean, abs=5e-5)
    spread = np.average((values / 255 - average) ** 2, weights=counts) ** 0.5
    assert spread == pytest.approx(deviation, abs=5e-5)
    if source is mnist.MNIST:
        known = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert list(np.bincount(content.train.labels)) == known
    else:
        assert set(np.bincount(content.train.labels)) == {6000}
