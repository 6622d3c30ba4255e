"""Problems of a sweep file are reported before the sweep starts, all at once and quickly."""

from __future__ import annotations

import pytest
import yaml

from nn.sweeps import dry_run, lint
from tests.conftest import ROOT

AGENT_COMMAND = ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
VALID_SWEEP = {
    "program": "scripts/train.py",
    "command": AGENT_COMMAND,
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {"lr": {"value": 0.1}},
}


@pytest.fixture(autouse=True)
def run_at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def write_sweep_file(tmp_path):
    def write(text):
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def lint_warnings(write_sweep_file):
    def lint_warnings(**changes):
        content = {
            key: value for key, value in (VALID_SWEEP | changes).items() if value is not None
        }
        path = write_sweep_file(yaml.safe_dump(content))
        assert lint.find_errors(path, []) == []
        return list(lint.find_warnings(path))

    return lint_warnings


def test_valid_file_has_no_warnings(lint_warnings):
    assert lint_warnings() == []
    assert lint_warnings(program=None, command=None) == []
    assert lint_warnings(metric={"name": "val/accuracy", "goal": "maximize"}) == []
    assert lint_warnings(metric=None) == []
    tiny = {"distribution": "log_uniform", "min": -7.0, "max": -0.5}
    values = {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1}
    assert lint_warnings(parameters={"lr": tiny, "weight_decay": values}) == []
    assert lint_warnings(command=["python", "${program}", "${args_override_hydra}"]) == []


@pytest.mark.parametrize(
    ("metric", "messages"),
    [
        (
            {"name": "val/accuracy"},
            ["metric: val/accuracy is minimized, which is W&B's default; write goal: maximize."],
        ),
        (
            {"name": "train/accuracy", "goal": "minimize"},
            ["metric.goal: train/accuracy is minimized, but higher is better; write goal: max"],
        ),
        (
            {"name": "val/loss", "goal": "maximize"},
            ["metric.goal: val/loss is maximized, but lower is better; write goal: minimize."],
        ),
        (
            {"name": "test/top3"},
            ["metric: test/top3 is minimized,", "metric.name: test/top3 selects trials by the te"],
        ),
        ({"name": "test/loss"}, ["metric.name: test/loss selects trials by the test set, whose"]),
        ({"name": "test/calibration_error", "goal": "maximize"}, ["metric.goal", "metric.name"]),
    ],
)
def test_wrong_goals_and_test_metrics_give_warnings(lint_warnings, metric, messages):
    for found, message in zip(lint_warnings(metric=metric), messages, strict=True):
        assert found.startswith(message)


def test_imputation_without_bayes_gives_a_warning(lint_warnings):
    metric = {**VALID_SWEEP["metric"], "impute": "best"}
    assert lint_warnings(metric=metric) == [
        "metric.impute has no effect without method: bayes; leave it out."
    ]
    assert lint_warnings(metric=metric, method="bayes") == []


