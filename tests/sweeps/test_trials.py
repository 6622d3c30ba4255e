from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

import nn
from nn.errors import UserError
from nn.sweeps.console import SweepConsole
from nn.sweeps.options import SweepSettings
from nn.sweeps.schema import Metric, parse_sweep_config, read_sweep_config
from nn.sweeps.space import FixedOverrides
from nn.sweeps.study import Budget, SweepStudy
from nn.sweeps.trials import SUMMARY_SCORES, SweepTrials
from nn.sweeps.trials_reader import load_sweep_trials
from tests.report.factories import make_sweep

PARAMETERS = {
    "lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.5},
    "depth": {"values": [1, 2, 3]},
    "model.hidden": {"values": [[64], [64, 32]]},
    "width": {"distribution": "q_uniform", "min": 16, "max": 64, "q": 16},
    "restore_best": {"value": False},
}


def make_study(folder, method="random", parameters=PARAMETERS):
    folder.mkdir(exist_ok=True)
    content = {"method": method, "metric": {"name": "val/loss"}, "parameters": parameters}
    return SweepStudy(parse_sweep_config(content, Path("sweep.yaml")), folder, 0)


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_study_truncated_at_any_line_resumes_with_the_same_points(tmp_path, method):
    original = make_study(tmp_path / "whole", method)
    for number in range(3):
        assert original.ask() == number
        if number != 1:
            original.tell(number, "failed")
    expected = [original.get_point(number) for number in range(3)]
    lines = (tmp_path / "whole/study.log").read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "study.log").write_bytes(b"".join(lines[:count]))
        resumed = make_study(folder, method)
        for number in resumed.reclaim_stale_trials():
            assert resumed.get_point(number).keys() == expected[number].keys()
        while len(resumed.trials) < 3:
            resumed.ask()
        if method == "random":
            assert [resumed.get_point(number) for number in range(3)] == expected


def test_study_of_format_version_2_is_resumed(tmp_path):
    """In that version, points were the params of Optuna's trials, stored one by one."""
    study = make_study(tmp_path / "study", "bayes")
    points = [study.sampler.propose(number, []) for number in range(2)]
    for point in points:
        trial = create_trial(
            state=TrialState.RUNNING,
            params=study.space.to_optuna(point),
            distributions=study.space.optuna_distributions,
        )
        study.optuna_study.add_trial(trial)
    study.optuna_study.ask()  # killed before it had any
    resumed = make_study(tmp_path / "study", "bayes")
    assert resumed.reclaim_stale_trials() == [0, 1]
    assert [resumed.get_point(number) for number in range(3)] == [*points, {}]
    resumed.tell(0, "failed")
    assert resumed.ask(Budget(3)) == 3
    assert resumed.ask(Budget(3)) is None
    assert [trial.state.name for trial in resumed.trials] == ["FAIL", "RUNNING", "FAIL", "RUNNING"]
    assert resumed.trials[2].user_attrs["reason"] == "its parameters were not recorded"
    assert [row["number"] for row in read_table(resumed)] == ["0", "1", "3"]


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_samplers_see_values_to_minimize(tmp_path, goal):
    study = make_study(tmp_path / "study")
    study.sweep = study.sweep.model_copy(update={"metric": Metric(name="val/loss", goal=goal)})
    sign = study.sweep.metric.minimization_sign
    for value in (0.5, math.inf, None):
        study.ask()
        number = len(study.trials) - 1
        study._set_user_attrs(number, objective=value)
        study.report(number, 1, 0.25)
        study.optuna_study.tell(number, state=TrialState.FAIL)
    study.refresh()
    assert [trial.value for trial in study.observed_trials] == [sign * 0.5, None, None]
    assert study.observed_trials[0].intermediate_values == {1: sign * 0.25}


@pytest.mark.parametrize(
    "point", [5, "lr", [["lr", 1]], {"lr": math.nan}, {"lr": {"x": 1}}, {"lr": 10**400}]
)
def test_what_is_not_a_point_is_reported_as_damage(tmp_path, point):
    study = make_study(make_sweep(tmp_path / "s", 1))
    trial = create_trial(state=TrialState.RUNNING, user_attrs={"point": point})
    study.optuna_study.add_trial(trial)
    with pytest.raises(UserError, match=r"study\.log is damaged"):
        load_sweep_trials(tmp_path / "s")


