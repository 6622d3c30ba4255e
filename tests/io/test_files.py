"""Files are written completely or not at all, read line by line, and locked by one process."""

from __future__ import annotations

import fcntl
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn.io.files import TailReader, acquire_lock, atomic_write, is_locked

NUM_WRITERS, NUM_WRITES = 4, 50


def write_and_read_back(path, writer):
    """Write a file repeatedly and return the contents read in between."""
    observed = set()
    for _ in range(NUM_WRITES):
        atomic_write(path, bytes([writer]) * (1000 * writer + 1))
        content = path.read_bytes()
        observed.add((content[0], len(content), len(set(content))))
    return observed


def test_concurrent_writes_are_atomic(tmp_path):
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    with ProcessPoolExecutor(NUM_WRITERS, mp_context=get_context("spawn")) as pool:
        observed = set().union(
            *pool.map(write_and_read_back, [path] * NUM_WRITERS, range(NUM_WRITERS))
        )
    assert observed == {(writer, 1000 * writer + 1, 1) for writer in range(NUM_WRITERS)}
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def append(path, content):
    with path.open("ab") as file:
        file.write(content)


@pytest.fixture
def log(tmp_path):
    """A file of two lines, and a reader that has read them."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    reader = TailReader(tmp_path, "log", 1000)
    assert reader.read_lines() == ([b"one", b"two"], False)
    return path, reader


def test_only_appended_lines_are_read(log):
    path, reader = log
    assert reader.read_lines() == ([], False)
    append(path, b"three\n\nfour\n")
    assert reader.read_lines() == ([b"three", b"", b"four"], False)
    assert reader.read_lines() == ([], False)


def test_torn_last_line_waits_until_it_ends(log):
    path, reader = log
    append(path, b"three\nfo")
    assert reader.read_lines() == ([b"three"], False)
    append(path, b"u")
    assert reader.read_lines() == ([], False)
    append(path, b"r\n")
    assert reader.read_lines() == ([b"four"], False)


@pytest.mark.parametrize("content", [b"", b"one\n", b"one\n2\n", b"one\n2\nthree\nfour\n"])
def test_rewritten_file_is_read_from_its_beginning(log, content):
    path, reader = log
    path.write_bytes(content)
    assert reader.read_lines() == (content.splitlines(), True)


def test_replaced_file_is_read_from_its_beginning(log):
    path, reader = log
    atomic_write(path, b"one\ntwo\nthree\n")
    assert reader.read_lines() == ([b"one", b"two", b"three"], True)


def test_removed_file_has_no_lines_until_it_is_back(log):
    path, reader = log
    path.unlink()
    assert reader.read_lines() == ([], True)
    assert reader.read_lines() == ([], False)
    path.write_bytes(b"one\n")
    assert reader.read_lines() == ([b"one"], False)


@given(
    content=st.binary(max_size=40).map(lambda text: text.replace(b"\x00", b"\n")),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
def test_lines_do_not_depend_on_when_they_are_read(tmp_path_factory, content, cuts):
    path = tmp_path_factory.mktemp("log") / "log"
    reader, lines = TailReader(path.parent, "log", 1000), []
    for end in [*sorted(cuts), len(content)]:
        path.touch()
        append(path, content[path.stat().st_size : end])
        new_lines, is_replaced = reader.read_lines()
        assert not is_replaced
        lines += new_lines
    assert lines == content.split(b"\n")[:-1]


def test_lock_is_reported_and_released_by_the_test(tmp_path):
    assert is_locked(tmp_path / ".lock") is False
    descriptor = acquire_lock(tmp_path / ".lock")
    assert is_locked(tmp_path / ".lock") is True
    os.close(descriptor)
    assert is_locked(tmp_path / ".lock") is False
    os.close(acquire_lock(tmp_path / ".lock"))


def test_lock_can_be_acquired_while_it_is_tested(tmp_path):
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        release = threading.Timer(0.01, file.close)
        release.start()
        os.close(acquire_lock(tmp_path / ".lock"))
        release.join()
