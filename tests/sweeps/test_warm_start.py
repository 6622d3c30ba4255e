"""`--warm-start` reads the trials of earlier sweeps and runs, whoever wrote them."""

from __future__ import annotations

import json
import math
import shutil

import pytest

from nn.errors import UserError
from nn.sweeps.distributions import DISTRIBUTIONS
from nn.sweeps.samplers.gp.objective import PriorTask
from nn.sweeps.schema import Metric
from nn.sweeps.space import SearchSpace
from nn.sweeps.trials_reader import load_sweep_trials
from nn.sweeps.warm_start import (
    WARM_START_FILE,
    dump_prior_tasks,
    load_prior_tasks,
    read_prior_tasks,
)
from nn.tracking import wandb_log
from tests.report.factories import make_run, make_sweep, update_json

LOSS = Metric(name="val/loss")
SPACE = SearchSpace(
    {
        "lr": DISTRIBUTIONS["log_uniform_values"](min=0.01, max=1.0),
        "optimizer": DISTRIBUTIONS["categorical"](values=["sgd", "adam"]),
        "optimizer.momentum": DISTRIBUTIONS["uniform"](min=0.0, max=0.99),
    }
)


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("trained") / "run", "lr=0.2", "tracking=offline")


@pytest.fixture
def runs(trained_run, tmp_path):
    """A directory with a copy of a run, whose W&B run lies in it."""
    shutil.copytree(trained_run, tmp_path / "runs/first", symlinks=True)
    return tmp_path / "runs"


def copy_run(runs, name, old="", new="", **summary):
    """Copy the run with a change of its configuration and of its summary."""
    folder = shutil.copytree(runs / "first", runs / name, symlinks=True)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(old, new) if old else config.read_text())
    update_json(folder, "summary.json", **summary)


def load(*paths, space=SPACE, metric=LOSS):
    return load_prior_tasks(paths, space, metric)


def test_parameters_have_the_values_of_the_configuration(runs):
    (task,) = load(runs)
    assert task.points == [{"lr": 0.2, "optimizer": "sgd", "optimizer.momentum": 0.0}]
    history = (runs / "first/history.jsonl").read_text().splitlines()
    assert task.values == [min(json.loads(line)["val/loss"] for line in history)]
    (maximized,) = load(runs, metric=Metric(name="val/accuracy", goal="maximize"))
    assert -1 <= maximized.values[0] < 0


def test_wandb_run_has_the_same_content_as_the_run_that_logged_it(runs):
    assert load(runs / "first/wandb") == load(*(runs / "first/wandb").glob("offline-run-*"))
    assert load(runs / "first/wandb") == load(runs / "first")


def test_runs_of_another_dataset_or_length_are_tasks_of_their_own(runs):
    copy_run(runs, "same", "seed: 0", "seed: 1")
    copy_run(runs, "half", "max_samples: 600", "max_samples: 300")
    copy_run(runs, "longer", "epochs: 3", "epochs: 30")
    assert [len(task.values) for task in load(runs)] == [2, 1, 1]
    epochs = DISTRIBUTIONS["int_uniform"](min=1, max=50)
    with_epochs = load(runs, space=SearchSpace({**SPACE.parameters, "epochs": epochs}))
    assert [len(task.values) for task in with_epochs] == [3, 1]
    assert sorted(point["epochs"] for point in with_epochs[0].points) == [3, 3, 30]
    constant = DISTRIBUTIONS["constant"](value=3)
    assert load(runs, space=SearchSpace({**SPACE.parameters, "epochs": constant})) == load(runs)


def test_diverged_runs_count_and_unfinished_or_damaged_ones_do_not(runs):
    copy_run(runs, "diverged", status="diverged")
    copy_run(runs, "failed", status="failed")
    copy_run(runs, "running")
    (runs / "running/summary.json").unlink()
    copy_run(runs, "damaged", "lr: 0.2", "lr: [")
    (task,) = load(runs)
    assert [math.isnan(value) for value in task.values] == [True, False]


