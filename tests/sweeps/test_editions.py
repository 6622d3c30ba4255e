"""Trials of earlier editions are read as the last one means them; an edit is whole or not there."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import yaml

from nn.errors import UserError
from nn.sweeps import study_record
from nn.sweeps.edit import SweepEdit, get_setting
from nn.sweeps.editions import EDITIONS_KEY, Edition
from nn.sweeps.options import SweepSettings, merge_overrides
from nn.sweeps.schema import SweepConfig
from nn.sweeps.study import SweepStudy
from nn.sweeps.trials_reader import load_sweep_trials

LR = {"min": 0.0, "max": 1.0}


def make_edition(parameters, *overrides, **keys):
    content = {"method": "random", "metric": {"name": "val/loss"}, "parameters": parameters, **keys}
    return Edition(
        sweep_file=yaml.safe_dump(content), sampler=None, overrides=overrides, constants={}
    )


def open_study(folder, edition):
    """Open a study in a directory as `sweep.py` creates it."""
    if not (folder / "sweep.yaml").exists():
        folder.mkdir(exist_ok=True)
        settings = SweepSettings(seed=0, sampler=None, overrides=edition.overrides)
        (folder / "settings.json").write_text(settings.to_json())
        (folder / "sweep.yaml").write_text(edition.sweep_file)
    return SweepStudy(edition.sweep, folder, 0)


def run_trials(study, count, function=lambda point: point["lr"], **scores):
    """Finish trials without training, with a loss that is a function of the point."""
    for _ in range(count):
        number = study.ask()
        trial_dir = study.get_trial_dir(number)
        trial_dir.mkdir(parents=True)
        record = {"epoch": 1, "val/loss": function(study.get_point(number)), **scores}
        (trial_dir / "history.jsonl").write_text(json.dumps(record) + "\n")
        (trial_dir / "summary.json").write_text('{"status": "finished"}')
        study.tell(number, "finished")


def edit(study, edition, known, *, is_allowed=True):
    """Apply an edit and return its lines."""
    lines = []
    SweepEdit(study, "new.yaml", edition, known).apply(lines.append, is_allowed=is_allowed)
    return lines


def edited_study(folder, before, after, count=3, **scores):
    """Return a study of finished trials that was edited."""
    study = open_study(folder, before)
    run_trials(study, count, **scores)
    edit(study, after, before)
    return study


def test_trials_have_the_values_of_new_parameters_with_which_they_ran(tmp_path):
    before = make_edition({"lr": LR}, "optimizer=adam", "width=24")
    after = make_edition(
        {
            "lr": LR,
            "dropout": {"values": [0.0, 0.5]},  # recorded as 0
            "optimizer": {"values": ["adam", "sgd"]},
            "width": {"min": 8, "max": 32},
            "optimizer.momentum": {"values": [0.5]},  # adam has none
        },
        "optimizer=adam",
        "width=24",
    )
    after = after.model_copy(update={"overrides": ()})
    study = open_study(tmp_path / "study", before)
    run_trials(study, 2)
    running = study.ask()
    lines = edit(study, after, before)
    assert "dropout: new; the 3 earlier trials had 0" in lines
    assert "optimizer: new; the 3 earlier trials had adam" in lines
    assert "optimizer.momentum: new; the 3 earlier trials had no such setting" in lines
    for trials in (study, load_sweep_trials(tmp_path / "study")):
        point = trials.get_point(0)
        assert point == {"dropout": 0.0, "lr": point["lr"], "optimizer": "adam", "width": 24}
        assert list(point) == sorted(point)
        assert type(point["dropout"]) is float
    assert study.get_recorded_point(running).keys() == {"lr"}
    assert study.get_edition(running).fixed_overrides.after == ["optimizer=adam", "width=24"]
    assert study.get_edition(study.ask()).overrides == ()


def test_removed_parameter_tells_trials_apart(tmp_path):
    before = make_edition({"lr": LR, "depth": {"values": [1, 2, 3]}}, method="bayes")
    study = open_study(tmp_path / "study", before)
    run_trials(study, 9)
    depths = [study.get_point(number)["depth"] for number in range(9)]
    edit(study, make_edition({"lr": LR}, method="bayes"), before)
    for trial, depth in zip(study.observed_trials, depths, strict=True):
        assert study.space.contains(trial.point) == (depth == 2)  # the default
        assert trial.task == ("" if depth == 2 else f"depth: {depth}")
    study.write_trials_csv()
    lines = (study.sweep_dir / "trials.csv").read_text().splitlines()
    column = lines[0].split(",").index("depth")
    assert [int(line.split(",")[column]) for line in lines[1:]] == depths
    again = make_edition({"lr": LR, "depth": {"values": [1, 2]}}, method="bayes")
    assert {*depths} == {1, 2, 3}
    line = "depth: new; the 9 earlier trials had 1 or 2 or 3"
    assert edit(study, again, study.editions[-1]) == [line]
    assert [study.get_point(number)["depth"] for number in range(9)] == depths


@pytest.mark.parametrize(
    ("goal", "parameters"),
    [
        ("maximize", {"lr": LR, "epochs": {"value": 9}}),  # another task
        ("minimize", {"lr": {"min": 0.32, "max": 1.0}, "epochs": {"value": 1}}),  # outside
    ],
)
def test_trials_outside_the_space_inform_the_search(tmp_path, goal, parameters):
    keys = {"method": "bayes", "metric": {"name": "val/loss", "goal": goal}}
    before = make_edition({"lr": LR, "epochs": {"value": 1}}, **keys)
    sign = 1 if goal == "minimize" else -1
    study = edited_study(
        tmp_path / "study",
        before,
        make_edition(parameters, **keys),
        count=10,
        function=lambda point: sign * (point["lr"] - 0.3) ** 2,
    )
    points = [study.get_point(study.ask()) for _ in range(2)]
    assert 0.2 < points[0]["lr"] < 0.5  # later ones would first have to confirm another task
    resumed = open_study(tmp_path / "study", before)
    resumed.tell(11, "failed")
    study.refresh()
    assert resumed.sampler.propose(12, resumed.observed_trials) == study.sampler.propose(
        12, study.observed_trials
    )


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_any_sampler_continues_in_another_space(tmp_path, sampler):
    before = make_edition({"lr": LR, "depth": {"values": [1, 2]}}, method="bayes")
    after = make_edition({"lr": {"values": ["a", "b"]}, "width": LR}, method="bayes")
    after = after.model_copy(update={"sampler": sampler})
    study = open_study(tmp_path / "study", before)
    run_trials(study, 3)
    with study.storage.lock():
        study.add_edition(before, after)
    for _ in range(3):
        assert study.space.contains(study.get_point(study.ask()))


def test_objectives_are_those_of_the_new_metric(tmp_path):
    before = make_edition({"lr": LR}, early_terminate={"type": "hyperband", "min_iter": 1})
    after = make_edition({"lr": LR}, metric={"name": "val/accuracy", "goal": "maximize"})
    study = open_study(tmp_path / "study", before)
    run_trials(study, 2, **{"val/accuracy": 0.75})
    number = study.ask()
    study.report(number, 1, 0.5)
    other = open_study(tmp_path / "study", before)
    edit(other, after, before)
    assert [trial.user_attrs.get("objective") for trial in other.trials] == [0.75, 0.75, None]
    assert not any(trial.intermediate_values for trial in other.trials)
    trial_dir = study.get_trial_dir(number)  # which ends on a machine that does not know yet
    trial_dir.mkdir()
    (trial_dir / "history.jsonl").write_text('{"epoch": 1, "val/loss": 3, "val/accuracy": 0.25}\n')
    assert not study.should_prune(number, 2, 9.0)
    assert study.tell(number, "finished") == 0.25
    assert [trial.number for trial in study.rank_trials()] == [0, 1, number]
    assert study.get_param_importances().num_trials == 3


def test_other_programs_see_the_params_until_an_edit(tmp_path):
    before = make_edition({"lr": LR, "model.hidden": {"values": [[8], [16, 8]]}})
    study = edited_study(tmp_path / "a", before, make_edition({"lr": {"values": [0.5]}}), count=2)
    run_trials(study, 1)
    points = [study.get_recorded_point(number) for number in range(3)]
    params = [trial.params for trial in study.optuna_study.get_trials()]
    assert params[2] == {}
    for number in range(2):
        assert params[number]["lr"] == points[number]["lr"]
        assert json.loads(params[number]["model.hidden"]) == points[number]["model.hidden"]


def test_metric_of_a_run_elsewhere_is_refused(tmp_path):
    before = make_edition({"lr": LR})
    study = open_study(tmp_path / "study", before)
    run_trials(study, 1)
    (study.get_trial_dir(0) / "summary.json").unlink()
    with pytest.raises(UserError, match=r"trial 0 ran on .* and its run is not here; copy it to"):
        edit(study, make_edition({"lr": LR}, metric={"name": "val/accuracy"}), before)
    assert EDITIONS_KEY not in study.optuna_study.user_attrs


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (["epochs=5"], ["epochs=9"], "epochs=9: the 2 earlier trials had epochs=5, and only"),
        ([], ["seed=1"], "seed=1: the 2 earlier trials had another value, and only"),
        (["seed=1"], [], "seed=VALUE: the 2 earlier trials had seed=1, and only"),
    ],
)
def test_change_of_a_setting_that_is_not_recorded_is_refused(tmp_path, before, after, message):
    old, new = make_edition({"lr": LR}, *before), make_edition({"lr": LR}, *after)
    study = open_study(tmp_path / "study", old)
    run_trials(study, 2)
    with pytest.raises(UserError) as error:
        edit(study, new, old)
    assert str(error.value).startswith(message)
    assert str(error.value).endswith("under parameters in new.yaml.")
    untried = open_study(tmp_path / "untried", old)
    assert len(edit(untried, new, old)) == 1
    harmless = make_edition({"lr": LR}, *before, "tracking=disabled", "checkpoint_every=9")
    assert edit(study, harmless, old) == []


def test_machines_agree_on_the_edition(tmp_path):
    old, new = make_edition({"lr": LR}, run_cap=1), make_edition({"lr": {"min": 0.0, "max": 2.0}})
    line = "lr: 0 ... 1 → 0 ... 2"
    study = open_study(tmp_path / "study", old)
    assert edit(study, old, old) == edit(study, old, None, is_allowed=False) == []
    with pytest.raises(UserError, match=r"^new\.yaml: lr: .*; --resume changes the sweep"):
        edit(study, new, old, is_allowed=False)
    assert edit(study, make_edition({"lr": LR}), old, is_allowed=False) == []  # but for run_cap
    assert edit(study, new, old) == ["run_cap: 1 → none", line]
    assert edit(study, new, new) == edit(study, new, None, is_allowed=False) == []
    for is_allowed in (True, False):  # the file of then is taken for what has come of it
        assert edit(study, old, old, is_allowed=is_allowed) == [
            f"Changed since: {change}" for change in ("run_cap: 1 → none", line)
        ]
    with pytest.raises(UserError, match=r"copy sweep\.yaml from another machine"):
        edit(study, old, None, is_allowed=False)
    with pytest.raises(UserError, match=r"another machine has changed it too; resume with .*yaml"):
        edit(study, make_edition({"lr": {"min": 0.0, "max": 3.0}}), old)
    assert study.editions[-1].sweep == new.sweep
    assert (study.sweep_dir / "sweep.yaml").read_text() == new.sweep_file


@pytest.mark.parametrize("num_writes", range(4))
def test_edit_that_is_killed_at_any_write_is_whole_or_not_there(tmp_path, monkeypatch, num_writes):
    old = make_edition({"lr": {"values": [0.1]}})
    new = make_edition({"lr": {"values": [0.1, 0.2]}}, "tracking=disabled")
    study = open_study(tmp_path / "study", old)
    run_trials(study, 1)
    writes = []

    def kill_before(write):
        def wrapped(*args):
            if len(writes) == num_writes:
                raise KeyboardInterrupt
            writes.append(write)
            return write(*args)

        return wrapped

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(study_record, "atomic_write", kill_before(study_record.atomic_write))
        set_user_attr = kill_before(study.optuna_study.set_user_attr)
        patch.setattr(study.optuna_study, "set_user_attr", set_user_attr)
        edit(study, new, old)
    assert len(writes) == num_writes
    settings = SweepSettings.model_validate_json((study.sweep_dir / "settings.json").read_text())
    assert settings.overrides == (new if num_writes > 1 else old).overrides
    known = Edition(
        sweep_file=(study.sweep_dir / "sweep.yaml").read_text(),
        sampler=None,
        overrides=settings.overrides,
        constants={},
    )
    resumed = open_study(tmp_path / "study", known)
    assert resumed.sweep == (new.sweep if num_writes else old.sweep)
    assert edit(resumed, new, known) == ([] if num_writes else ["lr: 0.1 → 0.1, 0.2"])
    assert (study.sweep_dir / "sweep.yaml").read_text() == new.sweep_file
    assert len(resumed.editions) == 2


@pytest.mark.parametrize(
    "content",
    [
        7,
        [None, None],
        [{"sweep_file": "a: ["}],
        [{"sweep_file": "method: grid", "sampler": None, "overrides": [], "constants": {}}],
        [{"sweep_file": "x" * 2**21, "sampler": None, "overrides": [], "constants": {}}],
    ],
)
def test_damaged_editions_are_reported(tmp_path, content):
    study = open_study(tmp_path / "study", make_edition({"lr": LR}))
    study.ask()
    study.optuna_study.set_user_attr(EDITIONS_KEY, content)
    with pytest.raises(UserError, match="damaged"):
        load_sweep_trials(tmp_path / "study")
    with pytest.raises(UserError, match="the study's editions are damaged"):
        study.refresh()


def test_saved_overrides_give_way_to_the_file_and_the_command_line():
    def parse(**parameters):
        return SweepConfig.model_validate({"method": "random", "parameters": parameters})

    saved = ["epochs=5", "width=8", "depth=1"]
    before = parse(lr=LR, epochs={"value": 9})
    assert merge_overrides(saved, [], before, before) == (*saved,)
    assert merge_overrides(saved, ["width=9"], before, before) == ("epochs=5", "depth=1", "width=9")
    after = parse(lr=LR, epochs={"value": 7}, depth={"values": [1, 2]})
    assert merge_overrides(saved, [], before, after) == ("width=8",)


def test_setting_is_found_by_the_name_that_overrides_it():
    config = {"lr": 0.1, "model": {"hidden": [8]}, "choices": {"model": "mlp", "optimizer": "sgd"}}
    assert get_setting(config, "lr") == 0.1
    assert get_setting(config, "model") == "mlp"
    assert get_setting(config, "model.hidden") == [8]
    for name in ("lr.x", "model.x", "choices", "x"):
        with pytest.raises(KeyError):
            get_setting(config, name)
