"""A refused command writes nothing, whatever existed before."""

from __future__ import annotations

import csv
import fcntl
import json
import math
import os
import random
import shutil

import pytest
import yaml

from nn.config.compose import compose_config
from nn.runs import checkpoint
from nn.runs.runner import run
from nn.runs.training_state import Snapshot
from tests.conftest import (
    PREDICT_SCRIPT,
    REPORT_SCRIPT,
    SWEEP_SCRIPT,
    TRAIN_SCRIPT,
    UPLOAD_SCRIPT,
    RunDir,
)
from tests.directory_snapshot import assert_unchanged
from tests.fake_wandb import FakeWandbServer
from tests.report.factories import make_sweep

OVERRIDES = ["tracking=disabled", "dataset=csv", "dataset.train=data.csv", "model.hidden=[4]"]
OVERRIDES += ["epochs=2", "restore_best=true"]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A directory with a file of samples and a finished run trained on it."""
    folder = tmp_path_factory.mktemp("finished")
    rng = random.Random(0)
    with (folder / "data.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", *(f"pixel{number}" for number in range(9))])
        for number in range(90):
            rows.writerow([number % 3, *(rng.randrange(256) for _ in range(9))])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(compose_config(OVERRIDES), folder / "run")
    # as in a run copied without its hidden files: a command that only reads must not create one
    (folder / "run/.lock").unlink()
    return folder


@pytest.fixture
def workdir_with_run(workdir, finished_run):
    shutil.copytree(finished_run, workdir.path, dirs_exist_ok=True)
    return workdir


def check_refused(workdir, args, message, **environment):
    """Check that a command is refused in one sentence and changes nothing."""
    with assert_unchanged(workdir.path):
        result = workdir.run(*args, **environment)
    assert (result.returncode, result.stdout) == (2, ""), result.stdout + result.stderr
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def replace_text(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def replace_by_link(name):
    def change(folder):
        (folder / name).rename(folder / "elsewhere")
        (folder / name).symlink_to(folder / "elsewhere")

    return change


def replace_by_link_loop(name):
    def change(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to((folder / name).name)

    return change


def replace_by_folder(name):
    def change(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return change


def replace_by_pipe(name):
    def change(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def edit_checkpoint(**changes):
    def change(folder):
        file = folder / "run/checkpoints/last.safetensors"
        snapshot = checkpoint.load(file)
        checkpoint.save(file, Snapshot(snapshot.arrays, snapshot.metadata | changes))

    return change


def drop_one_weight(folder):
    file = folder / "run/checkpoints/last.safetensors"
    snapshot = checkpoint.load(file)
    snapshot.arrays.pop(next(iter(snapshot.arrays)))
    checkpoint.save(file, snapshot)


def write_newer_checkpoint(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 9)
        checkpoint.save(
            folder / "run/checkpoints/last.safetensors",
            checkpoint.Snapshot({}, {}),
        )


def torn_history_and_edited_data(folder):
    with (folder / "run/history.jsonl").open("a") as file:
        file.write('{"epoch": 3')
    replace_text("data.csv", "\n0,", "\n1,")(folder)


def damaged_checkpoints_and_edited_data(folder):
    for file in (folder / "run/checkpoints").iterdir():
        os.truncate(file, 100)
    replace_text("data.csv", "\n0,", "\n1,")(folder)


def remove_setting(key):
    def change(folder):
        file = folder / "run/config.yaml"
        config = yaml.safe_load(file.read_text())
        del config[key]
        file.write_text(yaml.safe_dump(config))

    return change


def resize_file(name, size):
    def change(folder):
        os.truncate(folder / name, size)

    return change


def format_version(name, version):
    """Pretend that another version of the program has written a run directory."""

    def change(folder):
        content = json.loads((folder / name).read_text())
        del content["format_version"]
        named = {} if version is None else {"format_version": version}
        (folder / name).write_text(json.dumps(named | content))

    return change


DAMAGE = {
    "edited data": (replace_text("data.csv", "\n0,", "\n1,"), "the dataset is not the one"),
    "no data": (lambda folder: (folder / "data.csv").unlink(), "data.csv"),
    "unreadable data": (replace_text("data.csv", "\n0,", "\nzero,"), "data.csv"),
    "torn and edited": (torn_history_and_edited_data, "the dataset is not the one"),
    "damaged and edited": (damaged_checkpoints_and_edited_data, "the dataset is not the one"),
    "another lr": (replace_text("run/config.yaml", "lr: ", "lr: 1"), "lr in config.yaml differs"),
    "an impossible lr": (
        replace_text("run/config.yaml", "lr: ", "lr: -"),
        "lr must be a number above 0",
    ),
    "a foreign class": (
        replace_text("run/config.yaml", "nn.models.MLP", "os.system"),
        "os is not trusted to run",
    ),
    "no YAML": (replace_text("run/config.yaml", "lr: ", "lr: ["), "config.yaml is damaged"),
    "a setting too few": (remove_setting("profile"), "profile is missing"),
    "a setting too many": (
        replace_text("run/config.yaml", "lr: ", "lrs: 1\nlr: "),
        "lrs is not a setting",
    ),
    "a linked config": (replace_by_link("run/config.yaml"), "is a symbolic link"),
    "a config that leads to itself": (
        replace_by_link_loop("run/config.yaml"),
        "is a symbolic link",
    ),
    "a huge config": (resize_file("run/config.yaml", 2**21), "bytes"),
    "a newer checkpoint": (write_newer_checkpoint, "has format version 9"),
    "a linked checkpoint": (
        replace_by_link("run/checkpoints/last.safetensors"),
        "is a symbolic link",
    ),
    "a folder for a checkpoint": (
        replace_by_folder("run/checkpoints/last.safetensors"),
        "is not a regular file",
    ),
    "a file for checkpoints": (
        lambda folder: (
            shutil.rmtree(folder / "run/checkpoints"),
            (folder / "run/checkpoints").write_text(""),
        ),
        "cannot be read",
    ),
    "nonsense facts": (edit_checkpoint(rngs=1), "its metadata is not that of a training"),
    "another dataset's facts": (edit_checkpoint(dataset_sha256="?"), "the dataset is not the one"),
    "another model's weights": (drop_one_weight, "is in this model but not in that"),
    "a linked history": (replace_by_link("run/history.jsonl"), "is a symbolic link"),
    "a folder for the history": (replace_by_folder("run/history.jsonl"), "is not a regular file"),
    "a pipe for the history": (replace_by_pipe("run/history.jsonl"), "is not a regular file"),
    "a huge history": (resize_file("run/history.jsonl", 2**30 + 1), "bytes"),
    "a linked summary": (replace_by_link("run/summary.json"), "is a symbolic link"),
    "a summary that leads to itself": (
        replace_by_link_loop("run/summary.json"),
        "is a symbolic link",
    ),
    "a folder for the summary": (replace_by_folder("run/summary.json"), "is not a regular file"),
    "a linked environment": (replace_by_link("run/environment.json"), "is a symbolic link"),
    "a folder for predictions": (
        replace_by_folder("run/predictions.safetensors"),
        "is a directory",
    ),
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", DAMAGE)
def test_refused_resume_leaves_the_run_unchanged(workdir_with_run, name):
    damage, message = DAMAGE[name]
    damage(workdir_with_run.path)
    check_refused(workdir_with_run, [TRAIN_SCRIPT, "resume=run", "epochs=5"], message)


READERS = {
    "resume": [TRAIN_SCRIPT, "resume=run", "epochs=5"],
    "reproduce": [TRAIN_SCRIPT, "reproduce=run", "tracking=disabled"],
    "init_from": [TRAIN_SCRIPT, *OVERRIDES, "init_from=run", "hydra.run.dir=new"],
    "predict": [PREDICT_SCRIPT, "run", "data.csv", "--output", "new.csv"],
    "report": [REPORT_SCRIPT, "run"],
    "comparison": [REPORT_SCRIPT, "second", "run", "--output", "new.html"],
    "W&B report": [REPORT_SCRIPT, "run", "--wandb", "a/b"],
    "upload": [UPLOAD_SCRIPT, "second", "run"],
}


@pytest.mark.parametrize("reader", READERS)
def test_run_of_another_version_is_refused_by_every_command(workdir_with_run, reader):
    copy_run(workdir_with_run)
    format_version("run/environment.json", None)(workdir_with_run.path)
    message = "run has no format version; this program reads format version 2."
    with FakeWandbServer() as server:
        check_refused(workdir_with_run, READERS[reader], message, **server.environment)
        assert server.requests == []


@pytest.mark.parametrize(
    ("version", "named"), [(1, "1"), (3, "3"), (2.0, "2.0"), (True, "true"), ("2\n", '"2\\n"')]
)
def test_run_of_another_version_is_refused_naming_both_versions(workdir_with_run, version, named):
    format_version("run/environment.json", version)(workdir_with_run.path)
    message = f"run has format version {named}; this program reads format version 2."
    check_refused(workdir_with_run, [TRAIN_SCRIPT, "resume=run", "epochs=5"], message)


def test_run_without_its_environment_is_refused(workdir_with_run):
    (workdir_with_run.path / "run/environment.json").unlink()
    check_refused(
        workdir_with_run, [TRAIN_SCRIPT, "resume=run", "epochs=5"], "run has no format version"
    )


def test_report_of_a_folder_omits_runs_of_another_version(workdir_with_run):
    copy_run(workdir_with_run)
    format_version("second/environment.json", None)(workdir_with_run.path)
    result = workdir_with_run.run(REPORT_SCRIPT, ".", "--output", "index.html")
    assert result.returncode == 0, result.stderr
    page = (workdir_with_run.path / "index.html").read_text()
    assert page.count("second has no format version; this program reads format version 2.") == 1


@pytest.mark.parametrize("mode", ["run.dir", "sweep.dir"])
@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_run_directory_below_a_dangling_link_is_refused(workdir, mode, target):
    (workdir.path / "link").symlink_to(target)
    several = ["--multirun", "lr=0.1,0.2"] if mode == "sweep.dir" else []
    args = [TRAIN_SCRIPT, *several, f"hydra.{mode}=link/run", "epochs=1"]
    check_refused(
        workdir,
        args,
        f"hydra.{mode}=link/run: link is a broken symbolic link; choose another directory.",
    )


@pytest.mark.parametrize(
    "args", [[REPORT_SCRIPT, "run"], [UPLOAD_SCRIPT, "run"], [PREDICT_SCRIPT, "run", "data.csv"]]
)
def test_run_with_a_link_loop_is_refused(workdir_with_run, args):
    replace_by_link_loop("run/summary.json")(workdir_with_run.path)
    check_refused(workdir_with_run, args, "run/summary.json is a symbolic link")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "args",
    ["epochs=1", "epochs=0", "epochs=5 lr=0.1", "epochs=5 tracking=no", "epochs=5 tracking=online"],
)
def test_invalid_resume_arguments_leave_the_run_unchanged(workdir_with_run, args):
    check_refused(
        workdir_with_run,
        [TRAIN_SCRIPT, "resume=run", *args.split()],
        args.split()[-1].partition("=")[0],
    )


def test_resume_of_a_locked_run_is_refused(workdir_with_run):
    with (workdir_with_run.path / "run/.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        check_refused(
            workdir_with_run,
            [TRAIN_SCRIPT, "resume=run", "epochs=5"],
            "another process is training",
        )
        check_refused(workdir_with_run, [UPLOAD_SCRIPT, "run"], "another process is training")


def test_resume_without_its_init_from_run_is_refused(workdir_with_run):
    args = [word for word in OVERRIDES if word != "tracking=disabled"]
    result = workdir_with_run.train(*args, "init_from=run", "hydra.run.dir=second")
    assert result.returncode == 0, result.stderr
    shutil.rmtree(workdir_with_run.path / "run/checkpoints")
    check_refused(
        workdir_with_run,
        [TRAIN_SCRIPT, "resume=second", "epochs=5"],
        "init_from=run: run: there is no checkpoint",
    )


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("damage", "args", "message"),
    [
        (replace_text("data.csv", "\n0,", "\n1,"), [], "the dataset is not the one"),
        (write_newer_checkpoint, [], "has format version 9"),
        (edit_checkpoint(rngs=1), [], "its metadata is not that of a training"),
        (replace_by_folder("run/summary.json"), [], "is a directory"),
        (replace_text("run/config.yaml", "lr: ", "lr: ["), [], "config.yaml is damaged"),
        (lambda _: None, ["lr=0.2"], "lr differs from"),
        (lambda _: None, ["lr=-1"], "lr=-1: lr must be a number above 0"),
        (lambda _: None, ["epochs=0"], "epochs=0: epochs must be a whole number, at least 1"),
        (replace_by_link("run/environment.json"), [], "is a symbolic link"),
        (lambda _: None, ["learning_rate=1"], "did you mean lr?"),
        (
            format_version("run/environment.json", None),
            [],
            "runs/s/r has no format version; this program reads format version 2.",
        ),
    ],
)
def test_refused_agent_run_is_left_unchanged(workdir_with_run, damage, args, message):
    damage(workdir_with_run.path)
    (workdir_with_run.path / "runs/s").mkdir(parents=True)
    (workdir_with_run.path / "run").rename(workdir_with_run.path / "runs/s/r")
    for file in workdir_with_run.path.rglob("*"):
        if file.is_symlink():  # the link must still lead to the same place
            target = file.readlink()
            file.unlink()
            file.symlink_to(target)
    agent = {"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r", "WANDB_MODE": "disabled"}
    check_refused(workdir_with_run, [TRAIN_SCRIPT, *OVERRIDES[1:], *args], message, **agent)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replace_by_link("run/history.jsonl"), "is a symbolic link"),
        (replace_by_link("run/summary.json"), "is a symbolic link"),
        (replace_by_link("run/environment.json"), "is a symbolic link"),
        (lambda folder: (folder / "data.csv").unlink(), "data.csv"),
    ],
)
def test_incomparable_run_is_not_reproduced(workdir_with_run, damage, message):
    damage(workdir_with_run.path)
    check_refused(workdir_with_run, [TRAIN_SCRIPT, "reproduce=run", "tracking=disabled"], message)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("hydra.run.dir=run", "the directory already contains a run"),
        ("hydra.run.dir=data.csv", "nothing can be written there"),
        ("init_from=run model.hidden=[5] hydra.run.dir=new", "init_from=run: its dense1"),
        ("init_from=data.csv hydra.run.dir=new", "init_from=data.csv: "),
        ("--multirun seed=1,2 hydra.sweep.dir=run", "the directory already contains a run"),
        ("--multirun seed=1,2 hydra.sweep.dir=.", "the directory already contains a run"),
        (
            "--multirun seed=1,2 hydra.sweep.dir=.. hydra.sweep.subdir=work/${name.${seed}}",
            "hydra.sweep.subdir",
        ),
        (
            "--multirun seed=1,2 hydra.sweep.dir=new hydra.sweep.subdir=../run",
            "run already contains a run; choose another hydra.sweep.dir.",
        ),
        (
            "--multirun seed=1,2 hydra.sweep.dir=new hydra.sweep.subdir=a/b",
            "new/a/b: hydra.sweep.subdir gives two jobs this directory.",
        ),
        ("--multirun seed=1,2 optimizer=sgd,adm hydra.sweep.dir=new", "did you mean adam?"),
    ],
)
def test_refused_training_leaves_existing_runs_unchanged(workdir_with_run, args, message):
    check_refused(workdir_with_run, [TRAIN_SCRIPT, *OVERRIDES, *args.split()], message)


def copy_run(workdir_with_run):
    shutil.copytree(workdir_with_run.path / "run", workdir_with_run.path / "second")
    return workdir_with_run.path / "second"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replace_by_link("second/predictions.safetensors"), "is a symbolic link"),
        (resize_file("second/predictions.safetensors", 99), "predictions.safetensors is damaged"),
        (replace_by_link("second/history.jsonl"), "is a symbolic link"),
        (replace_by_folder("second/.lock"), "second/.lock cannot be opened: Is a directory."),
        (resize_file("second/summary.json", 2**27), "bytes"),
        (replace_text("second/config.yaml", "lr: ", "lr: ["), "config.yaml is damaged"),
        (
            replace_text("second/config.yaml", "num_examples: 16", "num_examples: 1000"),
            "num_examples",
        ),
    ],
)
def test_upload_refuses_all_runs_if_one_is_invalid(workdir_with_run, damage, message):
    copy_run(workdir_with_run)
    damage(workdir_with_run.path)
    with FakeWandbServer() as server:
        check_refused(
            workdir_with_run, [UPLOAD_SCRIPT, "run", "second"], message, **server.environment
        )
        assert server.requests == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("damage", "args", "message"),
    [
        (
            lambda _: None,
            "run --png-dir pictures --top-runs 2",
            "--top-runs: requires a single sweep",
        ),
        (lambda _: None, "run --png-dir pictures --output mine.html", "mine.html: not a generated"),
        (
            lambda _: None,
            "run --png-dir pictures --output no/page.html",
            "no/page.html: nothing can",
        ),
        (lambda _: None, "run --png-dir mine.html/pictures", "nothing can be written there"),
        (
            replace_by_folder("curves.png"),
            "run --png-dir .",
            "curves.png: nothing can be written there",
        ),
        (
            replace_by_folder("confusion.png"),
            "run --png-dir .",
            "confusion.png: nothing can be written",
        ),
        (replace_by_folder("run/report.html"), "run", "report.html: nothing can be written there"),
        (lambda _: None, ". --png-dir pictures", "--png-dir: requires a run, a sweep or"),
        (lambda _: None, "run --csv t.csv --latex no/t.tex", "no/t.tex"),
        (replace_by_link("second/history.jsonl"), "run second", "is a symbolic link"),
        (
            replace_text("second/config.yaml", "lr: ", "lr: ["),
            "second --png-dir new/pictures",
            "is damaged",
        ),
        (lambda _: None, "run --wandb a/b --output mine.html", "mine.html: not a generated"),
        (lambda _: None, "run --wandb a/b --top-runs 2", "--top-runs: requires a single sweep"),
        (lambda _: None, "run --wandb a", "--wandb a: write ENTITY/PROJECT"),
        (
            lambda folder: (folder / "run/wandb-report.json").symlink_to(folder / "mine.html"),
            "run --wandb a/b",
            "is a symbolic link",
        ),
    ],
)
def test_refused_report_writes_nothing(workdir_with_run, damage, args, message):
    copy_run(workdir_with_run)
    (workdir_with_run.path / "mine.html").write_text("<p>my own page")
    damage(workdir_with_run.path)
    with FakeWandbServer() as server:
        check_refused(
            workdir_with_run, [REPORT_SCRIPT, *args.split()], message, **server.environment
        )
        assert server.requests == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replace_by_link("s/trials/0001/summary.json"), "is a symbolic link"),
        (
            lambda folder: (folder / "s/trials/0001/report.html").write_text("mine"),
            "not a generated report",
        ),
        (replace_by_folder("s/trials/0001/report.html"), "nothing can be written there"),
    ],
)
def test_sweep_pages_are_written_together_or_not_at_all(workdir_with_run, damage, message):
    make_sweep(workdir_with_run.path / "s", 3)
    for number in range(3):
        trial = workdir_with_run.path / f"s/trials/{number:04}"
        for name in ("config.yaml", "environment.json"):
            shutil.copy(workdir_with_run.path / "run" / name, trial)
    damage(workdir_with_run.path)
    check_refused(workdir_with_run, [REPORT_SCRIPT, "s", "--top-runs", "3"], message)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--output out.csv --figure out.csv", "the image is a PNG"),
        ("--output out.png --figure out.png", "two outputs cannot be the same file"),
        ("--output data.csv", "is an input or part of the run"),
        ("--output data.csv --overwrite", "is an input or part of the run"),
        ("--output run/history.jsonl --overwrite", "is an input or part of the run"),
        ("--output run/checkpoints/x --overwrite", "is an input or part of the run"),
        ("--output mine.csv", "already exists; --overwrite replaces it"),
        ("--output new.csv --figure mine.png", "mine.png already exists"),
        ("--output new.csv --figure new.png --first 99", "there are 90 samples"),
        ("--output new.csv --labels mine.csv", "already contains labels"),
        ("--output new.csv --figure no/new.png", "no/new.png: nothing can be written there"),
        ("--output run", "is a directory"),
        ("--output new.csv --invert yes", "only images"),
        ("--output new.csv --trust x", None),
    ],
)
def test_refused_predictions_are_not_written(workdir_with_run, args, message):
    for name in ("mine.csv", "mine.png"):
        (workdir_with_run.path / name).write_text("mine")
    command = [PREDICT_SCRIPT, "run", "data.csv", *args.split()]
    if message:
        check_refused(workdir_with_run, command, message)
        return
    replace_text("run/config.yaml", "nn.models.MLP", "os.system")(workdir_with_run.path)
    check_refused(workdir_with_run, command, "os is not trusted to run")


@pytest.mark.parametrize(
    "damage",
    [
        write_newer_checkpoint,
        replace_by_link("run/checkpoints/best.safetensors"),
        resize_file("run/checkpoints/best.safetensors", 99),
        lambda folder: (folder / "run/checkpoints/best.safetensors").unlink(),
        replace_text("run/config.yaml", "hidden:\n  - 4", "hidden:\n  - 5"),
    ],
)
def test_failed_prediction_writes_nothing(workdir_with_run, damage):
    if damage is write_newer_checkpoint:
        shutil.rmtree(workdir_with_run.path / "run/checkpoints")
        (workdir_with_run.path / "run/checkpoints").mkdir()
    damage(workdir_with_run.path)
    check_refused(workdir_with_run, [PREDICT_SCRIPT, "run", "data.csv", "--output", "new.csv"], "")


SMALL_SWEEP = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"min": 0.01, "max": 0.5}},
}


@pytest.fixture(scope="module")
def sweep_workdir(tmp_path_factory):
    """A directory with a finished sweep of one trial."""
    from tests.conftest import WorkingDirectory

    workdir = WorkingDirectory(tmp_path_factory.mktemp("sweep_workdir") / "work")
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SMALL_SWEEP))
    args = ["--count", "1", "--workers", "1", "epochs=1", "tracking=disabled"]
    result = workdir.run(SWEEP_SCRIPT, "small.yaml", *args)
    assert result.returncode == 0, result.stderr
    return workdir.path


@pytest.mark.parametrize(
    ("change", "args", "message"),
    [
        ({}, "", "exists; --resume continues that sweep"),
        ({}, "--resume --seed 5", "--seed=5: this sweep was started with 0"),
        ({}, "--resume --sampler tpe", "--sampler=tpe"),
        ({}, "--name new --warm-start small", "--warm-start: this option requires method: bayes"),
        (
            {"method": "bayes"},
            "--name new --warm-start small --sampler tpe",
            "--sampler=tpe cannot learn from earlier sweeps",
        ),
        (
            {"method": "bayes"},
            "--name new --warm-start none",
            "--warm-start=runs/sweeps/none: this is not a directory; name that of a sweep or of",
        ),
        (
            {},
            "--resume epochs=9",
            "epochs=9: the earlier trial had epochs=1, and only parameters are recorded with each "
            "trial; write epochs: {value: 9} under parameters in small.yaml.",
        ),
        ({}, "--resume --name other", "there is no sweep to resume"),
        ({"metric": {"name": "val/los"}}, "--resume", "metric"),
        ({"parameters": {}}, "--resume", "there must be at least one parameter"),
        ({}, "--resume --storage mysql://a@b/c", "write postgresql://USER@HOST"),
        ({}, "--resume --storage no/study.log", "a study cannot be stored there"),
        ({}, "--name new lr=0.1", "this is a parameter of the sweep"),
        ({}, "--name new epochs=0", "epochs must be a whole number"),
    ],
)
def test_refused_sweep_leaves_the_existing_one_unchanged(
    workdir, sweep_workdir, change, args, message
):
    shutil.copytree(sweep_workdir, workdir.path, dirs_exist_ok=True)
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SMALL_SWEEP | change))
    check_refused(workdir, [SWEEP_SCRIPT, "small.yaml", *args.split()], message)


def write_settings(**changes):
    """Write sweep settings that no sweep was started with."""
    content = {"format_version": 3, "seed": 0, "sampler": None, "overrides": []} | changes
    return lambda sweep: (sweep / "settings.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda sweep: (sweep / "settings.json").unlink(), "settings.json is damaged"),
        (lambda sweep: (sweep / "settings.json").write_text("{"), "settings.json is damaged"),
        (lambda sweep: (sweep / "sweep.yaml").write_text("a: ["), "sweep.yaml"),
        (lambda sweep: (sweep / "sweep.yaml").unlink(), "small/sweep.yaml is missing"),
        (write_settings(seed=math.inf), "settings.json is damaged"),
        (write_settings(seed=-1), "settings.json is damaged"),
        (write_settings(sampler=[]), "settings.json is damaged"),
        (
            write_settings(overrides="epochs=1"),
            'contained {"format_version": 3, "seed": 0, "sampler": null, "overrides": [], '
            '"config_dir": null, "warm_start": [], "replicates": 1, "racing": true, '
            '"scheduler": null, "constants": {}, ',
        ),
        (lambda sweep: (sweep / "settings.json").write_text("[" * 99_999), "settings.json is dam"),
    ],
)
def test_refused_damaged_sweep_is_left_unchanged(workdir, sweep_workdir, damage, message):
    shutil.copytree(sweep_workdir, workdir.path, dirs_exist_ok=True)
    damage(workdir.path / "runs/sweeps/small")
    check_refused(workdir, [SWEEP_SCRIPT, "small.yaml", "--resume"], message)


@pytest.mark.parametrize(
    "args",
    [
        [SWEEP_SCRIPT, "small.yaml", "--resume"],
        [REPORT_SCRIPT, "runs/sweeps/small"],
        [REPORT_SCRIPT, "runs/sweeps/small", "--png-dir", "new"],
        [REPORT_SCRIPT, "runs/sweeps/small", "--wandb", "a/b"],
    ],
)
@pytest.mark.parametrize(
    ("version", "named"), [(None, "no format version"), (1, "format version 1")]
)
def test_sweep_of_another_version_is_refused_by_every_command(
    workdir, sweep_workdir, args, version, named
):
    shutil.copytree(sweep_workdir, workdir.path, dirs_exist_ok=True)
    format_version("settings.json", version)(workdir.path / "runs/sweeps/small")
    message = f"runs/sweeps/small has {named}; this program reads format version 2 or 3."
    with FakeWandbServer() as server:
        check_refused(workdir, args, message, **server.environment)
        assert server.requests == []


def test_version_mismatch_is_reported_before_changes_of_the_file(workdir, sweep_workdir):
    shutil.copytree(sweep_workdir, workdir.path, dirs_exist_ok=True)
    format_version("settings.json", None)(workdir.path / "runs/sweeps/small")
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SMALL_SWEEP | {"method": "bayes"}))
    message = "runs/sweeps/small has no format version"
    check_refused(workdir, [SWEEP_SCRIPT, "small.yaml", "--resume"], message)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("content", ["a note", '{"seed": 0}', '{"epoch": 1}\n', "\0\0", None])
def test_unrelated_file_is_not_used_as_a_shared_study(workdir, sweep_workdir, content):
    shutil.copytree(sweep_workdir, workdir.path, dirs_exist_ok=True)
    file = workdir.path / "notes"
    if content is None:
        os.mkfifo(file)
    else:
        file.write_text(content)
    args = ["--storage", "notes", "--output", "new", "--count", "1", "epochs=1"]
    check_refused(workdir, [SWEEP_SCRIPT, "small.yaml", *args], "notes is not a study file")


def test_locked_sweep_is_not_resumed(workdir, sweep_workdir):
    shutil.copytree(sweep_workdir, workdir.path, dirs_exist_ok=True)
    with (workdir.path / "runs/sweeps/small/.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        check_refused(
            workdir, [SWEEP_SCRIPT, "small.yaml", "--resume"], "another process is running"
        )


def test_finished_run_can_be_extended(workdir_with_run):
    result = workdir_with_run.run(TRAIN_SCRIPT, "resume=run", "epochs=3")
    assert result.returncode == 0, result.stderr
    assert RunDir(workdir_with_run.path / "run").summary["epochs"] == 3
    config = json.loads(
        json.dumps(yaml.safe_load((workdir_with_run.path / "run/config.yaml").read_text()))
    )
    assert config["epochs"] == 3
