"""Resuming a sweep after its file, its study or its disk has changed."""

from __future__ import annotations

import copy
import json
import shutil
import time

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage

from nn.sweeps.storage import CrashSafeJournalBackend
from tests.commands.test_sweep import QUICK, SMALL, SWEEP, children, folder, sweep
from tests.conftest import Run
from tests.unchanged import unchanged
from tests.waiting import count_epochs, wait_until

__all__ = ["sweep"]
GRID = {**SMALL, "method": "grid", "parameters": {"lr": {"values": [0.05, 0.1, 0.2]}}}


def study(swept):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(CrashSafeJournalBackend(swept.path / "study.log"))
    return optuna.load_study(study_name="sweep", storage=storage)


LR = "{distribution: log_uniform_values, min: 0.01, max: 0.5}"
CHANGES = {
    "range": ({"lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.4}},
              f"parameters.lr: {LR} was changed to {LR.replace('0.5', '0.4')}"),
    "distribution": ({"lr": {"min": 0.01, "max": 0.5}},
                     f"parameters.lr: {LR} was changed to {{distribution: uniform, "),
    "values": ({"depth": {"values": [1, 2, 3]}},
               "parameters.depth: {distribution: categorical, values: [1, 2]} was changed to "
               "{distribution: categorical, values: [1, 2, 3]}"),
    "type": (
        {"width": {"value": 64.0}},
        "parameters.width: {distribution: constant, value: 64} was changed to {distribution: con",
    ),
    "added": ({"batch_size": {"values": [16, 32]}}, "parameters.batch_size: {distribution: "),
    "removed": ({"width": None}, "parameters.width: {distribution: constant, value: 64} was rem"),
}  # fmt: skip
BEGUN = {**SMALL, "parameters": {**SMALL["parameters"], "width": {"value": 64}}}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A stopped sweep of two trials, to be copied by each test of a changed file."""
    return tmp_path_factory.mktemp("begun") / "work"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_parameter_is_refused_on_resume_and_nothing_is_written(
    workplace, sweep, begun, change
):
    if not begun.exists():
        sweep(BEGUN, "--count", "2", *QUICK)
        shutil.copytree(workplace.path / "runs", begun)
    shutil.copytree(begun, workplace.path / "runs", dirs_exist_ok=True)
    changed = copy.deepcopy(BEGUN)
    parameters, sentence = CHANGES[change]
    changed["parameters"].update(parameters)
    changed["parameters"] = {n: each for n, each in changed["parameters"].items() if each}
    with unchanged(workplace.path / "runs"):
        done = sweep(changed, "--resume", "--count", "4", status=2)
    assert done.stderr.startswith(f"small.yaml: {sentence}")
    assert len(done.stderr.splitlines()) == 1
    sweep(BEGUN, "--resume", "--count", "3")
    assert len(folder(workplace).table) == 3


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"metric": {"name": "val/accuracy"}}, "metric: {name: val/loss, goal: minimize}"),
        ({"metric": {"name": "val/loss", "target": 0.1}}, "metric: {name: val/loss, goal: min"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1}}, "early_terminate: {type: hyp"),
        ({"command": ["${program}", "epochs=3", "${args_no_hyphens}"]}, "command: ['${program}'"),
    ],
)
def test_every_other_change_is_refused_on_resume_too(workplace, sweep, change, sentence):
    sweep(SMALL, "--count", "1", *QUICK)
    done = sweep({**SMALL, **change}, "--resume", status=2)
    assert done.stderr.splitlines()[-1].startswith(f"small.yaml: {sentence}")


def test_a_file_that_says_the_same_in_other_words_is_accepted(workplace, sweep):
    plain = {"lr": {"min": 0.01, "max": 0.5}, "depth": {"value": 1}}
    spelled = {
        "depth": {"distribution": "constant", "value": 1},
        "lr": {"distribution": "uniform", "max": 0.5, "min": 0.01},
    }
    sweep({**SMALL, "parameters": plain, "run_cap": 1}, *QUICK)
    sweep({**SMALL, "parameters": spelled, "run_cap": 2}, "--resume")
    assert len(folder(workplace).table) == 2


@pytest.mark.sampled(1)
@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_a_study_with_a_trial_that_cannot_be_completed_marks_it_failed(workplace, sweep, method):
    content = {**GRID, "method": method}
    sweep(content, "--count", "2", *QUICK)
    swept = folder(workplace)
    poisoned = study(swept).ask()
    poisoned.suggest_float("depth", 1.0, 2.0)  # from a file with another parameter
    sweep(content, "--resume", "--count", "3")
    assert [row["lr"] for row in swept.table] == ["0.05", "0.1", "0.2"] or method != "grid"
    assert [int(row["number"]) for row in swept.table] == [0, 1, 3]
    assert {row["state"] for row in swept.table} == {"finished"}
    assert study(swept).trials[2].user_attrs["status"] == "failed"


def test_a_grid_is_complete_when_each_point_has_a_result(workplace, sweep):
    swept = folder(workplace)
    obstacle = swept.path / "trials/0001"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("no directory can be made here")
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(GRID))
    words = ["--workers", "1", *QUICK]
    done = workplace.run(SWEEP, "small.yaml", "--storage", "own.log", *words)
    assert done.returncode == 1, done.stderr
    assert "1 of 3 trials failed:\n" in done.stdout
    assert "File exists" in done.stdout
    assert "Every point of the grid has been tried" not in done.stdout
    assert [row["state"] for row in swept.table] == ["finished", "failed", "finished"]
    again = workplace.run(SWEEP, "small.yaml", "--storage", "own.log", *words)
    assert again.returncode == 1
    obstacle.unlink()
    done = workplace.run(SWEEP, "small.yaml", "--storage", "own.log", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every point of the grid has been tried." in done.stdout
    assert [row["state"] for row in swept.table] == ["finished"] * 3
    assert [row["lr"] for row in swept.table] == ["0.05", "0.1", "0.2"]


def test_a_trial_fails_three_times_at_most(workplace, sweep):
    sweep(GRID, "--count", "1", *QUICK)
    swept = folder(workplace)
    obstacle = swept.path / "trials/0001"
    obstacle.write_text("no directory can be made here")
    for attempt in range(3):
        done = sweep(GRID, "--resume", status=1)
        assert ("--resume retries 1 of them." in done.stdout) == (attempt < 2)
    obstacle.unlink()
    done = sweep(GRID, "--resume", status=1)
    assert [row["state"] for row in swept.table] == ["finished", "failed", "finished"]
    assert "1 of 3 trials failed:" in done.stdout


def test_a_sweep_whose_disk_is_full_stops_and_is_resumed(workplace, sweep):
    sweep(SMALL, "--count", "1", *QUICK)
    trials = folder(workplace).path / "trials"
    for number in range(1, 8):
        (trials / f"{number:04}").write_text("no directory can be made here")
    done = sweep(SMALL, "--resume", "--count", "8", "--workers", "1", status=1)
    assert "The first 3 trials all failed: " in done.stderr
    assert "Traceback" not in done.stderr
    for number in range(1, 8):
        (trials / f"{number:04}").unlink()
    sweep(SMALL, "--resume", "--count", "8")
    assert [row["state"] for row in folder(workplace).table] == ["finished"] * 8


def results(swept):
    """Return the table without timings, which differ for a trial that was evaluated again."""
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in swept.table
    ]


def forget(swept, damage):
    """Damage the study of a sweep in one of several ways."""
    log = swept.path / "study.log"
    content = log.read_bytes()
    if damage == "missing":
        log.unlink()
    elif damage == "cut":
        log.write_bytes(content[: len(content) // 2])
    elif damage == "beheaded":
        log.write_bytes(content[content.index(b"\n") + 1 :])
    elif damage == "empty":
        log.write_bytes(b"")
    else:
        log.write_bytes(content[: len(content) // 2] + b"\nnot a log\n" + content[-300:])


@pytest.mark.sampled(3)
@pytest.mark.parametrize("damage", ["missing", "cut", "beheaded", "empty", "garbage"])
@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_a_lost_study_is_restored_from_the_directories_of_its_trials(
    workplace, sweep, damage, method
):
    lr = {"values": [0.05, 0.1, 0.2, 0.3]} if method == "grid" else {"min": 0.01, "max": 0.5}
    content = {**SMALL, "method": method, "parameters": {"lr": lr, "model.hidden": {
        "values": [[16, 8]]}, "optimizer": {"values": ["sgd"]}}}  # fmt: skip
    words = ["--workers", "1", *QUICK]
    sweep(content, "--count", "4", *words, "--name", "whole")
    sweep(content, "--count", "3", *words)
    swept, whole = folder(workplace), folder(workplace, "whole")
    before = results(swept)
    written = {run.path: (run.path / "history.jsonl").read_bytes() for run in swept.trials}
    forget(swept, damage)
    done = sweep(content, "--resume", "--count", "4", "--workers", "1")
    assert "restored from" in done.stderr
    assert results(swept)[:3] == before
    assert [row["state"] for row in swept.table] == ["finished"] * 4
    assert [row["lr"] for row in swept.table] == [row["lr"] for row in whole.table]
    for path, history in written.items():
        assert (path / "history.jsonl").read_bytes() == history  # including times
    if damage == "garbage":
        assert (swept.path / "study.log.damaged").exists()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("num_params", [0, 1, 2])
def test_a_trial_whose_parameters_the_study_has_lost_has_those_of_its_directory(
    workplace, sweep, num_params
):
    content = {**SMALL, "method": "bayes"}
    words = ["--count", "4", "--workers", "1"]
    sweep(content, *words, "--sampler", "tpe", *QUICK)  # proposes different points when resumed
    swept = folder(workplace)
    before = results(swept)
    lines = (swept.path / "study.log").read_text().splitlines(keepends=True)
    begun = [number for number, line in enumerate(lines) if '"op_code":4' in line]
    (swept.path / "study.log").write_text("".join(lines[: begun[2] + 1 + num_params]))
    sweep(content, "--resume", *words)
    assert results(swept) == before
    assert [row["state"] for row in swept.table] == ["finished"] * 4


def test_a_study_of_another_sweep_is_refused_before_anything_is_added_to_it(workplace, sweep):
    other = {**SMALL, "parameters": {"width": {"values": [8, 16]}}}
    sweep(other, "--count", "1", "--name", "other", *QUICK)
    sweep(SMALL, "--count", "2", *QUICK)
    swept = folder(workplace)
    shutil.copy(folder(workplace, "other").path / "study.log", swept.path)
    with unchanged(swept.path):
        done = sweep(SMALL, "--resume", status=2)
    assert "the parameters of trial 0 differ from those of the sweep file" in done.stderr


def test_a_trial_that_was_running_when_the_study_was_lost_continues(workplace, sweep):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    words = ["--count", "2", "--workers", "1", "epochs=400", "tracking=disabled"]
    words += ["checkpoint_every=0"]
    process = workplace.start(SWEEP, "small.yaml", *words)
    swept = folder(workplace)
    first = swept.path / "trials/0000"
    wait_until(lambda: count_epochs(first) >= 20)
    process.terminate()
    process.communicate(timeout=60)
    history = Run(first).history
    (swept.path / "study.log").unlink()
    sweep(SMALL, "--resume", *words)
    assert [row["state"] for row in swept.table] == ["finished"] * 2
    assert Run(first).history[: len(history)] == history


def test_a_directory_of_another_sweep_is_not_mistaken_for_a_trial(workplace, sweep):
    sweep(GRID, "--count", "1", *QUICK)
    swept = folder(workplace)
    shutil.copytree(swept.path / "trials/0000", swept.path / "trials/0007")
    record = json.loads((swept.path / "trials/0007/trial.json").read_text())
    assert record == {"number": 0, "parameters": {"lr": 0.05}}
    done = sweep({**GRID, "run_cap": 3}, "--resume")
    assert [row["lr"] for row in swept.table] == ["0.05", "0.1", "0.2"], done.stdout


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("content", "words", "most"),
    [
        (SMALL, ["--workers", "60", "--count", "1"], 1),
        ({**GRID, "run_cap": 60}, ["--workers", "60"], 3),
        (SMALL, ["--workers", "3", "--count", "9"], 3),
    ],
)
def test_no_more_workers_start_than_there_are_trials(workplace, content, words, most):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(content))
    process = workplace.start(SWEEP, "small.yaml", *words, *QUICK)
    seen = set()
    while process.poll() is None:
        seen |= set(children(process))
        time.sleep(0.01)
    out, errors = process.communicate()
    assert process.returncode == 0, out + errors
    assert len(seen) == most
    done = workplace.start(SWEEP, "small.yaml", *words, *QUICK, "--resume")
    while done.poll() is None:
        assert not children(done)
        time.sleep(0.01)
    assert done.communicate()[0].count(" finished ") >= most