@pytest.mark.parametrize(
    ("kind", "low", "high", "ends"),
    [
        ("log_uniform", 0.001, 0.1, "1.001 to 1.105"),
        ("log_uniform", 0, 1, "1 to 2.718"),
        ("q_log_uniform", 1, 4, "3 to 55"),
        ("inv_log_uniform", 0.1, 1.0, "0.3679 to 0.9048"),
    ],
)
def test_exponents_that_look_like_values_give_warnings(lint_warnings, kind, low, high, ends):
    name = "width" if kind.startswith("q") else "lr"
    quantum = {"q": 1} if kind.startswith("q") else {}
    parameters = {name: {"distribution": kind, "min": low, "max": high, **quantum}}
    (found,) = lint_warnings(parameters=parameters)
    assert found == (
        f"parameters.{name}: min and max are exponents in {kind}, so values from {ends} are "
        f"tried; for values from {low:g} to {high:g} write {kind}_values."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"command": [*AGENT_COMMAND[:3], f"${{{macro}}}"]},
            f"command: ${{{macro}}} does not pass param",
        )
        for macro in (
            *("args", "args_no_boolean_flags", "args_no_equals", "args_json", "args_json_file"),
            *("args_dict", "args_append_hydra"),
        )
    ]
    + [
        ({"command": None}, "command is missing: wandb agent would pass --lr=0.1, which train"),
        (
            {"command": AGENT_COMMAND[:3]},
            "command: without a macro for the parameters, wandb agent runs",
        ),
        (
            {"command": [*AGENT_COMMAND, "${argz}"]},
            "command: ${argz} is not a macro of wandb agent,",
        ),
        ({"program": None}, "program is missing: command uses it; write program: scripts/train"),
        (
            {"program": "else/train.py"},
            "program: else/train.py does not exist in the current direc",
        ),
        (
            {
                "command": [*AGENT_COMMAND[:3], "${args_override_hydra}"],
                "parameters": {"optimizer": {"value": "sgd"}},
            },
            "command: ${args_override_hydra} passes ++optimizer=NAME, which Hydra rejects; write",
        ),
    ],
)
def test_commands_that_fail_under_wandb_agent_give_warnings(lint_warnings, changes, message):
    (found,) = lint_warnings(**changes)
    assert found.startswith(message)


@pytest.mark.parametrize("program", ["mine.py", "scripts/trian.py", "scripts/sweep.py.txt", "nn"])
def test_sweep_of_another_program_is_refused(write_sweep_file, program):
    path = write_sweep_file(yaml.safe_dump(VALID_SWEEP | {"program": program}))
    assert lint.find_errors(path, []) == [
        f"program: {program} is not this library's training script; write program: "
        "scripts/train.py."
    ]


def test_foreign_train_py_is_refused(write_sweep_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import torch\n")
    path = write_sweep_file(yaml.safe_dump(VALID_SWEEP | {"program": "train.py"}))
    (found,) = lint.find_errors(path, [])
    assert found.startswith("program: train.py is not this library's training script")
    (tmp_path / "train.py").write_text((ROOT / "scripts/train.py").read_text())
    assert lint.find_errors(path, []) == []


PARAMETERS_HEADER = "method: random\nparameters:\n"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "method: random\nparameters:\n  lr: {value: 1}\nmethod: grid\n",
            ["method: this key is given twice, in lines 1 and 4; keep one."],
        ),
        (
            PARAMETERS_HEADER
            + "  lr: {value: 1}\n  depth: {value: 1}\n  lr: {value: 2}\n  lr: {value: 3}",
            ["parameters.lr: this key is given 3 times, in lines 3, 5 and 6; keep one."],
        ),
        (
            PARAMETERS_HEADER + "  lr:\n    values: [0.1]\n    'values': [0.2]\n",
            ["parameters.lr.values: this key is given twice, in lines 4 and 5; keep one."],
        ),
        (
            PARAMETERS_HEADER + "  augmentation: {values: [none, off]}\n",
            [
                "parameters.augmentation.values: off in line 3 is read as false; write 'off' if "
                "it is a string."
            ],
        ),
        (
            PARAMETERS_HEADER + "  dataset.normalize:\n    values:\n    - standard\n    - No\n",
            ["parameters.dataset.normalize.values: No in line 6 is read as false; write 'No' if"],
        ),
        (
            PARAMETERS_HEADER + "  optimizer: {parameters: {max_grad_norm: {value: on}}}",
            [
                "parameters.optimizer.parameters.max_grad_norm.value: on in line 3 is read as "
                "true; write",
            ],
        ),
        (
            PARAMETERS_HEADER + "  seed: {values: [1, 007, 010]}\n",
            [
                "parameters.seed.values: 010 in line 3 is read as 8, an octal number; write '010' "
                "if it is a string, 10 if it is a number."
            ],
        ),
        (
            PARAMETERS_HEADER + "  seed: {values: [1:30]}\n",
            ["parameters.seed.values: 1:30 in line 3 is read as 90, a number in base 60; write"],
        ),
        (
            PARAMETERS_HEADER + "  tracking.notes: {values: [2026-01-31, 2026-02-31]}\n",
            [
                "parameters.tracking.notes.values: 2026-01-31 in line 3 is read as a date; write '",
                "parameters.tracking.notes.values: 2026-02-31 in line 3 is read as a date; write '",
            ],
        ),
        (
            PARAMETERS_HEADER + "  on: {value: 1}\n",
            [
                "parameters: on in line 3 is read as true; write 'on' if it is a string.",
                "parameters.True: True=1: there is no setting True; see --help.",
            ],
        ),
    ],
)
def test_yaml_pitfalls_are_refused_with_their_line(write_sweep_file, text, messages):
    for found, message in zip(lint.find_errors(write_sweep_file(text), []), messages, strict=True):
        assert found.startswith(message)


