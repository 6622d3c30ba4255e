"""A run that is paused at some epochs and continued equals one without pauses."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from nn.config.compose import compose_config
from nn.errors import UserError
from nn.io.paths import checkpoint_path
from nn.report.data.run import RunReader
from nn.report.pages.run import build_run_page
from nn.runs import checkpoint
from nn.runs.run_directory import delete_checkpoints, discard_run, find_resume_problem
from nn.runs.runner import run
from nn.runs.signals import SignalInterrupt
from tests.conftest import RunDir, without_timings
from tests.report.report_page import ReportPage

QUICK_OVERRIDES = (
    "tracking=disabled",
    "dataset.max_samples=400",
    "depth=1",
    "width=8",
    "batch_size=32",
    "epochs=6",
)
SETTINGS = (
    "optimizer=sgd schedule=constant",
    "optimizer=momentum schedule=cosine dropout=0.3",
    "optimizer=nesterov schedule=one_cycle restore_best=true",
    "optimizer=adam schedule=plateau schedule.patience=1 lr=0.05",
    "optimizer=adamw augmentation=affine model.normalization=batch",
    "optimizer=rmsprop schedule=step samples_per_epoch=150",
    "optimizer=adagrad schedule=exponential model.normalization=layer",
    "optimizer=adam lr=0.3 epochs=40 patience=2",
    "model=cnn optimizer=adam dropout=0.2 augmentation=flip restore_best=true",
    "optimizer=adam schedule=inverse_time schedule.warmup_epochs=4 dataset.validation=0",
    "shards=2 dropout=0.3 augmentation=affine model.normalization=batch",
    "shards=2 threads=2 model=cnn optimizer=adam dropout=0.2 restore_best=true",
)


def run_with_pauses(config, path):
    """Pause after epoch 1, interrupt after epoch 2 as the end of a sweep does, pause after 3."""

    def interrupt(record):
        if record["epoch"] == 2:
            raise SignalInterrupt(signal.SIGTERM)

    assert run(config, path, verbose=False, pause_epoch=1)["status"] == "paused"
    with pytest.raises(SignalInterrupt):
        run(config, path, True, interrupt, verbose=False, pause_epoch=3)
    assert run(config, path, True, verbose=False, pause_epoch=3)["status"] == "paused"
    assert len(RunDir(path).history) == 3
    return run(config, path, True, verbose=False, pause_epoch=config.epochs)


def read_state(path, name="last"):
    """Return the arrays of a checkpoint, and its metadata without timings."""
    snapshot = checkpoint.load(checkpoint_path(path, name))
    metadata = dict(snapshot.metadata)
    for key in ("sessions", "elapsed_seconds", "history"):  # whose lines have timings
        metadata.pop(key, None)
    selector = metadata.get("weight_selector", {})
    for name in ("best", "epoch"):
        if selector.get(name):
            selector[name] = without_timings(selector[name])
    return snapshot.arrays, metadata


def assert_same_arrays(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name, strict=True)


@pytest.mark.parametrize("settings", SETTINGS)
def test_paused_run_ends_with_the_bits_of_one_without_pauses(tmp_path, settings):
    config = compose_config([*QUICK_OVERRIDES, *settings.split()])
    whole, paused = tmp_path / "whole", tmp_path / "paused"
    summary = run(config, whole, verbose=False)
    assert summary["epochs"] > 3
    run_with_pauses(config, paused)
    assert RunDir(paused).exact_results == RunDir(whole).exact_results
    assert {path.name for path in paused.iterdir()} == {path.name for path in whole.iterdir()}
    for name in ("config.yaml", "model.json"):
        assert (paused / name).read_bytes() == (whole / name).read_bytes()
    for name in {path.stem for path in (whole / "checkpoints").iterdir()} - {"previous"}:
        (arrays, metadata), (whole_arrays, whole_metadata) = (
            read_state(path, name) for path in (paused, whole)
        )
        assert_same_arrays(arrays, whole_arrays)
        assert metadata == whole_metadata
    assert_same_arrays(
        *(checkpoint.load(path / "predictions.safetensors").arrays for path in (paused, whole))
    )
    # apart from timings, they differ in the sessions only
    assert len(RunDir(paused).summary["sessions"]) == 4
    assert RunDir(whole).environment.keys() == RunDir(paused).environment.keys()


@pytest.fixture
def paused_dir(tmp_path):
    """The directory of a run that is paused after two of six epochs."""
    path = tmp_path / "paused"
    path.mkdir()
    (path / "trial.json").write_text("{}")
    (path / "output.txt").write_text("epoch 1/6\n")
    run(compose_config(QUICK_OVERRIDES), path, verbose=False, pause_epoch=2)
    return path


def test_run_that_was_killed_before_its_pause_was_recorded_pauses_there(paused_dir):
    (paused_dir / "summary.json").unlink()
    config = compose_config(QUICK_OVERRIDES)
    assert run(config, paused_dir, True, verbose=False, pause_epoch=2)["status"] == "paused"
    assert RunDir(paused_dir).summary["status"] == "paused"
    assert len(RunDir(paused_dir).history) == 2


def test_run_that_patience_ends_at_a_pause_is_finished(tmp_path):
    settings = ("optimizer=adam", "lr=0.3", "epochs=40", "patience=2")
    config = compose_config([*QUICK_OVERRIDES, *settings])
    last = run(config, tmp_path / "whole", verbose=False)["epochs"]
    assert last < 40
    summary = run(config, tmp_path / "paused", verbose=False, pause_epoch=last)
    assert (summary["status"], summary["epochs"]) == ("finished", last)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def make_link(path):
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: None, None),
        (lambda path: path.unlink(), "it has no checkpoint."),
        (cut, "The last checkpoint is damaged and was skipped."),
        (lambda path: path.write_bytes(b""), "The last checkpoint is damaged and was skipped."),
        (make_link, "last.safetensors is a symbolic link; it must be a regular file."),
    ],
)
def test_run_whose_checkpoint_is_lost_can_start_over(paused_dir, capsys, damage, problem):
    damage(checkpoint_path(paused_dir, "last"))
    found = find_resume_problem(paused_dir)
    if problem is None:
        assert found is None
        return
    assert found.endswith(problem)
    capsys.readouterr()
    run_id = RunDir(paused_dir).environment["run_id"]
    discard_run(paused_dir, found)
    assert capsys.readouterr().out == f"The run starts over: {found}\n"
    names = {".lock", "trial.json", "output.txt", "environment.json"}
    assert {path.name for path in paused_dir.iterdir()} == names
    assert (paused_dir / "output.txt").read_text() == "epoch 1/6\n"
    assert run(compose_config(QUICK_OVERRIDES), paused_dir, verbose=False)["status"] == "finished"
    assert RunDir(paused_dir).environment["run_id"] == run_id  # W&B has one run of it


def test_lost_checkpoint_costs_epochs_but_no_bits(paused_dir, tmp_path, capsys):
    config = compose_config(QUICK_OVERRIDES)
    run(config, tmp_path / "whole", verbose=False)
    cut(checkpoint_path(paused_dir, "last"))
    run(config, paused_dir, True, verbose=False)
    output = capsys.readouterr()
    assert output.err == "The last checkpoint is damaged and was skipped.\n"
    assert output.out == "The run starts over: it has no checkpoint.\n"
    assert RunDir(paused_dir).exact_results == RunDir(tmp_path / "whole").exact_results


def read_files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_run_without_its_checkpoints_still_has_its_page(paused_dir):
    before = read_files(paused_dir)
    delete_checkpoints(paused_dir)
    assert not any((paused_dir / "checkpoints").iterdir())
    assert read_files(paused_dir) == before
    assert find_resume_problem(paused_dir) == "it has no checkpoint."
    page = ReportPage(build_run_page(RunReader(paused_dir))).text
    assert "This run is paused after 2 of 6 epochs; its sweep continues it" in page
    assert "interrupted" not in page


def test_checkpoints_of_a_run_in_training_are_left_alone(tmp_path):
    def try_to_remove(record):
        delete_checkpoints(tmp_path / "run")
        with pytest.raises(UserError, match="another process is training in this directory"):
            discard_run(tmp_path / "run", "no reason.")

    config = compose_config([*QUICK_OVERRIDES, "epochs=2", "checkpoint_every=0"])
    run(config, tmp_path / "run", on_epoch_end=try_to_remove, verbose=False)
    assert find_resume_problem(tmp_path / "run") is None
    assert len(RunDir(tmp_path / "run").history) == 2
