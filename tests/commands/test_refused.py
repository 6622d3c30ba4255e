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
from tests.conftest import ROOT, Run
from tests.loopback import Loopback
from tests.report.made import made_sweep
from tests.unchanged import unchanged

TRAIN, REPORT, PREDICT, UPLOAD, SWEEP = (
    str(ROOT / f"scripts/{name}.py") for name in ("train", "report", "predict", "upload", "sweep")
)
WORDS = ["tracking=disabled", "dataset=csv", "dataset.train=data.csv", "model.hidden=[4]"]
WORDS += ["epochs=2", "restore_best=true"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A directory with a file of samples and a finished run trained on it."""
    folder = tmp_path_factory.mktemp("finished")
    chance = random.Random(0)
    with (folder / "data.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", *(f"pixel{number}" for number in range(9))])
        for number in range(90):
            rows.writerow([number % 3, *(chance.randrange(256) for _ in range(9))])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(compose_config(WORDS), folder / "run")
    # as in a run copied without its hidden files: a command that only reads must not create one
    (folder / "run/.lock").unlink()
    return folder


@pytest.fixture
def work(workplace, finished):
    shutil.copytree(finished, workplace.path, dirs_exist_ok=True)
    return workplace


def refuse(workplace, words, sentence, **environment):
    """Check that a command is refused in one sentence and changes nothing."""
    with unchanged(workplace.path):
        done = workplace.run(*words, **environment)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def edit(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def link(name):
    def change(folder):
        (folder / name).rename(folder / "elsewhere")
        (folder / name).symlink_to(folder / "elsewhere")

    return change


def link_to_itself(name):
    def change(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to((folder / name).name)

    return change


def into_folder(name):
    def change(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return change


def into_pipe(name):
    def change(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def facts(**changes):
    def change(folder):
        file = folder / "run/checkpoints/last.safetensors"
        moment = checkpoint.load(file)
        checkpoint.save(file, Snapshot(moment.arrays, moment.metadata | changes))

    return change


def weights_of_others(folder):
    file = folder / "run/checkpoints/last.safetensors"
    moment = checkpoint.load(file)
    moment.arrays.pop(next(iter(moment.arrays)))
    checkpoint.save(file, moment)


def newer_format(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 9)
        checkpoint.save(
            folder / "run/checkpoints/last.safetensors",
            checkpoint.Snapshot({}, {}),
        )


def torn_history_and_edited_data(folder):
    with (folder / "run/history.jsonl").open("a") as file:
        file.write('{"epoch": 3')
    edit("data.csv", "\n0,", "\n1,")(folder)


def damaged_checkpoints_and_edited_data(folder):
    for file in (folder / "run/checkpoints").iterdir():
        os.truncate(file, 100)
    edit("data.csv", "\n0,", "\n1,")(folder)


def unset(key):
    def change(folder):
        file = folder / "run/config.yaml"
        config = yaml.safe_load(file.read_text())
        del config[key]
        file.write_text(yaml.safe_dump(config))

    return change


def enlarged(name, size):
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
    "edited data": (edit("data.csv", "\n0,", "\n1,"), "the dataset is not the one"),
    "no data": (lambda folder: (folder / "data.csv").unlink(), "data.csv"),
    "unreadable data": (edit("data.csv", "\n0,", "\nzero,"), "data.csv"),
    "torn and edited": (torn_history_and_edited_data, "the dataset is not the one"),
    "damaged and edited": (damaged_checkpoints_and_edited_data, "the dataset is not the one"),
    "another lr": (edit("run/config.yaml", "lr: ", "lr: 1"), "lr in config.yaml differs"),
    "an impossible lr": (edit("run/config.yaml", "lr: ", "lr: -"), "lr must be a number above 0"),
    "a foreign class": (
        edit("run/config.yaml", "nn.models.MLP", "os.system"),
        "os is not trusted to run",
    ),
    "no YAML": (edit("run/config.yaml", "lr: ", "lr: ["), "config.yaml is damaged"),
    "a setting too few": (unset("profile"), "profile is missing"),
    "a setting too many": (edit("run/config.yaml", "lr: ", "lrs: 1\nlr: "), "lrs is not a setting"),
    "a linked config": (link("run/config.yaml"), "is a symbolic link"),
    "a config that leads to itself": (link_to_itself("run/config.yaml"), "is a symbolic link"),
    "a huge config": (enlarged("run/config.yaml", 2**21), "bytes"),
    "a newer checkpoint": (newer_format, "has format version 9"),
    "a linked checkpoint": (link("run/checkpoints/last.safetensors"), "is a symbolic link"),
    "a folder for a checkpoint": (
        into_folder("run/checkpoints/last.safetensors"),
        "is not a regular file",
    ),
    "a file for checkpoints": (
        lambda folder: (
            shutil.rmtree(folder / "run/checkpoints"),
            (folder / "run/checkpoints").write_text(""),
        ),
        "cannot be read",
    ),
    "nonsense facts": (facts(rngs=1), "its metadata is not that of a training"),
    "another dataset's facts": (facts(dataset_sha256="?"), "the dataset is not the one"),
    "another model's weights": (weights_of_others, "is in this model but not in that"),
    "a linked history": (link("run/history.jsonl"), "is a symbolic link"),
    "a folder for the history": (into_folder("run/history.jsonl"), "is not a regular file"),
    "a pipe for the history": (into_pipe("run/history.jsonl"), "is not a regular file"),
    "a huge history": (enlarged("run/history.jsonl", 2**30 + 1), "bytes"),
    "a linked summary": (link("run/summary.json"), "is a symbolic link"),
    "a summary that leads to itself": (link_to_itself("run/summary.json"), "is a symbolic link"),
    "a folder for the summary": (into_folder("run/summary.json"), "is not a regular file"),
    "a linked environment": (link("run/environment.json"), "is a symbolic link"),
    "a folder for predictions": (into_folder("run/predictions.safetensors"), "is a directory"),
}


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", DAMAGE)
def test_a_resumption_that_is_refused_leaves_the_run_as_it_was(work, name):
    damage, sentence = DAMAGE[name]
    damage(work.path)
    refuse(work, [TRAIN, "resume=run", "epochs=5"], sentence)


READERS = {
    "resume": [TRAIN, "resume=run", "epochs=5"],
    "reproduce": [TRAIN, "reproduce=run", "tracking=disabled"],
    "init_from": [TRAIN, *WORDS, "init_from=run", "hydra.run.dir=new"],
    "predict": [PREDICT, "run", "data.csv", "--output", "new.csv"],
    "report": [REPORT, "run"],
    "comparison": [REPORT, "second", "run", "--output", "new.html"],
    "W&B report": [REPORT, "run", "--wandb", "a/b"],
    "upload": [UPLOAD, "second", "run"],
}


@pytest.mark.parametrize("reader", READERS)
def test_a_run_of_an_earlier_version_is_refused_by_every_command(work, reader):
    second(work)
    format_version("run/environment.json", None)(work.path)
    sentence = "run has no format version; this program reads format version 2."
    with Loopback() as server:
        refuse(work, READERS[reader], sentence, **server.environment)
        assert server.requests == []


@pytest.mark.parametrize(
    ("version", "named"), [(1, "1"), (3, "3"), (2.0, "2.0"), (True, "true"), ("2\n", '"2\\n"')]
)
def test_a_run_of_another_version_is_refused_with_both_versions(work, version, named):
    format_version("run/environment.json", version)(work.path)
    sentence = f"run has format version {named}; this program reads format version 2."
    refuse(work, [TRAIN, "resume=run", "epochs=5"], sentence)


def test_a_run_without_its_environment_is_refused(work):
    (work.path / "run/environment.json").unlink()
    refuse(work, [TRAIN, "resume=run", "epochs=5"], "run has no format version")


def test_a_report_of_a_folder_leaves_out_a_run_of_an_earlier_version(work):
    second(work)
    format_version("second/environment.json", None)(work.path)
    done = work.run(REPORT, ".", "--output", "index.html")
    assert done.returncode == 0, done.stderr
    page = (work.path / "index.html").read_text()
    assert page.count("second has no format version; this program reads format version 2.") == 1


@pytest.mark.parametrize("mode", ["run.dir", "sweep.dir"])
@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_run_below_a_link_to_nowhere_is_refused(workplace, mode, target):
    (workplace.path / "link").symlink_to(target)
    several = ["--multirun", "lr=0.1,0.2"] if mode == "sweep.dir" else []
    words = [TRAIN, *several, f"hydra.{mode}=link/run", "epochs=1"]
    refuse(
        workplace,
        words,
        f"hydra.{mode}=link/run: link is a broken symbolic link; choose another directory.",
    )


@pytest.mark.parametrize("words", [[REPORT, "run"], [UPLOAD, "run"], [PREDICT, "run", "data.csv"]])
def test_a_run_with_a_link_to_itself_is_refused_in_a_sentence(work, words):
    link_to_itself("run/summary.json")(work.path)
    refuse(work, words, "run/summary.json is a symbolic link")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "words",
    ["epochs=1", "epochs=0", "epochs=5 lr=0.1", "epochs=5 tracking=no", "epochs=5 tracking=online"],
)
def test_words_that_a_resumption_does_not_take_leave_the_run_as_it_was(work, words):
    refuse(work, [TRAIN, "resume=run", *words.split()], words.split()[-1].partition("=")[0])


def test_a_resumption_beside_another_process_is_refused(work):
    with (work.path / "run/.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refuse(work, [TRAIN, "resume=run", "epochs=5"], "another process is training")
        refuse(work, [UPLOAD, "run"], "another process is training")


def test_a_resumption_whose_first_weights_are_gone_is_refused(work):
    words = [word for word in WORDS if word != "tracking=disabled"]
    done = work.train(*words, "init_from=run", "hydra.run.dir=second")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(work.path / "run/checkpoints")
    refuse(work, [TRAIN, "resume=second", "epochs=5"], "init_from=run: run: there is no checkpoint")


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("damage", "words", "sentence"),
    [
        (edit("data.csv", "\n0,", "\n1,"), [], "the dataset is not the one"),
        (newer_format, [], "has format version 9"),
        (facts(rngs=1), [], "its metadata is not that of a training"),
        (into_folder("run/summary.json"), [], "is a directory"),
        (edit("run/config.yaml", "lr: ", "lr: ["), [], "config.yaml is damaged"),
        (lambda _: None, ["lr=0.2"], "lr differs from"),
        (lambda _: None, ["lr=-1"], "lr=-1: lr must be a number above 0"),
        (lambda _: None, ["epochs=0"], "epochs differs from"),
        (link("run/environment.json"), [], "is a symbolic link"),
        (lambda _: None, ["learning_rate=1"], "did you mean lr?"),
        (
            format_version("run/environment.json", None),
            [],
            "runs/s/r has no format version; this program reads format version 2.",
        ),
    ],
)
def test_an_agents_run_that_comes_back_and_is_refused_is_left_as_it_was(
    work, damage, words, sentence
):
    damage(work.path)
    (work.path / "runs/s").mkdir(parents=True)
    (work.path / "run").rename(work.path / "runs/s/r")
    for file in work.path.rglob("*"):
        if file.is_symlink():  # the link must still lead to the same place
            target = file.readlink()
            file.unlink()
            file.symlink_to(target)
    agent = {"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r", "WANDB_MODE": "disabled"}
    refuse(work, [TRAIN, *WORDS[1:], *words], sentence, **agent)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (link("run/history.jsonl"), "is a symbolic link"),
        (link("run/summary.json"), "is a symbolic link"),
        (link("run/environment.json"), "is a symbolic link"),
        (lambda folder: (folder / "data.csv").unlink(), "data.csv"),
    ],
)
def test_a_run_that_cannot_be_compared_is_not_repeated(work, damage, sentence):
    damage(work.path)
    refuse(work, [TRAIN, "reproduce=run", "tracking=disabled"], sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
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
def test_a_training_that_is_refused_leaves_a_run_as_it_was(work, words, sentence):
    refuse(work, [TRAIN, *WORDS, *words.split()], sentence)


def second(work):
    shutil.copytree(work.path / "run", work.path / "second")
    return work.path / "second"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (link("second/predictions.safetensors"), "is a symbolic link"),
        (enlarged("second/predictions.safetensors", 99), "predictions.safetensors is damaged"),
        (link("second/history.jsonl"), "is a symbolic link"),
        (into_folder("second/.lock"), "second/.lock cannot be opened: Is a directory."),
        (enlarged("second/summary.json", 2**27), "bytes"),
        (edit("second/config.yaml", "lr: ", "lr: ["), "config.yaml is damaged"),
        (edit("second/config.yaml", "num_examples: 16", "num_examples: 1000"), "num_examples"),
    ],
)
def test_of_runs_of_which_one_is_refused_none_is_uploaded(work, damage, sentence):
    second(work)
    damage(work.path)
    with Loopback() as server:
        refuse(work, [UPLOAD, "run", "second"], sentence, **server.environment)
        assert server.requests == []


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("damage", "words", "sentence"),
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
        (into_folder("curves.png"), "run --png-dir .", "curves.png: nothing can be written there"),
        (into_folder("confusion.png"), "run --png-dir .", "confusion.png: nothing can be written"),
        (into_folder("run/report.html"), "run", "report.html: nothing can be written there"),
        (lambda _: None, "run second --png-dir pictures", "--png-dir: requires a single run"),
        (link("second/history.jsonl"), "run second", "is a symbolic link"),
        (
            edit("second/config.yaml", "lr: ", "lr: ["),
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
def test_a_report_that_is_refused_writes_no_part_of_it(work, damage, words, sentence):
    second(work)
    (work.path / "mine.html").write_text("<p>my own page")
    damage(work.path)
    with Loopback() as server:
        refuse(work, [REPORT, *words.split()], sentence, **server.environment)
        assert server.requests == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (link("s/trials/0001/summary.json"), "is a symbolic link"),
        (
            lambda folder: (folder / "s/trials/0001/report.html").write_text("mine"),
            "not a generated report",
        ),
        (into_folder("s/trials/0001/report.html"), "nothing can be written there"),
    ],
)
def test_the_pages_of_a_sweep_are_written_together_or_not_at_all(work, damage, sentence):
    made_sweep(work.path / "s", 3)
    for number in range(3):
        trial = work.path / f"s/trials/{number:04}"
        for name in ("config.yaml", "environment.json"):
            shutil.copy(work.path / "run" / name, trial)
    damage(work.path)
    refuse(work, [REPORT, "s", "--top-runs", "3"], sentence)


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("words", "sentence"),
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
def test_predictions_that_are_refused_are_not_written(work, words, sentence):
    for name in ("mine.csv", "mine.png"):
        (work.path / name).write_text("mine")
    command = [PREDICT, "run", "data.csv", *words.split()]
    if sentence:
        refuse(work, command, sentence)
        return
    edit("run/config.yaml", "nn.models.MLP", "os.system")(work.path)
    refuse(work, command, "os is not trusted to run")


@pytest.mark.parametrize(
    "damage",
    [
        newer_format,
        link("run/checkpoints/best.safetensors"),
        enlarged("run/checkpoints/best.safetensors", 99),
        lambda folder: (folder / "run/checkpoints/best.safetensors").unlink(),
        edit("run/config.yaml", "hidden:\n  - 4", "hidden:\n  - 5"),
    ],
)
def test_a_run_that_cannot_predict_writes_nothing(work, damage):
    if damage is newer_format:
        shutil.rmtree(work.path / "run/checkpoints")
        (work.path / "run/checkpoints").mkdir()
    damage(work.path)
    refuse(work, [PREDICT, "run", "data.csv", "--output", "new.csv"], "")


SMALL = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"min": 0.01, "max": 0.5}},
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A directory with a finished sweep of one trial."""
    from tests.conftest import Workplace

    place = Workplace(tmp_path_factory.mktemp("swept") / "work")
    (place.path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    words = ["--count", "1", "--workers", "1", "epochs=1", "tracking=disabled"]
    done = place.run(SWEEP, "small.yaml", *words)
    assert done.returncode == 0, done.stderr
    return place.path


@pytest.mark.parametrize(
    ("change", "words", "sentence"),
    [
        ({}, "", "exists; --resume continues that sweep"),
        ({}, "--resume --seed 5", "--seed=5: this sweep was started with 0"),
        ({}, "--resume --sampler tpe", "--sampler=tpe"),
        ({}, "--resume epochs=9", "epochs=9: this sweep was started with"),
        ({}, "--resume --name other", "there is no sweep to resume"),
        ({"method": "bayes"}, "--resume", "method: random was changed to bayes"),
        ({"metric": {"name": "val/los"}}, "--resume", "metric"),
        ({"parameters": {}}, "--resume", "there must be at least one parameter"),
        ({}, "--resume --storage mysql://a@b/c", "write postgresql://USER@HOST"),
        ({}, "--resume --storage no/study.log", "a study cannot be stored there"),
        ({}, "--name new lr=0.1", "this is a parameter of the sweep"),
        ({}, "--name new epochs=0", "epochs must be a whole number"),
    ],
)
def test_a_sweep_that_is_refused_leaves_the_one_of_before_as_it_was(
    workplace, swept, change, words, sentence
):
    shutil.copytree(swept, workplace.path, dirs_exist_ok=True)
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL | change))
    refuse(workplace, [SWEEP, "small.yaml", *words.split()], sentence)


