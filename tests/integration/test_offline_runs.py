"""The offline W&B runs of a sweep's trials, which are written in the background."""

from __future__ import annotations

import json
import signal

from tests.conftest import SWEEP_SCRIPT
from tests.integration.test_sweep import SMALL_SWEEP, run_sweep, sweep_dir
from tests.integration.wandb_records import read_wandb_records, records_of_type
from tests.waiting import wait_until

__all__ = ["run_sweep"]


def check_offline_run(workdir, trial):
    """Check that a trial has one offline run, with each epoch once and an end."""
    (folder,) = trial.path.glob("wandb/offline-run-*")
    assert not (trial.path / "wandb/partial").exists()
    records = read_wandb_records(workdir, folder)
    rows = [item["item"] for item in records_of_type(records, "history")]
    epochs = [row["epoch"] for row in rows if "train/loss" in row]
    assert epochs == [record["epoch"] for record in trial.history]
    assert len(records_of_type(records, "exit")) == 1
    (run,) = records_of_type(records, "run")[:1]
    assert run["run_id"] == trial.environment["run_id"]
    assert run["run_group"] == "small"


def test_runs_that_a_killed_sweep_has_not_completed_are_written_when_it_is_resumed(
    workdir, run_sweep
):
    run_sweep(SMALL_SWEEP, "--count", "3", "epochs=2")
    first, second, third = sweep_dir(workdir).trials
    (kept,) = first.path.glob("wandb/offline-run-*")
    kept_log = next(kept.glob("*.wandb")).read_bytes()
    for path in third.path.glob("wandb/*"):  # killed before it was begun
        path.rename(workdir.path / f"removed-{path.name}")
    (folder,) = second.path.glob("wandb/offline-run-*")  # killed while it was written
    (second.path / "wandb/partial/wandb").mkdir(parents=True)
    folder.rename(second.path / "wandb/partial/wandb" / folder.name)

    run_sweep(SMALL_SWEEP, "--resume", "--count", "3", "epochs=2")
    for trial in sweep_dir(workdir).trials:
        check_offline_run(workdir, trial)
    assert next(kept.glob("*.wandb")).read_bytes() == kept_log


def test_sweep_killed_while_runs_are_written_loses_and_doubles_none(workdir, run_sweep):
    workdir.path.joinpath("small.yaml").write_text(json.dumps(SMALL_SWEEP))
    arguments = ["small.yaml", "--count", "6", "epochs=2"]
    process = workdir.start(SWEEP_SCRIPT, *arguments)
    wait_until(lambda: list(workdir.path.glob("runs/sweeps/small/trials/*/wandb/partial")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run_sweep(SMALL_SWEEP, "--resume", *arguments[1:])
    trials = sweep_dir(workdir).trials
    assert len(trials) == 6
    for trial in trials:
        check_offline_run(workdir, trial)


def test_failure_of_wandb_is_reported_and_the_trial_counts(workdir, run_sweep):
    arguments = ["--count", "1", "epochs=1"]
    (workdir.path / "small.yaml").write_text(json.dumps(SMALL_SWEEP))
    result = workdir.run(SWEEP_SCRIPT, "small.yaml", *arguments, WANDB_SILENT="perhaps")
    assert result.returncode == 0, result.stderr
    assert (
        "1 trial has no offline W&B run, as runs/sweeps/small/trials/0000/output.txt explains; "
        "--resume writes it."
    ) in result.stdout
    (trial,) = sweep_dir(workdir).trials
    assert trial.summary["status"] == "finished"
    message = (trial.path / "output.txt").read_text().splitlines()[-1]
    assert message.startswith("W&B failed (silent: Input should be a valid boolean")
    assert message.endswith("upload.py runs/sweeps/small/trials/0000 uploads it.")
    result = run_sweep(SMALL_SWEEP, "--resume", *arguments)
    assert "no offline W&B run" not in result.stdout
    check_offline_run(workdir, trial)
    location = (trial.path / "output.txt").read_text().splitlines()[-1].rpartition(" ")[2]
    assert [workdir.path / location] == [*trial.path.glob("wandb/offline-run-*")]