def test_trials_of_other_machines_are_read_from_the_study(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", trials=6, states=["finished", "pruned", "running"])
    trials = load_sweep_trials(sweep)
    (task,) = load(sweep)
    points = [trials.get_point(number) for number in (0, 1, 3, 4)]
    assert task.points == [{name: p[name] for name in ("lr", "optimizer")} for p in points]
    assert all(0 < value < 3 for value in task.values)
    with pytest.raises(UserError, match="neither a sweep nor a run"):
        load(sweep, metric=Metric(name="val/loss", goal="maximize"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nothing", "it contains neither a sweep nor a run; name that of one"),
        ("running", "none of its 1 runs has ended"),
        ("metric", "none of its 1 runs that ended has recorded val/los; name runs that have"),
        ("diverged", "none of its 1 runs that ended has recorded val/loss"),
        ("space", "its runs have none of the parameters other; name runs that have one"),
        ("damaged", "config.yaml is damaged: it cannot be read as plain YAML"),
        ("missing", "this is not a directory"),
    ],
)
def test_directory_without_information_is_refused(runs, change, message):
    if change == "running":
        (runs / "first/summary.json").unlink()
    elif change == "diverged":
        update_json(runs / "first", "summary.json", status="diverged")
    elif change == "damaged":
        (runs / "first/config.yaml").write_text("a: [")
    elif change in ("nothing", "missing"):
        shutil.rmtree(runs)
    if change == "nothing":
        runs.mkdir()
    space = SearchSpace({"other": SPACE.parameters["lr"]}) if change == "space" else SPACE
    metric = Metric(name="val/los") if change == "metric" else LOSS
    with pytest.raises(UserError, match="--warm-start=") as refusal:
        load(runs, space=space, metric=metric)
    assert message in str(refusal.value)


@pytest.fixture
def wandb_runs(tmp_path, monkeypatch):
    """Return a function that makes a run of records, which `cat` prints in wandb's place."""
    monkeypatch.setattr(wandb_log, "INSPECT_COMMAND", ("cat",))

    def make(name, *records):
        folder = tmp_path / "wandb" / f"offline-run-{name}"
        folder.mkdir(parents=True)
        lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
        (folder / f"run-{name}.wandb").write_text("".join(line + "\n" for line in lines))
        return tmp_path / "wandb"

    return make


def config_record(**config):
    return {"type": "run", "run": {"config": {"update": config}}}


def history_record(**metrics):
    return {"type": "history", "history": {"step": {"num": 0}, "item": metrics}}


def summary_record(**metrics):
    return {"type": "summary", "summary": {"update": metrics}}


EXIT = {"type": "exit", "exit": {"exit_code": 0}}


def test_runs_of_another_program_are_read(wandb_runs):
    changed = {"type": "config", "config": {"update": {"optimizer": {"momentum": 0.5}}}}
    records = [history_record(**{"val/loss": value}) for value in (0.5, 0.3, "NaN", 0.4)]
    wandb_runs("a", config_record(lr=0.1, other=[1]), changed, *records, "{", EXIT)
    wandb_runs("b", config_record(lr=0.2), summary_record(**{"val/loss": 0.7}), EXIT)
    wandb_runs("c", config_record(lr=0.3), summary_record(**{"val/loss": "NaN"}), EXIT)
    (task,) = load(wandb_runs("running", config_record(lr=0.4), *records))
    assert task.points == [{"lr": 0.1, "optimizer.momentum": 0.5}, {"lr": 0.2}, {"lr": 0.3}]
    assert task.values[:2] == [0.3, 0.7]
    assert math.isnan(task.values[2])


@pytest.mark.parametrize(
    "record",
    [
        '{"type": "config", "config": ' + '{"update": ' * 900 + "{}" + "}" * 901,
        {"type": "history", "history": {"item": [1]}},
        {"type": ["run"], "run": None},
        {"type": "summary", "summary": {"update": {"val/loss": {"a": 1}}}},
        "\x00",
    ],
)
def test_hostile_records_are_ignored(wandb_runs, record):
    history = history_record(**{"val/loss": 0.5})
    (task,) = load(wandb_runs("a", config_record(lr=0.1), record, history, EXIT))
    assert task == PriorTask([{"lr": 0.1}], [0.5])


def test_prior_tasks_are_stored_with_the_sweep(tmp_path):
    tasks = (PriorTask([{"lr": 0.1, "sizes": [1, 2]}, {"lr": None}], [1.5, math.nan]),)
    (tmp_path / WARM_START_FILE).write_bytes(dump_prior_tasks(tasks))
    (restored,) = read_prior_tasks(tmp_path)
    assert restored.points == tasks[0].points
    assert restored.values[0] == 1.5
    assert math.isnan(restored.values[1])


@pytest.mark.parametrize(
    "content", ["", "[", '[{"points": [{}], "values": []}]', "[" * 99_999, "{}", '[{"points": 1}]']
)
def test_damaged_prior_tasks_are_refused(tmp_path, content):
    (tmp_path / WARM_START_FILE).write_text(content)
    with pytest.raises(UserError, match=r"warm_start\.json is damaged"):
        read_prior_tasks(tmp_path)