def settings(**changes):
    """Write sweep settings that no sweep was started with."""
    content = {"format_version": 2, "seed": 0, "sampler": None, "overrides": []} | changes
    return lambda sweep: (sweep / "settings.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda sweep: (sweep / "settings.json").unlink(), "settings.json is damaged"),
        (lambda sweep: (sweep / "settings.json").write_text("{"), "settings.json is damaged"),
        (lambda sweep: (sweep / "sweep.yaml").write_text("a: ["), "sweep.yaml"),
        (lambda sweep: (sweep / "sweep.yaml").unlink(), "small/sweep.yaml is missing"),
        (settings(seed=math.inf), "settings.json is damaged"),
        (settings(seed=-1), "settings.json is damaged"),
        (settings(sampler=[]), "settings.json is damaged"),
        (
            settings(overrides="epochs=1"),
            'contained {"format_version": 2, "seed": 0, "sampler": null, "overrides": []}',
        ),
        (lambda sweep: (sweep / "settings.json").write_text("[" * 99_999), "settings.json is dam"),
    ],
)
def test_a_damaged_sweep_that_is_refused_is_left_as_it_was(workplace, swept, damage, sentence):
    shutil.copytree(swept, workplace.path, dirs_exist_ok=True)
    damage(workplace.path / "runs/sweeps/small")
    refuse(workplace, [SWEEP, "small.yaml", "--resume"], sentence)


