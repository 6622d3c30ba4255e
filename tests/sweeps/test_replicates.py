"""Trials are grouped by point: each replicate counts once, and only what is comparable races."""

from __future__ import annotations

import math

import pytest
from optuna.trial import TrialState, create_trial

from nn.sweeps.study import Budget
from nn.sweeps.trial_record import TrialUserAttrs
from tests.sweeps.test_steering import open_stored, open_study
from tests.sweeps.test_trials import write_summary

RANDOM = {
    "method": "random",
    "metric": {"name": "val/loss"},
    "parameters": {"lr": {"min": 0.1, "max": 0.2}},
}


def open_replicated(folder, replicates=3, racing=False, content=RANDOM):
    study = open_study(folder, content)
    with study.storage.lock():
        study.set_replicates(replicates, racing, 5)
    return study


def finish(study, number, loss, status="finished"):
    if status != "failed":
        write_summary(study, number, **{"val/loss": loss, "status": status})
    study.tell(number, status)


def layout(study):
    """Return the trial of each replicate, by the number of the point."""
    return {
        point.number: {replicate: trial.number for replicate, trial in point.trials.items()}
        for point in study.points
    }


def test_values_are_by_point_and_seed(tmp_path):
    study = open_replicated(tmp_path)
    assert [study.ask(Budget(2)) for _ in range(6)] == [*range(6)]
    assert study.ask(Budget(2)) is None
    assert layout(study) == {0: {0: 0, 1: 1, 2: 2}, 3: {0: 3, 1: 4, 2: 5}}
    assert [study.get_seed(number) for number in range(6)] == [5, 6, 7, 5, 6, 7]
    finish(study, 0, 0.25)
    finish(study, 2, 0.75)
    finish(study, 4, math.nan, "diverged")
    (first, second) = study.replicate_values(study.points).tolist()
    assert (first[0], first[2], second[1]) == (0.25, 0.75, math.inf)
    assert math.isnan(first[1])
    assert math.isnan(second[0])
    assert [(ranked.point.number, ranked.num_seeds) for ranked in study.rank_points()] == [(0, 2)]
    observed = study.observed_trials
    assert [trial.replicate for trial in observed] == [0, 1, 2, 0, 1, 2]
    assert [(point.number, point.state.name) for point in study.observed_points] == [
        (0, "COMPLETE"), (3, "FAIL"),
    ]  # fmt: skip


def test_points_wait_for_their_rung(tmp_path):
    study = open_replicated(tmp_path, racing=True)
    assert [study.ask(Budget(3)) for _ in range(3)] == [0, 1, 2]
    assert study.ask(Budget(3)) is None  # until a result shows which one may be the best
    for number, loss in enumerate((0.9, 0.1, 0.8)):
        finish(study, number, loss)
    number = study.ask(Budget(3))
    assert TrialUserAttrs.of(study.trials[number]).replicate_of == 1
    assert study.get_point(number) == study.get_point(1)


def test_retried_replicate_counts_once(tmp_path):
    study = open_replicated(tmp_path, replicates=2)
    assert [study.ask(Budget(1)), study.ask(Budget(1))] == [0, 1]
    finish(study, 0, 0.5)
    finish(study, 1, 0.5, "failed")
    assert study.replicate_values(study.points).tolist() == [[0.5, math.inf]]
    list(open_stored(tmp_path).retry(["failed"]))
    list(open_stored(tmp_path).retry(["0"]))
    study.refresh()
    assert layout(study) == {0: {0: 0, 1: 2}}  # a result counts more than a run
    assert study.is_exhausted(Budget(1))
    assert [study.ask(Budget(1)), study.ask(Budget(1)), study.ask(Budget(1))] == [2, 3, None]
    finish(study, 2, 0.25)
    finish(study, 3, 0.75)
    assert layout(study) == {0: {0: 3, 1: 2}}
    assert study.replicate_values(study.points).tolist() == [[0.75, 0.25]]


def test_stopped_point_gets_no_further_seeds(tmp_path):
    study = open_replicated(tmp_path)
    assert [study.ask(Budget(2)), study.ask(Budget(2))] == [0, 1]
    list(open_stored(tmp_path).stop(["1"]))
    number = study.ask(Budget(2))
    assert TrialUserAttrs.of(study.trials[number]).replicate_of is None


def test_run_cap_limits_runs(tmp_path):
    study = open_replicated(tmp_path)
    assert [study.ask(Budget(max_runs=4)) for _ in range(5)] == [0, 1, 2, 3, None]
    list(open_stored(tmp_path).enqueue(["lr=0.15"]))
    assert study.ask(Budget(max_runs=4)) == 4  # a queued trial starts nevertheless


def test_random_points_do_not_depend_on_the_number_of_replicates(tmp_path):
    drawn = []
    for replicates in (1, 3):
        folder = tmp_path / str(replicates)
        folder.mkdir()
        study = open_replicated(folder, replicates)
        while study.ask(Budget(4)) is not None:
            pass
        drawn.append([point.point for point in study.points])
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    "attrs",
    [
        {"replicate": "1", "replicate_of": "0"},
        {"replicate": 10**9, "replicate_of": -1},
        {"replicate": -1, "replicate_of": 7},
        {"replicate": True, "replicate_of": [0]},
        {"replicate": 1, "replicate_of": 0, "point": {"lr": 0.125}},
    ],
)
def test_damaged_attributes_mix_no_points(tmp_path, attrs):
    study = open_replicated(tmp_path)
    study.ask(Budget(1))
    attrs = {"point": {"lr": 0.15}, **attrs}
    study.optuna_study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attrs))
    study.optuna_study.set_user_attr("replicates", 10**12)
    study.refresh()
    assert study.replicates == 1
    assert [point.number for point in study.points] == [0, 1]
    assert study.replicate_values(study.points).size <= 4
