"""scripts/sweep.py runs W&B sweep files without a server."""

from __future__ import annotations

import csv
import json
import os
import pty
import random
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from nn.errors import UserError
from nn.sweeps.samplers import registry
from tests import postgres
from tests.conftest import ROOT, Run, draws
from tests.report.pages import Page
from tests.waiting import count_epochs, wait_until

SWEEP = str(ROOT / "scripts/sweep.py")
SMALL = {
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.5},
        "depth": {"values": [1, 2]},
    },
}
QUICK = ("epochs=2", "tracking=disabled")


class Sweep:
    """A sweep directory, read back."""

    def __init__(self, path):
        self.path = path

    @property
    def table(self):
        with (self.path / "trials.csv").open() as file:
            return list(csv.DictReader(file))

    @property
    def trials(self):
        return [Run(path.parent) for path in sorted(self.path.glob("trials/*/config.yaml"))]


@pytest.fixture
def sweep(workplace):
    """Return a function that writes a sweep file and runs it."""
    (workplace.path / "scripts").symlink_to(ROOT / "scripts")

    def run(content, *words, status=0):
        (workplace.path / "small.yaml").write_text(yaml.safe_dump(content))
        done = workplace.run(SWEEP, "small.yaml", *words)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


def folder(workplace, name="small"):
    return Sweep(workplace.path / "runs/sweeps" / name)


def points(swept):
    return [(row["lr"], row["depth"]) for row in swept.table]


def test_a_sweep_leaves_a_run_folder_for_each_trial_and_a_table(workplace, sweep):
    done = sweep(SMALL, "--count", "5", "epochs=2")
    swept = folder(workplace)
    names = {path.name for path in swept.path.iterdir()}
    locks, data = (
        {".lock", ".study.log.lock", ".study.log.trials.lock"},
        {"study.log", "trials.csv", "trials"},
    )
    assert names == {"settings.json", "sweep.yaml", *locks, *data}
    assert [path.name for path in sorted((swept.path / "trials").iterdir())] == [
        f"{number:04}" for number in range(5)
    ]
    for row, trial in zip(swept.table, swept.trials, strict=True):
        config = yaml.safe_load((trial.path / "config.yaml").read_text())
        assert config["lr"] == float(row["lr"])
        assert config["depth"] == int(row["depth"])
        assert config["tracking"]["group"] == "small"
        assert row["state"] == "finished"
        best = min(line["val/loss"] for line in trial.history)
        assert float(row["objective"]) == best
        assert trial.path == swept.path / row["folder"]
        for score in ("val/accuracy", "val/loss", "test/accuracy", "test/loss", "seconds"):
            assert float(row[score]) == trial.summary[score]
        assert int(row["epochs_trained"]) == 2
        assert list(trial.path.glob("wandb/offline-run-*/*.wandb"))
    titles, first = (done.stdout.splitlines()[line].split() for line in (6, 7))
    best = dict(zip(titles, first, strict=True))
    row = swept.table[int(best["trial"])]
    for score in ("val/accuracy", "test/accuracy"):
        assert best[score] == f"{float(row[score]):.4f}"
    assert "Parameter importance (fANOVA, 5 finished trials): " in done.stdout
    assert "5 finished trials are few" in done.stdout
    assert "Trials: 5, in runs/sweeps/small" in done.stdout


def test_the_best_trial_is_repeated_to_the_same_bits_by_the_command_shown(workplace, sweep):
    done = sweep(SMALL, "--count", "4", *QUICK)
    words = shlex.split(done.stdout.splitlines()[-1])
    assert words[:2] == ["python", str(ROOT / "scripts/train.py")]
    again = workplace.run(*words[1:], "hydra.run.dir=again")
    assert again.returncode == 0, again.stderr
    swept = folder(workplace)
    best = min(swept.table, key=lambda row: float(row["objective"]))
    assert Run(workplace.path / "again").bits == Run(swept.path / best["folder"]).bits


