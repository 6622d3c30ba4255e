"""A disk that fails at any moment of a sweep loses no result: resuming completes all of them."""

from __future__ import annotations

import csv
import errno
import multiprocessing
import os
from threading import Thread

import pytest
import yaml

from nn.errors import SaveError, SweepError, UserError
from nn.sweeps import runner, storage
from nn.sweeps.options import SweepOptions
from nn.sweeps.run import run_sweep
from nn.sweeps.worker import serve_requests
from tests.conftest import Run, draws
from tests.faulty_disk import ERRORS, FaultyDisk

OPERATIONS = (
    "open", "io.open", "pwrite", "write", "fsync", "replace", "rename", "ftruncate", "mkdir",
)  # fmt: skip
STRIDE = 24
"""With --soak there are as many repetitions, so that every operation fails once in each way."""
POINTS = ["0.05", "0.1", "0.2"]
SWEEP = {
    "method": "grid",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
    "parameters": {"lr": {"values": [float(point) for point in POINTS]}},
}
WORDS = ("epochs=1", "model.hidden=[4]", "batch_size=512", "tracking=disabled")


class LocalWorker:
    """A worker in a thread, so that injected faults reach it as well."""

    exitcode = 0

    def __init__(self):
        self.connection, child_connection = multiprocessing.Pipe()
        self.sentinel, self.end = os.pipe()
        self.thread = Thread(target=self.work, args=(child_connection,), daemon=True)
        self.thread.start()
        self.process, self.trial, self.was_used = self, None, False

    def work(self, connection):
        try:
            serve_requests(connection)
        finally:
            connection.close()
            os.close(self.end)

    def send(self, message):
        self.connection.send(message)

    def is_alive(self):
        return self.thread.is_alive()

    def join(self, timeout=None):
        self.thread.join(timeout)

    def terminate(self):
        """Do nothing: the worker ends by itself when its connection is closed."""

    kill = terminate


def sweep(path, resume=False):
    """Run the sweep in this process and return its exit status."""
    file = path.parent / "file.yaml"
    file.write_text(yaml.safe_dump(SWEEP))
    wanted = SweepOptions(
        sweep_file=file,
        max_trials=None,
        num_workers=1,
        seed=None,
        sampler=None,
        name="faults",
        sweep_dir=path,
        resume=resume,
        storage=None,
        grace_seconds=60.0,
        overrides=WORDS,
    )
    try:
        return run_sweep(wanted)
    except UserError:
        return 2
    except (SaveError, SweepError):
        return 1


def results(path):
    """Return the rows of the table, with the results in the trials' directories."""
    rows = list(csv.DictReader((path / "trials.csv").read_text().splitlines()))
    runs = [Run(path / row["folder"]) for row in rows]
    return [
        (row["lr"], row["state"], row["objective"], one.bits)
        for row, one in zip(rows, runs, strict=True)
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    path = tmp_path_factory.mktemp("unbroken") / "sweep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Worker", LocalWorker)
        assert sweep(path) == 0
    return results(path)


@pytest.mark.sampled(1)
@draws(1, STRIDE)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_fault_at_every_operation_of_a_sweep_loses_no_result(
    unbroken, tmp_path, monkeypatch, capsys, error, lasting, draw
):
    """Each repetition covers every `STRIDE`-th operation."""
    monkeypatch.setattr(runner, "Worker", LocalWorker)
    monkeypatch.setattr(storage, "MAX_OUTAGE_SECONDS", 0.1)
    moment = 1 + (draw + ERRORS.index(error) * 4 + lasting * 2) % STRIDE
    while True:
        path = tmp_path / f"{moment}/sweep"
        path.parent.mkdir()
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, path, OPERATIONS, moment, error, lasting)
            status = sweep(path)
        told = capsys.readouterr()
        assert "Traceback" not in told.err, disk.failed
        if not disk.failed:
            break
        if status == 2:
            assert not path.exists(), (disk.failed, sorted(path.rglob("*")))
        attempts = 0
        resumed = path.exists()
        while attempts == 0 or (status and attempts < 3):
            status, attempts = sweep(path, resume=resumed), attempts + 1
        assert status == 0, (moment, disk.failed, capsys.readouterr())
        assert results(path) == unbroken, (moment, disk.failed)
        moment += STRIDE
    assert moment > 100
