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
from tests.data.genuine import GENUINE, needs_genuine
from tests.data.homes import home
from tests.data.idx_files import idx_bytes, images_and_labels
from tests.faulty_disk import raise_disk_full

CONTENTS = dict(
    zip(
        mnist.MNIST_REGISTRY,
        map(idx_bytes, (*images_and_labels(90, 10), *images_and_labels(30, 10, seed=1))),
        strict=True,
    )
)
ARCHIVES = {f"{name}.gz": gzip.compress(content) for name, content in CONTENTS.items()}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}


class Small(mnist.MNIST):
    """MNIST with files of a few kilobytes."""

    REGISTRY = DIGESTS


@pytest.fixture
def read():
    def read(*homes, root=None):
        return Small(mirrors=[each.url for each in homes], root=root).read(np.random.default_rng(0))

    return read


def correct(content):
    images, labels = images_and_labels(90, 10)
    np.testing.assert_array_equal(content.train.images[:, 0], images)
    np.testing.assert_array_equal(content.train.labels, labels)
    return True


def cached():
    return sorted(path.name for path in cache.cache_dir("mnist").glob("*"))


@pytest.mark.parametrize("manner", ["well", "redirect", "slow"])
def test_a_download_is_kept_and_not_repeated(read, manner):
    with home(ARCHIVES, manner) as first:
        assert correct(read(first))
        assert cached() == sorted(ARCHIVES)
        asked = first.asked.total()
        assert correct(read(first))
        assert first.asked.total() == asked


@pytest.mark.parametrize("manner", ["missing", "wrong byte", "cut", "silent"])
def test_a_home_that_fails_is_followed_by_the_next(read, manner, monkeypatch):
    monkeypatch.setattr(cache, "TIMEOUT_SECONDS", 0.5)
    with home(ARCHIVES, manner) as first, home(ARCHIVES) as second:
        assert correct(read(first, second))
        assert set(first.asked) == set(second.asked) == set(ARCHIVES)
    assert cached() == sorted(ARCHIVES)


@pytest.mark.parametrize("manner", ["missing", "wrong byte", "cut"])
def test_without_a_working_home_the_message_says_what_to_do(read, manner):
    with home(ARCHIVES, manner) as first, pytest.raises(UserError) as told:
        read(first)
    for word in (*ARCHIVES, str(cache.cache_dir("mnist")), "dataset.root=", first.url):
        assert word in str(told.value)
    assert "\n" not in str(told.value)
    assert cached() == []


def test_without_a_network_the_message_says_what_to_do(read):
    with home(ARCHIVES) as gone:
        pass
    with pytest.raises(UserError, match=r"could not be downloaded: put .* dataset.root=DIR"):
        read(gone)
    assert cached() == []


@pytest.mark.parametrize("compressed", [True, False])
def test_a_folder_of_the_users_comes_first(read, tmp_path, compressed):
    files = ARCHIVES if compressed else CONTENTS
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert correct(read(root=str(tmp_path)))
    assert cached() == []


def test_a_folder_that_lacks_files_is_made_up_for(read, tmp_path):
    with home(ARCHIVES) as first:
        assert correct(read(first, root=str(tmp_path)))


def test_another_compression_of_the_same_content_is_accepted(read, tmp_path):
    for name, content in CONTENTS.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1, mtime=5))
    assert correct(read(root=str(tmp_path)))


def test_a_file_of_the_users_that_is_not_the_published_one_is_refused(read, tmp_path):
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="train-images-idx3-ubyte is not the published file"):
        read(root=str(tmp_path))


def test_a_folder_that_does_not_exist_is_refused(read):
    with pytest.raises(UserError, match=r"dataset\.root=/nowhere cannot be read: no such file"):
        read(root="/nowhere")


def test_a_folder_without_permission_is_told(tmp_path):
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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "cannot be read: permission denied." in done.stdout, done.stderr


def test_a_damaged_cache_is_downloaded_anew(read):
    with home(ARCHIVES) as first:
        read(first)
        name = next(iter(ARCHIVES))
        (cache.cache_dir("mnist") / name).write_bytes(ARCHIVES[name][:-5])
        assert correct(read(first))


PROCESS = """
import json, sys
import numpy as np
from nn.data import mnist
class Small(mnist.MNIST):
    REGISTRY = json.loads(sys.argv[1])
content = Small(mirrors=sys.argv[2:]).read(np.random.default_rng(0))
print(len(content.train.images))
"""


def start(*homes):
    line = [sys.executable, "-c", PROCESS, json.dumps(DIGESTS), *(each.url for each in homes)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_that_start_together_do_not_harm_each_other(read):
    with home(ARCHIVES, "slow") as first:
        together = [start(first) for _ in range(3)]
        for process in together:
            out, errors = process.communicate(timeout=60)
            assert out == "90\n", errors
    assert cached() == sorted(ARCHIVES)
    assert correct(read())


def test_a_killed_download_leaves_nothing_to_be_trusted(read):
    with home(ARCHIVES, "silent") as first:
        process = start(first)
        assert first.half_sent.wait(30)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not set(ARCHIVES) & set(cached())
        first.manner = "well"
        assert correct(read(first))


def test_a_full_disk_is_told(read, monkeypatch):
    fetched = []

    def full(url, _):
        fetched.append(url)
        raise_disk_full()

    monkeypatch.setattr(cache, "_fetch", full)
    sentence = f"^The cache directory {cache.cache_dir('mnist')} cannot be written to: No space"
    with (
        home(ARCHIVES) as first,
        home(ARCHIVES) as second,
        pytest.raises(UserError, match=sentence),
    ):
        read(first, second)
    assert len(fetched) == 1
    assert cached() == []


@needs_genuine
@pytest.mark.parametrize(
    ("source", "mean", "deviation"),
    [(mnist.MNIST, 0.1307, 0.3081), (mnist.FashionMNIST, 0.2860, 0.3530)],
)
def test_the_genuine_files_have_their_known_figures(source, mean, deviation):
    content = source(root=str(GENUINE / source.NAME)).read(np.random.default_rng(0))
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