def test_unambiguous_yaml_is_accepted(write_sweep_file):
    path = write_sweep_file(
        "method: random\n"
        "metric: {name: val/loss}\n"
        "early_terminate: {type: hyperband, min_iter: 2, strict: yes}\n"
        "parameters:\n"
        "  lr: &range {distribution: uniform, min: 0.1, max: 0.2}\n"
        "  weight_decay: {<<: *range, max: 0.3}\n"
        "  profile: {values: [on, off]}\n"
        "  seed: {values: [0, 00, 007, 0x10, 1_000]}\n"
        "  tracking.notes: {values: ['off', '2026-01-31', \"010\"]}\n"
    )
    assert lint.find_errors(path, []) == []
    assert list(lint.find_warnings(path)) == []


def test_all_errors_are_reported_at_once(write_sweep_file):
    path = write_sweep_file(
        PARAMETERS_HEADER
        + "  lr: {values: [0.1, fast, -1, 0.2]}\n"
        + "  learning_rate: {value: 0.1}\n"
        + "  optimizer: {values: [sgd, adm, momentun, adam]}\n"
        + "  dropout: {min: 0, max: 1}\n"
        + "  dropout: {min: 0, max: 1}\n"
        + "  augmentation: {values: [off, afine]}\n"
        + "  optimizer.max_grad_norm: {min: -1.0, max: 2.0}\n"
        + "program: mine.py\n"
        + "metric: {name: los}\n"
    )
    found = lint.find_errors(path, ["width=0", "lr=0.5"])
    assert sorted(message.split(": ")[0] for message in found) == sorted(
        [
            *["parameters.dropout"] * 2,
            "parameters.augmentation.values",
            *["parameters.lr", "parameters.lr", "parameters.learning_rate"],
            *["parameters.optimizer", "parameters.optimizer", "parameters.augmentation"],
            *["parameters.optimizer.max_grad_norm", "program", "metric.name", "width=0", "lr=0.5"],
        ]
    )
    path = write_sweep_file(
        PARAMETERS_HEADER + "  lr: {min: 2.0, max: 1.0}\n  depth: {}\nmethd: grid\nmethd: grid\n"
    )
    assert [message.split(": ")[0] for message in lint.find_errors(path, [])] == [
        *["methd", "methd", "parameters.lr", "parameters.depth"]
    ]


def test_each_invalid_setting_is_reported(write_sweep_file):
    path = write_sweep_file(
        PARAMETERS_HEADER + "  model: {value: linear}\n  depth: {value: 1}\n  width: {value: 9}\n"
    )
    assert lint.find_errors(path, []) == [
        "parameters.depth: depth=1 has no effect with model=linear; leave it out.",
        "parameters.width: width=9 has no effect with model=linear; leave it out.",
    ]
    path = write_sweep_file(
        PARAMETERS_HEADER + "  dataset: {value: csv}\n  dataset.train: {value: none.csv}\n"
        "  lr: {values: [0.1, 0]}\n"
    )
    assert lint.find_errors(path, []) == [
        "parameters.dataset.train: none.csv: there is no such file.",
        "parameters.lr: lr=0: lr must be a number above 0.",
    ]


