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
from tests.conftest import RunDir, repeat
from tests.faulty_disk import ERROR_CODES, FaultyDisk

OPERATIONS = (
    "open", "io.open", "pwrite", "write", "fsync", "replace", "rename", "ftruncate", "mkdir",
)  # fmt: skip
STRIDE = 48
"""With --soak there are as many repetitions, so that every operation fails once in each way."""
LEARNING_RATES = ["0.05", "0.1", "0.2"]
SWEEP_CONFIG = {
    "method": "grid",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
    "parameters": {"lr": {"values": [float(point) for point in LEARNING_RATES]}},
}
OVERRIDES = ("epochs=1", "model.hidden=[4]", "batch_size=512", "tracking=disabled")


class ThreadWorker:
    """A worker in a thread, so that injected faults reach it as well."""

    exitcode = 0

    def __init__(self):
        self.connection, child_connection = multiprocessing.Pipe()
        self.sentinel, self.write_end = os.pipe()
        self.thread = Thread(target=self.work, args=(child_connection,), daemon=True)
        self.thread.start()
        self.process, self.trial, self.was_used = self, None, False

    def work(self, connection):
        try:
            serve_requests(connection)
        finally:
            connection.close()
            os.close(self.write_end)

    def send(self, message):
        self.connection.send(message)

    def is_alive(self):
        return self.thread.is_alive()

    def join(self, timeout=None):
        self.thread.join(timeout)

    def terminate(self):
        """Do nothing: the worker ends by itself when its connection is closed."""

    kill = terminate


def run_sweep_in_process(path, resume=False):
    """Run the sweep in this process and return its exit status."""
    file = path.parent / "file.yaml"
    file.write_text(yaml.safe_dump(SWEEP_CONFIG))
    options = SweepOptions(
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
        overrides=OVERRIDES,
    )
    try:
        return run_sweep(options)
    except UserError:
        return 2
    except (SaveError, SweepError):
        return 1


def results(path):
    """Return the rows of the table, with the results in the trials' directories."""
    rows = list(csv.DictReader((path / "trials.csv").read_text().splitlines()))
    runs = [RunDir(path / row["folder"]) for row in rows]
    return [
        (row["lr"], row["state"], row["objective"], one.exact_results)
        for row, one in zip(rows, runs, strict=True)
    ]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "sweep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Worker", ThreadWorker)
        assert run_sweep_in_process(path) == 0
    return results(path)


@pytest.mark.sampled(1)
@repeat(1, STRIDE)
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "persistent"])
@pytest.mark.parametrize("error", ERROR_CODES, ids=errno.errorcode.get)
def test_disk_fault_at_any_operation_loses_no_result(
    baseline, tmp_path, monkeypatch, capsys, error, persistent, repetition
):
    """Each repetition covers every `STRIDE`-th operation."""
    monkeypatch.setattr(runner, "Worker", ThreadWorker)
    monkeypatch.setattr(storage, "MAX_OUTAGE_SECONDS", 0.1)
    operation_number = 1 + (repetition + ERROR_CODES.index(error) * 4 + persistent * 2) % STRIDE
    while True:
        path = tmp_path / f"{operation_number}/sweep"
        path.parent.mkdir()
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, path, OPERATIONS, operation_number, error, persistent)
            status = run_sweep_in_process(path)
        output = capsys.readouterr()
        assert "Traceback" not in output.err, disk.failed_operation
        if not disk.failed_operation:
            break
        if status == 2:
            assert not path.exists(), (disk.failed_operation, sorted(path.rglob("*")))
        num_attempts = 0
        should_resume = path.exists()
        while num_attempts == 0 or (status and num_attempts < 3):
            status, num_attempts = (
                run_sweep_in_process(path, resume=should_resume),
                num_attempts + 1,
            )
        assert status == 0, (operation_number, disk.failed_operation, capsys.readouterr())
        assert results(path) == baseline, (operation_number, disk.failed_operation)
        operation_number += STRIDE
    assert operation_number > 100
