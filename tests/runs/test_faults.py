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
from tests.conftest import RunDir
from tests.faulty_disk import ERROR_CODES, FaultyDisk

OPERATIONS = ("open", "pwrite", "fsync", "replace", "ftruncate", "mkdir", "read")


@pytest.fixture(scope="module")
def config():
    overrides = [
        "tracking=disabled",
        "model.hidden=[4]",
        "epochs=3",
        "checkpoint_every=0",
        "restore_best=true",
    ]
    return compose_config([*overrides, "batch_size=256"])


@pytest.fixture(scope="module")
def baseline(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "run"
    run(config, path)
    return path


@pytest.mark.sampled(1)
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "persistent"])
@pytest.mark.parametrize("error", ERROR_CODES, ids=errno.errorcode.get)
def test_disk_fault_at_any_operation_loses_no_run(
    config, baseline, tmp_path, monkeypatch, capsys, error, persistent
):
    operation_number = 0
    while True:
        operation_number += 1
        folder = tmp_path / f"{operation_number}"
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, folder, OPERATIONS, operation_number, error, persistent)
            is_refused = is_saved = False
            try:
                run(config, folder)
                is_saved = True
            except UserError as user_error:
                is_refused = True
                assert os.strerror(error) in str(user_error)
            except SaveError as save_error:
                assert os.strerror(error) in str(save_error)
        stderr = capsys.readouterr().err
        if not disk.failed_operation:
            break
        if is_refused:
            assert not (folder / "config.yaml").exists()
            assert not (folder / "summary.json").exists()
            continue
        if is_saved:
            assert RunDir(folder).exact_results == RunDir(baseline).exact_results
            # a W&B run name that cannot be read is generated again
            assert (
                "cannot be written" in stderr
                or "environment.json" in disk.failed_operation
                or "read" in disk.failed_operation
            )
        elif (folder / "summary.json").exists():
            assert RunDir(folder).exact_results == RunDir(baseline).exact_results
        (folder / "summary.json").unlink(missing_ok=True)
        assert rerun(parse_rerun_request([f"resume={folder}"])) == 0
        assert RunDir(folder).exact_results == RunDir(baseline).exact_results
        capsys.readouterr()
    assert operation_number > 40


@pytest.mark.sampled(1)
@pytest.mark.parametrize("error", ERROR_CODES, ids=errno.errorcode.get)
def test_disk_fault_while_resuming_leaves_the_run_resumable(
    config, baseline, tmp_path, monkeypatch, capsys, error
):
    operation_number = 0
    while True:
        operation_number += 1
        folder = tmp_path / f"{operation_number}"
        shutil.copytree(baseline, folder)
        (folder / "summary.json").unlink()
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, folder, OPERATIONS, operation_number, error, persistent=False)
            try:
                rerun(parse_rerun_request([f"resume={folder}"]))
            except UserError as user_error:
                assert os.strerror(error) in str(user_error)
            except SaveError as save_error:
                assert os.strerror(error) in str(save_error)
        if not disk.failed_operation:
            break
        (folder / "summary.json").unlink(missing_ok=True)
        assert rerun(parse_rerun_request([f"resume={folder}"])) == 0
        assert RunDir(folder).exact_results == RunDir(baseline).exact_results
        capsys.readouterr()
    assert operation_number > 20


def test_warning_repeats_until_the_disk_recovers(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nn.runs.run_directory.WARNING_INTERVAL_SECONDS", 0)
    with monkeypatch.context() as patch:
        FaultyDisk(patch, tmp_path / "run", OPERATIONS, 30, errno.ENOSPC, persistent=True)
        with pytest.raises(SaveError, match="resume="):
            run(config.model_copy(update={"epochs": 20}), tmp_path / "run")
    assert capsys.readouterr().err.count("No space left on device; training continues.") > 10
