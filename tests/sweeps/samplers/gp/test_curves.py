"""`method: bayes` learns from what trials show at rungs before they end."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import TrialState

from nn.sweeps.asha import Rungs
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.samplers.gp.curves import extrapolate, rung_values
from nn.sweeps.samplers.gp.objective import PriorTask
from nn.sweeps.samplers.gp.sampler import GPSampler
from nn.sweeps.samplers.registry import create_sampler
from tests.sweeps.samplers.gp.test_sampler import make_space, uniform

RUNGS = Rungs((1, 3, 9, 27), eta=3.0)
SPACE = make_space(x=uniform(), y=uniform())
BEST = {"x": 0.3, "y": 0.7}


def distance(point):
    return math.hypot(point["x"] - BEST["x"], point["y"] - BEST["y"])


def curve(point, num_epochs):
    """Return losses by epoch that fall towards the squared distance from the best point."""
    final = 0.1 + distance(point) ** 2
    return {
        epoch: final + (2.3 - final) * math.exp(-0.5 * epoch) for epoch in range(1, num_epochs + 1)
    }


def halving_history(num_trials=30, seed=0):
    """Return trials of random points as successive halving leaves them: few finish."""
    rng = np.random.default_rng(seed)
    points = [dict(zip("xy", map(float, rng.random(2)), strict=True)) for _ in range(num_trials)]
    levels = np.zeros(num_trials, int)
    for rung, epoch in enumerate(RUNGS.epochs[:-1]):
        members = np.flatnonzero(levels == rung)
        values = [curve(points[member], epoch)[epoch] for member in members]
        levels[members[np.argsort(values)[: len(members) // 3]]] += 1
    trials = []
    for number, (point, level) in enumerate(zip(points, levels, strict=True)):
        values = curve(point, RUNGS.epochs[level])
        is_last = level == len(RUNGS.epochs) - 1
        trials.append(
            ObservedTrial(
                number,
                point,
                TrialState.COMPLETE if is_last else TrialState.RUNNING,
                min(values.values()) if is_last else None,
                values,
                is_paused=not is_last,
            )
        )
    return trials


def propose(trials, seed=0, rungs=RUNGS):
    return GPSampler(SPACE, seed, rungs=rungs).propose(len(trials), trials)


def test_paused_trials_inform_proposals_although_none_has_ended():
    paused = [trial for trial in halving_history() if trial.is_paused]
    assert np.median([distance(propose(paused, seed)) for seed in range(3)]) < 0.1


def test_a_promising_paused_trial_continues_before_new_points_until_it_has_ended():
    trials = [trial for trial in halving_history() if trial.is_paused]
    trials = [replace(trial, number=number) for number, trial in enumerate(trials)]
    trials.append(
        ObservedTrial(len(trials), dict(BEST), intermediate_values=curve(BEST, 9), is_paused=True)
    )
    assert propose(trials) == BEST
    trials[-1] = replace(trials[-1], is_paused=False)  # it runs
    assert propose(trials) != BEST


def test_a_new_point_is_tried_while_the_paused_trials_are_poor():
    paused = [trial for trial in halving_history(60) if trial.is_paused]
    poor = [trial for trial in paused if distance(trial.point) > 0.5]
    poor = [replace(trial, number=number) for number, trial in enumerate(poor)]
    assert propose(poor) not in [trial.point for trial in poor]


def test_a_paused_trial_outside_the_space_is_not_continued():
    trials = [trial for trial in halving_history() if trial.is_paused]
    outside = [
        replace(trial, number=number, point={**trial.point, "x": 2.0})
        for number, trial in enumerate(trials)
    ]
    assert SPACE.contains(propose(outside))


def test_without_rungs_the_epochs_of_running_trials_change_nothing():
    trials = halving_history(80)
    bare = [ObservedTrial(trial.number, trial.point, trial.state, trial.value) for trial in trials]
    assert propose(trials, rungs=None) == propose(bare, rungs=None)


def test_a_value_at_a_rung_is_the_best_so_far_and_that_of_an_ended_run_counts_at_higher_ones():
    epochs = {1: 3.0, 2: 1.0, 3: 2.0, 4: 0.5}
    point = dict(BEST)
    trials = [
        ObservedTrial(0, point, TrialState.RUNNING, None, epochs, is_paused=True),
        ObservedTrial(1, point, TrialState.PRUNED, 0.5, epochs),
        ObservedTrial(2, point, TrialState.COMPLETE, 0.5, epochs),  # by patience
        ObservedTrial(3, point, TrialState.COMPLETE, 0.4),  # restored without its epochs
        ObservedTrial(4, point, TrialState.RUNNING, None, {3: math.nan}),
    ]
    unknown = math.nan
    expected = [
        [3.0, 1.0, unknown, unknown],
        [3.0, 1.0, unknown, unknown],
        [3.0, 1.0, 0.5, 0.5],
        [unknown, unknown, unknown, 0.4],
        [unknown, unknown, unknown, unknown],
    ]
    assert np.array_equal(rung_values(trials, RUNGS), expected, equal_nan=True)


def test_values_are_extrapolated_to_the_last_rung_although_only_good_trials_got_there():
    early = 1 + 5 * np.random.default_rng(0).random(60)
    late = 0.1 + 0.2 * (early - 1)
    is_promoted = early <= np.sort(early)[19]
    values = np.stack([early, np.where(is_promoted, late, math.nan)], 1)
    extrapolated = extrapolate(values)
    assert (extrapolated[is_promoted] == late[is_promoted]).all()
    assert (extrapolated[~is_promoted] >= late[~is_promoted]).all()
    assert (extrapolated[~is_promoted] < 1.6 * late[~is_promoted]).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda epoch, value: 1.0,
        lambda epoch, value: 10.0 ** (100 * value),
        lambda epoch, value: math.nan if epoch == 1 else value,
        lambda epoch, value: math.inf,
        lambda epoch, value: -value * 1e-320,
        lambda epoch, value: value + 1e12,
    ],
    ids=["equal", "huge", "not at the first rung", "infinite", "tiny", "offset"],
)
def test_degenerate_curves_are_handled(change):
    trials = [
        ObservedTrial(
            trial.number,
            trial.point,
            trial.state,
            None if trial.value is None else change(27, trial.value),
            {epoch: change(epoch, value) for epoch, value in trial.intermediate_values.items()},
            is_paused=trial.is_paused,
        )
        for trial in halving_history(40)
    ]
    assert SPACE.contains(propose(trials))


def test_trials_that_all_failed_or_have_just_begun_are_handled():
    points = [trial.point for trial in halving_history(12)]
    for state in (TrialState.FAIL, TrialState.RUNNING):
        trials = [ObservedTrial(number, point, state) for number, point in enumerate(points)]
        assert SPACE.contains(propose(trials))


def test_running_trials_are_not_proposed_again():
    trials = halving_history(12)
    for _ in range(4):
        trials.append(ObservedTrial(len(trials), propose(trials)))
    running = [trial.point for trial in trials[-4:]]
    apart = [
        math.hypot(a["x"] - b["x"], a["y"] - b["y"])
        for index, a in enumerate(running)
        for b in running[:index]
    ]
    assert min(apart) > 1e-3


def test_replicates_and_prior_tasks_are_used_with_rungs():
    trials = halving_history(40)
    best = min(trials, key=lambda trial: trial.value or math.inf)
    trials.append(
        ObservedTrial(40, best.point, TrialState.COMPLETE, (best.value or 0) + 0.01, replicate=1)
    )
    prior = PriorTask(
        [trial.point for trial in trials], [distance(trial.point) ** 2 for trial in trials]
    )
    sampler = create_sampler("gp", SPACE, 0, None, [prior], RUNGS)
    assert distance(sampler.propose(40, trials)) < 0.15