def test_points_keep_their_types(tmp_path):
    study = make_study(tmp_path / "study")
    for number in range(8):
        point = study.get_point(study.ask())
        assert isinstance(point["lr"], float)
        assert isinstance(point["depth"], int)
        assert point["model.hidden"] in ([64], [64, 32])
        assert point["width"] in (16, 32, 48, 64)
        assert isinstance(point["width"], int)
        assert point["restore_best"] is False
        assert number + 1 == len(study.trials)


def test_finite_space_is_exhausted_before_points_repeat(tmp_path):
    few = {"depth": {"values": [1, 2, 3]}, "width": {"values": [32, 64]}}
    study = make_study(tmp_path / "study", parameters=few)
    points = [tuple(study.get_point(study.ask()).values()) for _ in range(7)]
    assert len(set(points[:6])) == 6


def test_reclaimed_trial_is_finished_only_once(tmp_path):
    first = make_study(tmp_path / "study")
    number = first.ask()
    other = make_study(tmp_path / "study")
    assert other.reclaim_stale_trials() == [number]
    first.tell(number, "failed", "too late")
    assert [trial.state.name for trial in other.trials] == ["RUNNING"]
    other.tell(number, "diverged", "in time")
    first.refresh()
    assert first.trials[number].user_attrs["reason"] == "in time"


def test_requested_trial_count_is_not_exceeded(tmp_path):
    study = make_study(tmp_path / "study")
    assert [study.ask(Budget(2)) for _ in range(3)] == [0, 1, None]