def test_the_same_seed_gives_the_same_trials_with_any_number_of_workers(workplace, sweep):
    for name, workers in (("one", "1"), ("two", "2")):
        sweep(SMALL, "--count", "4", "--workers", workers, "--name", name, *QUICK)
    sweep(SMALL, "--count", "4", "--seed", "1", "--name", "other", *QUICK)
    one, two, other = (points(folder(workplace, name)) for name in ("one", "two", "other"))
    assert one == two != other
    objectives = [
        [row["objective"] for row in folder(workplace, name).table] for name in ("one", "two")
    ]
    assert objectives[0] == objectives[1]


def test_one_worker_and_a_seed_give_the_same_trials_by_bayes(workplace, sweep):
    for name in ("one", "two"):
        words = ["--count", "12", "--workers", "1", "--seed", "3", "--name", name]
        sweep({**SMALL, "method": "bayes"}, *words, *QUICK)
    assert points(folder(workplace, "one")) == points(folder(workplace, "two"))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_another_sampler_is_kept_when_the_sweep_goes_on(workplace, sweep, sampler):
    bayes = {**SMALL, "method": "bayes"}
    done = sweep(bayes, "--sampler", sampler, "--count", "2", "--workers", "1", *QUICK)
    assert done.stderr == ""
    settings = json.loads((folder(workplace).path / "settings.json").read_text())
    assert settings["sampler"] == sampler
    done = sweep(bayes, "--resume", "--sampler", "gp", status=2)
    assert done.stderr == f"--sampler=gp: this sweep was started with {sampler}.\n"
    sweep(bayes, "--resume", "--count", "4", "--workers", "1")
    tried = points(folder(workplace))
    assert len(set(tried)) == len(tried) == 4


@pytest.mark.parametrize("sampler", ["gp", "tpe", "qmc"])
def test_every_sampler_takes_every_seed(sweep, sampler):
    words = ["--sampler", sampler, "--seed", str(2**64), "--count", "1", "--workers", "1"]
    sweep({**SMALL, "method": "bayes"}, *words, *QUICK)


