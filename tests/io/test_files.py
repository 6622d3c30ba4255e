"""A file is written completely or not at all, even with concurrent writers."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from nn.io.files import atomic_write

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
