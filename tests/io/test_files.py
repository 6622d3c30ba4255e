"""A file is written completely or not at all, even with concurrent writers."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from nn.io.files import atomic_write

WRITERS, TIMES = 4, 50


def written(path, writer):
    """Write a file repeatedly and return the contents read in between."""
    seen = set()
    for _ in range(TIMES):
        atomic_write(path, bytes([writer]) * (1000 * writer + 1))
        content = path.read_bytes()
        seen.add((content[0], len(content), len(set(content))))
    return seen


def test_processes_that_write_one_file_each_write_all_of_it(tmp_path):
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn")) as pool:
        seen = set().union(*pool.map(written, [path] * WRITERS, range(WRITERS)))
    assert seen == {(writer, 1000 * writer + 1, 1) for writer in range(WRITERS)}
    assert [each.name for each in path.parent.iterdir()] == ["file"]