@pytest.mark.parametrize(
    ("method", "sampler", "sentence"),
    [
        ("random", "tpe", "--sampler=tpe: this option requires method: bayes, not method: random."),
        ("grid", "gp", "--sampler=gp: this option requires method: bayes, not method: grid."),
        ("bayes", "tpo", "--sampler=tpo: there is no such sampler; did you mean tpe?"),
        ("bayes", "?", "--sampler=?: there is no such sampler; available: gp, tpe, cmaes, random,"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused(workplace, sweep, method, sampler, sentence):
    few = {"depth": {"values": [1, 2]}}
    words = ["--sampler", sampler, *QUICK]
    done = sweep({**SMALL, "method": method, "parameters": few}, *words, status=2)
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1
    assert not (workplace.path / "runs").exists()


def test_a_sampler_whose_package_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    for sampler, package in (("cmaes", "cmaes"), ("optuna-gp", "torch")):
        with pytest.raises(UserError, match=f"{sampler} needs {package}, which is not installed"):
            registry.resolve_sampler_name(sampler, "bayes")


def test_a_grid_ends_when_it_is_done_and_tries_each_point_once(workplace, sweep):
    grid = {"lr": {"values": [0.05, 0.1, 0.05]}, "depth": {"values": [0, 1, 2]}}
    done = sweep({**SMALL, "method": "grid", "parameters": grid}, *QUICK)
    tried = points(folder(workplace))
    assert len(tried) == len(set(tried)) == 6
    assert "Every point of the grid has been tried." in done.stdout


def test_a_grid_in_steps_goes_from_min_below_max(workplace, sweep):
    steps = {"width": {"distribution": "q_uniform", "min": 9, "max": 14, "q": 2}}
    sweep({**SMALL, "method": "grid", "parameters": steps}, *QUICK)
    assert [row["width"] for row in folder(workplace).table] == ["9", "11", "13"]


def test_a_grid_of_any_size_starts_and_goes_in_order(workplace, sweep):
    huge = {
        "weight_decay": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.000001},
        "lr": {"values": [(n + 1) / 2000 for n in range(1000)]},
        "seed": {"min": 0, "max": 10**12},
    }
    content = {**SMALL, "method": "grid", "parameters": huge}
    sweep(content, "--count", "3", *QUICK)
    tried = [
        (row["lr"], row["seed"], float(row["weight_decay"])) for row in folder(workplace).table
    ]
    assert tried == [("0.0005", "0", 0.0), ("0.0005", "0", 1e-6), ("0.0005", "0", 2e-6)]


def test_a_small_space_is_used_up_before_a_point_comes_again(workplace, sweep):
    few = {"lr": {"values": [0.05, 0.1]}, "depth": {"values": [0, 1, 2]}}
    sweep({**SMALL, "parameters": few}, "--count", "7", *QUICK)
    tried = points(folder(workplace))
    assert len(set(tried[:6])) == 6
    assert len(tried) == 7


def test_a_target_that_is_reached_ends_the_sweep(workplace, sweep):
    metric = {"name": "val/accuracy", "goal": "maximize", "target": 0.5}
    sweep({**SMALL, "metric": metric, "run_cap": 30}, "--workers", "1", *QUICK)
    table = folder(workplace).table
    assert float(table[-1]["objective"]) >= 0.5
    assert all(float(row["objective"]) < 0.5 for row in table[:-1])


def test_run_cap_is_the_count_unless_another_is_said(workplace, sweep):
    sweep({**SMALL, "run_cap": 2}, *QUICK)
    assert len(folder(workplace).table) == 2


def test_hyperband_ends_trials_early(workplace, sweep):
    hyperband = {"type": "hyperband", "min_iter": 2, "eta": 2}
    sweep({**SMALL, "early_terminate": hyperband}, "--count", "8", "epochs=8", QUICK[1])
    swept = folder(workplace)
    assert {row["state"] for row in swept.table} == {"finished", "pruned"}
    for row, trial in zip(swept.table, swept.trials, strict=True):
        assert trial.summary["status"] == row["state"]
        assert (len(trial.history) == 8) == (row["state"] == "finished")


def test_a_trial_that_diverges_is_the_worst_and_the_sweep_goes_on(workplace, sweep):
    wild = {"lr": {"values": [0.05, 1e30]}, "depth": {"value": 1}}
    done = sweep({**SMALL, "method": "grid", "parameters": wild}, *QUICK)
    assert [row["state"] for row in folder(workplace).table] == ["finished", "diverged"]
    assert "diverged" in done.stdout


def test_an_existing_sweep_is_refused_without_resume(workplace, sweep):
    sweep(SMALL, "--count", "1", *QUICK)
    done = sweep(SMALL, "--count", "1", *QUICK, status=2)
    assert done.stderr == (
        "runs/sweeps/small exists; --resume continues that sweep, --name=NAME starts a new one.\n"
    )
    sweep(SMALL, "--count", "3", "--resume")
    assert len(folder(workplace).table) == 3
    for words, sentence in (
        (["--seed", "5"], "--seed=5: this sweep was started with 0."),
        (["epochs=9"], "epochs=9: this sweep was started with epochs=2 tracking=disabled."),
    ):
        done = sweep(SMALL, "--resume", *words, status=2)
        assert done.stderr == f"{sentence}\n"
    done = sweep({**SMALL, "method": "bayes"}, "--resume", status=2)
    assert done.stderr == (
        "small.yaml: method: random was changed to bayes since the sweep was started; "
        "--name=NAME starts a new one.\n"
    )
    done = sweep(SMALL, "--resume", "--name", "none", status=2)
    assert done.stderr == "runs/sweeps/none: there is no sweep to resume.\n"


def check_whole(swept, count, told=""):
    """Check that there are n trials, each listed once and as its run directory says."""
    table = swept.table
    assert [int(row["number"]) for row in table] == list(range(count))
    assert len(set(points(swept))) == count
    assert {row["state"] for row in table} == {"finished"}, told
    for row in table:
        trial = Run(swept.path / row["folder"])
        assert trial.summary["status"] == "finished"
        assert float(row["objective"]) == min(line["val/loss"] for line in trial.history)


@draws(1, 20)
def test_kill_9_of_the_whole_sweep_loses_no_trial(workplace, sweep, draw):
    words = ["--count", "6", "epochs=20", "tracking=disabled"]
    sweep(SMALL, *words, "--name", "unbroken")
    chance = random.Random(draw)
    process = workplace.start(SWEEP, "small.yaml", *words, "--name", "killed")
    swept, ends = folder(workplace, "killed"), chance.randrange(1, 5)
    wait_until(
        lambda: (
            len(list(swept.path.glob("trials/*/summary.json"))) >= ends
            or process.poll() is not None
        )
    )
    time.sleep(chance.random() * 0.2)
    process.kill()
    process.communicate()
    time.sleep(1)  # its workers have received the signal and are ending
    done = {
        trial.path: trial.summary["weights/sha256"]
        for trial in swept.trials
        if (trial.path / "summary.json").exists() and trial.summary["status"] == "finished"
    }
    assert len(done) >= ends - 1
    again = sweep(SMALL, *words, "--name", "killed", "--resume")
    check_whole(swept, 6, again.stdout)
    assert points(swept) == points(folder(workplace, "unbroken"))
    for path, digest in done.items():
        assert Run(path).summary["weights/sha256"] == digest
    for trial, expected in zip(swept.trials, folder(workplace, "unbroken").trials, strict=True):
        assert trial.bits == expected.bits


def children(process):
    """Return the process ids of a sweep's spawned workers."""
    found = []
    for pid in postgres.children(process.pid):
        with suppress(OSError):  # it may just have ended
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(pid)
    return found


@draws(1, 20)
def test_kill_9_of_single_workers_costs_nothing(workplace, sweep, draw):
    words = ["--count", "6", "epochs=100", "tracking=disabled"]
    chance = random.Random(draw)
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    process = workplace.start(SWEEP, "small.yaml", *words)
    swept = folder(workplace)
    for begun in (1, 5):  # far enough apart that no trial is hit twice
        wait_until(
            lambda begun=begun: (
                len(list(swept.path.glob("trials/*/history.jsonl"))) >= begun
                or process.poll() is not None
            )
        )
        time.sleep(chance.random() * 0.1)
        if workers := children(process):
            os.kill(chance.choice(workers), signal.SIGKILL)
    out, errors = process.communicate(timeout=120)
    if process.returncode == 1:  # the same trial was hit twice
        sweep(SMALL, *words, "--resume")
    else:
        assert process.returncode == 0, out + errors
    check_whole(swept, 6, out)


def test_ctrl_c_leaves_a_sweep_that_goes_on(workplace, sweep):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    words = ["--count", "4", "epochs=60", "tracking=disabled"]
    process = workplace.start(SWEEP, "small.yaml", *words)
    wait_until(lambda: list(folder(workplace).path.glob("trials/*/history.jsonl")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    command = errors.strip().splitlines()[-1].partition("To resume: ")[2]
    assert command.endswith(
        "scripts/sweep.py small.yaml --count 4 epochs=60 tracking=disabled --resume"
    )
    done = workplace.run(*shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    check_whole(folder(workplace), 4)


def test_the_time_between_a_stop_and_a_resume_is_not_running_time(workplace, sweep):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    words = ["small.yaml", "--count", "2", "--workers", "1", "epochs=300", "tracking=disabled"]
    began = time.monotonic()
    process = workplace.start(SWEEP, *words)
    first = folder(workplace).path / "trials/0000"
    wait_until(lambda: count_epochs(first) >= 20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    time.sleep(8)
    done = workplace.run(SWEEP, *words[:-2], "--resume")
    assert done.returncode == 0, done.stderr
    longest = time.monotonic() - began - 8

    assert len(Run(first).summary["sessions"]) == 2
    done = workplace.run(str(ROOT / "scripts/report.py"), "runs/sweeps/small")
    assert done.returncode == 0, done.stderr
    page = Page(folder(workplace).path / "report.html")
    trained = sum(trial.summary["seconds"] for trial in folder(workplace).trials)
    assert trained <= page.figures["Running time"] <= longest
    assert "The sweep was paused once, for " in page.text
    assert len(page.charts["timeline"]["layout"]["shapes"]) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"parameters": {"lr": {"min": 0, "max": 1}}},
            "parameters.lr: min 0 and max 1 are integers, so only integers would be "
            "tried; write 0.0 and 1.0.",
        ),
        (
            {"parameters": {"optimizer.momentum": {"min": 0, "max": 1}}},
            "parameters.optimizer.momentum: min 0 and max 1 are integers",
        ),
        (
            {"parameters": {"learning_rate": {"value": 0.1}}},
            "parameters.learning_rate: learning_rate=0.1: there is no setting learning_rate; did",
        ),
        (
            {"parameters": {"lr": {"values": [0.1, "fast"]}}},
            "parameters.lr: lr=fast: lr must be a number above 0.",
        ),
        (
            {"parameters": {"dropout": {"min": 0.0, "max": 1.0}}},
            "parameters.dropout: dropout=1: dropout must be a number, at least 0 and below 1.",
        ),
        (
            {"parameters": {"optimizer": {"values": ["sgd", "adm"]}}},
            "parameters.optimizer: optimizer=adm: there is no such optimizer; did you mean adam?",
        ),
        (
            {"metric": {"name": "val/los"}},
            "metric.name: val/los is never logged; did you mean val/loss?",
        ),
        (
            {
                "metric": {"name": "test/loss"},
                "early_terminate": {"type": "hyperband", "min_iter": 2},
            },
            "metric.name: test/loss is logged once, at the end of a run, too late for hyperband;",
        ),
    ],
)
def test_the_lint_finds_what_would_go_wrong(sweep, change, sentence):
    for words in (["--check"], []):
        done = sweep({**SMALL, **change}, *words, status=2)
        assert f"small.yaml: {sentence}" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_setting_that_the_sweep_searches_cannot_be_fixed(sweep):
    done = sweep(SMALL, "lr=0.1", status=2)
    assert done.stderr == "small.yaml: lr=0.1: this is a parameter of the sweep; leave it out.\n"


def test_check_tells_all_that_is_wrong_at_once(sweep):
    done = sweep({**SMALL, "method": "grit", "run_cap": 0, "mtric": 1}, "--check", status=2)
    assert len(done.stderr.splitlines()) == 3


def test_warnings_are_printed_by_check_and_once_before_a_sweep(workplace, sweep):
    content = {**SMALL, "metric": {"name": "val/accuracy"}}
    sentence = "small.yaml: metric: val/accuracy is minimized, which is W&B's default; write goal: "
    for words in (["--check"], ["--count", "1", *QUICK]):
        assert sweep(content, *words).stderr == f"{sentence}maximize.\n"


def test_a_key_given_twice_is_refused_with_its_lines_before_anything_is_written(workplace, sweep):
    (workplace.path / "twice.yaml").write_text(
        "method: random\nparameters:\n  lr: {values: [0.1]}\n  lr: {values: [0.2]}\n"
    )
    for words in (["--check"], ["--count", "1", *QUICK]):
        done = workplace.run(SWEEP, "twice.yaml", *words)
        assert done.returncode == 2
        assert done.stderr == (
            "twice.yaml: parameters.lr: this key is given twice, in lines 3 and 4; keep one.\n"
        )
    assert not (workplace.path / "runs").exists()


def test_the_only_worker_can_die(workplace, sweep):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    words = ["--count", "3", "--workers", "1", "epochs=300", "tracking=disabled"]
    process = workplace.start(SWEEP, "small.yaml", *words)
    wait_until(lambda: (folder(workplace).path / "study.log").exists() and children(process))
    os.kill(children(process)[0], signal.SIGKILL)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    check_whole(folder(workplace), 3, out)


def test_a_nested_block_works_here_with_a_warning(workplace, sweep):
    nested = {"optimizer": {"parameters": {"momentum": {"values": [0.5, 0.9]}}}}
    done = sweep({**SMALL, "parameters": nested}, "--check")
    assert done.stderr == (
        "small.yaml: parameters.optimizer: wandb agent does not pass a nested block on to Hydra; "
        "write optimizer.momentum.\n"
    )
    sweep({**SMALL, "parameters": nested}, "--count", "2", *QUICK)
    assert {row["optimizer.momentum"] for row in folder(workplace).table} == {"0.5", "0.9"}


@pytest.mark.parametrize("file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_files_of_this_project_are_sound_and_run(workplace, file):
    content = yaml.safe_load(file.read_text())
    if content["parameters"].pop("dataset", None):  # which is missing without a network
        assert file.stem == "mnist"
    digits = ["dataset=digits"] if file.stem in ("mnist", "claims") else []
    (workplace.path / file.name).write_text(yaml.safe_dump(content))
    (workplace.path / "scripts").symlink_to(ROOT / "scripts")
    done = workplace.run(SWEEP, file.name, "--count", "3", "tracking=disabled", *digits)
    assert done.returncode == 0, done.stderr
    table = folder(workplace, file.stem).table
    early = {"pruned"} if file.stem == "hyperband" else set()
    assert {"finished"} <= {row["state"] for row in table} <= {"finished"} | early


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.yaml"], "none.yaml: there is no such file."),
        (["small.yaml", "--count", "0"], "0 must be a whole number, at least 1"),
        (["small.yaml", "--workers", "x"], "x must be a whole number, at least 1"),
        (["small.yaml", "--name", "../up"], "'../up' must consist of letters, digits, - and _"),
        (["small.yaml", "epochs"], "epochs: a setting is written KEY=VALUE"),
        (["small.yaml", "epochs=0"], "epochs=0: epochs must be a whole number, at least 1."),
        (["small.yaml", "--output", "/proc/none"], "nothing can be written there"),
        ([], "the following arguments are required: file"),
    ],
)
def test_a_mistake_on_the_command_line_costs_a_sentence(workplace, words, sentence):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    done = workplace.run(SWEEP, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in workplace.path.iterdir()] == ["small.yaml"]


def test_a_terminal_shows_a_live_table(workplace):
    (workplace.path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    ours, theirs = pty.openpty()
    line, settings = workplace.command(SWEEP, "small.yaml", "--count", "3", "epochs=200", QUICK[1])
    process = subprocess.Popen(line, stdout=theirs, stderr=subprocess.PIPE, **settings)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    process.communicate()
    os.close(ours)
    text = seen.decode()
    assert "of 3 done" in text
    assert "best" in text
    assert "left" in text


def test_a_word_may_set_what_only_an_option_that_is_searched_has(workplace, sweep):
    content = {**SMALL, "parameters": {"model": {"values": ["mlp", "cnn"]}}}
    done = sweep(content, "--check", "model.activation=tanh")
    assert done.stdout == "small.yaml: no problems found.\n"
    done = sweep(content, "--check", "model.kernel_size=5", status=2)
    assert done.stderr.startswith(
        "small.yaml: model.kernel_size=5: there is no setting model.kernel_size"
    )
    content = {**SMALL, "parameters": {"model": {"values": ["cnn"]}}}
    assert sweep(content, "--check", "model.kernel_size=5").returncode == 0
    done = sweep(content, "--check", "model.kernal=5", status=2)
    assert "did you mean model.kernel_size?" in done.stderr


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["123", "null", "my sweep (1)", "a,b=[c]", "it's"])
def test_a_sweep_may_have_the_name_of_any_file(workplace, name):
    (workplace.path / f"{name}.yaml").write_text(yaml.safe_dump(SMALL))
    done = workplace.run(SWEEP, f"{name}.yaml", "--count", "1", "--workers", "1", "epochs=1")
    assert done.returncode == 0, done.stdout + done.stderr
    (trial,) = folder(workplace, name).trials
    assert yaml.safe_load((trial.path / "config.yaml").read_text())["tracking"]["group"] == name