def read_table(study):
    study.write_trials_csv()
    with (study.sweep_dir / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_summary(study, number, **content):
    folder = study.get_trial_dir(number)
    folder.mkdir(parents=True)
    scores = dict.fromkeys(SUMMARY_SCORES, 0.5)
    (folder / "summary.json").write_text(json.dumps(scores | {"status": "finished"} | content))
    return folder / "summary.json"


def test_table_has_the_scores_of_each_run(tmp_path):
    study = make_study(tmp_path / "s")
    for number, content in enumerate(
        [
            {"val/accuracy": 0.75, "epochs": 7, "seconds": 1.5},
            {"status": "pruned", "test/accuracy": None, "epochs": 2},
        ]
    ):
        study.ask()
        write_summary(study, number, **content)
        study.tell(number, content.get("status", "finished"))
    finished, pruned = read_table(study)
    assert [finished[key] for key in SUMMARY_SCORES] == ["0.75", "0.5", "0.5", "0.5"]
    assert (finished["epochs_trained"], finished["seconds"]) == ("7", "1.5")
    assert [pruned[key] for key in ("state", "test/accuracy", "epochs_trained", "seconds")] == [
        "pruned", "", "2", "",
    ]  # fmt: skip
    names = ["number", "replicate_of", "replicate", "seed", "state", "reason", "objective"]
    names += [*SUMMARY_SCORES, "epochs_trained", "seconds"]
    assert list(finished) == [*names, *study.space.parameters, "folder"]


def test_parameter_and_result_do_not_share_a_column(tmp_path):
    study = make_study(tmp_path / "s", parameters={"epochs": {"values": [9]}, **PARAMETERS})
    study.ask()
    write_summary(study, 0, epochs=4)
    study.tell(0, "finished")
    (row,) = read_table(study)
    assert (row["epochs"], row["epochs_trained"]) == ("9", "4")
    header = (study.sweep_dir / "trials.csv").read_text().splitlines()[0].split(",")
    assert len(header) == len(set(header))


DAMAGE = {
    "missing": lambda file: file.unlink(),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:20]),
    "a list": lambda file: file.write_text("[1, 2]"),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\x00"),
    "odd values": lambda file: file.write_text(
        '{"status": "finished", "val/accuracy": "high", "val/loss": NaN, "test/accuracy": true, '
        f'"test/loss": [0.1], "epochs": {{}}, "seconds": {10**400}}}'
    ),
    "a link out of its folder": lambda file: (
        file.rename(file.parents[2] / "other.json"),
        file.symlink_to(file.parents[2] / "other.json"),
    ),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "an earlier attempt's": lambda file: file.write_text(
        file.read_text().replace("finished", "interrupted")
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_unknown_scores_are_empty_cells(tmp_path, damage):
    study = make_study(tmp_path / "s")
    for number in range(2):
        study.ask()
        file = write_summary(study, number)
        (file.parent / "history.jsonl").write_text('{"epoch": 1, "val/loss": 0.3}\n')
        study.tell(number, "finished")
    damage(file)
    intact, damaged = read_table(study)
    assert {intact[key] for key in SUMMARY_SCORES} == {"0.5"}
    assert {damaged[key] for key in (*SUMMARY_SCORES, "epochs_trained", "seconds")} == {""}
    assert (damaged["state"], damaged["objective"]) == ("finished", "0.3")


@pytest.mark.parametrize("status", ["interrupted", None])
def test_attempt_before_another_machine_took_over_is_not_the_trial_s_directory(tmp_path, status):
    study = make_study(tmp_path / "s")
    study.ask()
    file = write_summary(study, 0)
    (file.parent / "history.jsonl").write_text('{"epoch": 1, "val/loss": 0.3}\n')
    study.tell(0, "finished")
    assert read_table(study)[0]["folder"] == "trials/0000"
    if status:
        file.write_text(file.read_text().replace("finished", status))
    else:
        file.unlink()
    assert read_table(study)[0]["folder"].endswith(":trials/0000")


def test_remote_trial_has_a_row_without_scores(tmp_path):
    study = make_study(tmp_path / "s")
    study.ask()
    study.tell(0, "failed", 'it said "no", and\nended')
    (row,) = read_table(study)
    assert row["reason"] == 'it said "no", and\nended'
    assert {row[key] for key in SUMMARY_SCORES} == {""}
    assert row["folder"].endswith(":trials/0000")


def test_journal_of_a_shared_study_is_recorded_for_reports():
    settings = SweepSettings(seed=1, sampler=None, overrides=())
    content = json.loads(settings.to_json("study.log", "name"))
    assert content["journal"] == str(Path.cwd() / "study.log")
    assert content["study_name"] == "name"
    assert SweepSettings.model_validate_json(json.dumps(content)) == settings
    assert "journal" not in settings.to_json()


def test_a_bug_is_not_reported_as_a_damaged_sweep(tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    make_sweep(tmp_path / "s", 2)
    monkeypatch.setattr(SweepTrials, "get_point", fail)
    with pytest.raises(ZeroDivisionError):
        load_sweep_trials(tmp_path / "s")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (120, ["val/accuracy", "test/accuracy"]),
        (80, ["test/accuracy"]),
        (40, []),
    ],
)
def test_ranking_shows_the_accuracies_that_fit_on_the_screen(tmp_path, capsys, width, shown):
    make_sweep(tmp_path / "s", 12)
    for file in (tmp_path / "s").rglob("summary.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"val/accuracy": 0.875}))
    screen = SweepConsole()
    screen.console.width = width
    screen.print_sweep_result(load_sweep_trials(tmp_path / "s"), FixedOverrides((), ()), "")
    out = capsys.readouterr().out
    titles, first = (line.split() for line in out.splitlines()[1:3])
    assert [title for title in titles if title.endswith("accuracy")] == shown
    if "val/accuracy" in shown:
        assert first[titles.index("val/accuracy")] == "0.8750"
    assert "Parameter importance (fANOVA, 12 finished points): " in out
    assert "12 finished points are few" in out


def test_paused_trials_are_listed_after_those_that_have_ended(tmp_path, capsys):
    folder = make_sweep(tmp_path / "s", 6, states=("finished", "paused"), best_loss=0.5)
    study = SweepStudy(read_sweep_config(folder / "sweep.yaml"), folder, 0)
    study._set_user_attrs(1, objective=0.001)  # it may be the best so far
    study.refresh()
    SweepConsole().print_sweep_result(study, FixedOverrides((), ()), "")
    lines = capsys.readouterr().out.splitlines()
    _, *rows = (line.split("  ") for line in lines[1:8])
    rows = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [row[4] for row in rows[:3]] == ["finished"] * 3
    assert [row[3] for row in rows[3:]] == ["paused at epoch 2"] * 3  # without a test accuracy
    assert (rows[3][1], rows[3][2]) == ("0.001", "1")
    assert f"Trials: 6, 3 of them paused, in {folder}" in lines
    best = min((0, 2, 4), key=lambda number: study.trials[number].user_attrs["objective"])
    assert lines[-2] == "Reproduce the best trial:"
    assert f"lr={study.get_point(best)['lr']}" in lines[-1]

    table = read_table(study)
    assert [row["state"] for row in table] == ["finished", "paused"] * 3
    assert (table[1]["objective"], table[1]["epochs_trained"]) == ("0.001", "2")
    assert [row["epochs_trained"] for row in table[3::2]] == ["2", "2"]
    frame = nn.load_sweep(folder).trials_dataframe()
    assert frame["state"].tolist() == ["finished", "paused"] * 3
    assert frame["value"][1] == 0.001
    assert frame["epochs"][3] == 2
    assert nn.load_sweep(folder).best_params == study.get_point(best)
