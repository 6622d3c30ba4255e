"""A disk that fails at any moment loses at most a checkpoint and never corrupts a run."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from nn.cli.rerun import parse_rerun_request, rerun
from nn.config.compose import compose_config
from nn.errors import SaveError, UserError
from nn.runs.runner import run
from tests.conftest import Run
from tests.faulty_disk import ERRORS, FaultyDisk

OPERATIONS = ("open", "pwrite", "fsync", "replace", "ftruncate", "mkdir", "read")


@pytest.fixture(scope="module")
def config():
    words = [
        "tracking=disabled",
        "model.hidden=[4]",
        "epochs=3",
        "checkpoint_every=0",
        "restore_best=true",
    ]
    return compose_config([*words, "batch_size=256"])


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("unbroken") / "run"
    run(config, path)
    return path


@pytest.mark.sampled(2)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_fault_at_every_operation_costs_no_run(
    config, unbroken, tmp_path, monkeypatch, capsys, error, lasting
):
    moment = 0
    while True:
        moment += 1
        folder = tmp_path / f"{moment}"
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, folder, OPERATIONS, moment, error, lasting)
            refused = saved = False
            try:
                run(config, folder)
                saved = True
            except UserError as mistake:
                refused = True
                assert os.strerror(error) in str(mistake)
            except SaveError as lost:
                assert os.strerror(error) in str(lost)
        told = capsys.readouterr().err
        if not disk.failed:
            break
        if refused:
            assert not (folder / "config.yaml").exists()
            assert not (folder / "summary.json").exists()
            continue
        if saved:
            assert Run(folder).bits == Run(unbroken).bits
            # a W&B run name that cannot be read is generated again
            assert (
                "cannot be written" in told
                or "environment.json" in disk.failed
                or "read" in disk.failed
            )
        elif (folder / "summary.json").exists():
            assert Run(folder).bits == Run(unbroken).bits
        (folder / "summary.json").unlink(missing_ok=True)
        assert rerun(parse_rerun_request([f"resume={folder}"])) == 0
        assert Run(folder).bits == Run(unbroken).bits
        capsys.readouterr()
    assert moment > 40


@pytest.mark.sampled(1)
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_fault_at_every_operation_of_a_resumption_leaves_it_to_be_resumed(
    config, unbroken, tmp_path, monkeypatch, capsys, error
):
    moment = 0
    while True:
        moment += 1
        folder = tmp_path / f"{moment}"
        shutil.copytree(unbroken, folder)
        (folder / "summary.json").unlink()
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, folder, OPERATIONS, moment, error, lasting=False)
            try:
                rerun(parse_rerun_request([f"resume={folder}"]))
            except UserError as mistake:
                assert os.strerror(error) in str(mistake)
            except SaveError as lost:
                assert os.strerror(error) in str(lost)
        if not disk.failed:
            break
        (folder / "summary.json").unlink(missing_ok=True)
        assert rerun(parse_rerun_request([f"resume={folder}"])) == 0
        assert Run(folder).bits == Run(unbroken).bits
        capsys.readouterr()
    assert moment > 20


def test_the_warning_comes_again_until_the_disk_is_mended(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nn.runs.run_directory.WARNING_INTERVAL_SECONDS", 0)
    with monkeypatch.context() as patch:
        FaultyDisk(patch, tmp_path / "run", OPERATIONS, 30, errno.ENOSPC, lasting=True)
        with pytest.raises(SaveError, match="resume="):
            run({**config, "epochs": 20}, tmp_path / "run")
    assert capsys.readouterr().err.count("No space left on device; training continues.") > 10