@pytest.mark.parametrize(
    "words",
    [
        [SWEEP, "small.yaml", "--resume"],
        [REPORT, "runs/sweeps/small"],
        [REPORT, "runs/sweeps/small", "--png-dir", "new"],
        [REPORT, "runs/sweeps/small", "--wandb", "a/b"],
    ],
)
@pytest.mark.parametrize(
    ("version", "named"), [(None, "no format version"), (1, "format version 1")]
)
def test_a_sweep_of_another_version_is_refused_by_every_command(
    workplace, swept, words, version, named
):
    shutil.copytree(swept, workplace.path, dirs_exist_ok=True)
    format_version("settings.json", version)(workplace.path / "runs/sweeps/small")
    sentence = f"runs/sweeps/small has {named}; this program reads format version 2."
    with Loopback() as server:
        refuse(workplace, words, sentence, **server.environment)
        assert server.requests == []


def test_the_version_of_a_sweep_comes_before_what_has_changed_in_its_file(workplace, swept):
    shutil.copytree(swept, workplace.path, dirs_exist_ok=True)
    format_version("settings.json", None)(workplace.path / "runs/sweeps/small")
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL | {"method": "bayes"}))
    sentence = "runs/sweeps/small has no format version"
    refuse(workplace, [SWEEP, "small.yaml", "--resume"], sentence)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("content", ["a note", '{"seed": 0}', '{"epoch": 1}\n', "\0\0", None])
def test_a_file_of_another_kind_is_not_taken_for_a_shared_study(workplace, swept, content):
    shutil.copytree(swept, workplace.path, dirs_exist_ok=True)
    file = workplace.path / "notes"
    if content is None:
        os.mkfifo(file)
    else:
        file.write_text(content)
    words = ["--storage", "notes", "--output", "new", "--count", "1", "epochs=1"]
    refuse(workplace, [SWEEP, "small.yaml", *words], "notes is not a study file")


def test_a_sweep_at_work_is_not_taken_over(workplace, swept):
    shutil.copytree(swept, workplace.path, dirs_exist_ok=True)
    with (workplace.path / "runs/sweeps/small/.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refuse(workplace, [SWEEP, "small.yaml", "--resume"], "another process is running")


def test_a_finished_run_keeps_its_result_until_a_longer_one_has_begun(work):
    done = work.run(TRAIN, "resume=run", "epochs=3")
    assert done.returncode == 0, done.stderr
    assert Run(work.path / "run").summary["epochs"] == 3
    config = json.loads(json.dumps(yaml.safe_load((work.path / "run/config.yaml").read_text())))
    assert config["epochs"] == 3