def test_renamed_setting_is_refused_with_its_new_name(write_sweep_file):
    path = write_sweep_file(
        PARAMETERS_HEADER
        + "  lr: {value: 0.1}\n"
        + "  keep: {values: [last, best]}\n"
        + "  dataset.limit: {value: 300}\n"
        + "  tracking: {parameters: {every: {value: 5}}}\n"
        + "  schedule: {value: plateau}\n"
        + "  schedule.gamma: {values: [0.5]}\n"
        + 'command: ["${program}", "draws=100", "${args_no_hyphens}"]\n'
    )
    assert lint.find_errors(path, ["checkpoint=5"]) == [
        "draws=100: draws was renamed; use samples_per_epoch=100.",
        "checkpoint=5: checkpoint was renamed; use checkpoint_every=5.",
        "parameters.keep: keep=last: keep was renamed; use restore_best=false.",
        "parameters.keep: keep=best: keep was renamed; use restore_best=true.",
        "parameters.dataset.limit: dataset.limit=300: dataset.limit was renamed; use "
        "dataset.max_samples=300.",
        "parameters.tracking.every: tracking.every=5: tracking.every was renamed; use "
        "tracking.confusion_every=5.",
        "parameters.schedule.gamma: schedule.gamma=0.5: schedule.gamma was renamed; use "
        "schedule.factor=0.5.",
    ]


def yaml_values(values):
    return "{values: [" + ",".join(map(str, values)) + "]}\n"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (f"  lr: {yaml_values(range(1, 40_000))}  batch_size: {yaml_values(range(1, 40_000))}", 0),
        (f"  lr: {yaml_values(range(-40_000, 0))}  batch_size: {yaml_values(range(1, 40_000))}", 6),
        (f"  optimizer: {yaml_values(f'adam{n}' for n in range(30_000))}", 6),
        ("".join(f"  unknown{n}: {{value: 1}}\n" for n in range(1000)), 41),
        ("  seed: {distribution: q_uniform, min: 0, max: 1000000000000, q: 1}\n", 0),
        ("  seed: {min: 0, max: 1000000000000}\n", 0),
    ],
    ids=["many", "negative", "options", "unknown", "steps", "whole"],
)
def test_check_is_bounded_for_any_number_of_values(write_sweep_file, monkeypatch, text, messages):
    prepared = []
    prepare = dry_run.prepare
    monkeypatch.setattr(
        dry_run, "prepare", lambda config: (prepared.append(config), prepare(config))
    )
    assert len(lint.find_errors(write_sweep_file(PARAMETERS_HEADER + text), [])) == messages
    assert len(prepared) <= 60


def test_every_option_and_both_range_bounds_are_checked(write_sweep_file):
    names = [*["sgd"] * 30, "adm", *["adam"] * 30]
    (found,) = lint.find_errors(
        write_sweep_file(PARAMETERS_HEADER + f"  optimizer: {yaml_values(names)}"), []
    )
    assert found.startswith("parameters.optimizer: optimizer=adm: there is no such optimizer")
    ranges = {
        "optimizer.max_grad_norm": "{min: 0.5, max: 1.0}",
        "optimizer.momentum": "{min: 0.5, max: 1.5}",
        "loss.label_smoothing": "{min: 0.0, max: 0.1}",
    }
    text = "".join(f"  {name}: {each}\n" for name, each in ranges.items())
    (found,) = lint.find_errors(write_sweep_file(PARAMETERS_HEADER + text), ["optimizer=momentum"])
    assert found.startswith("parameters.optimizer.momentum: optimizer.momentum=1.5")
