"""Trials that are read as they change are grouped like those that are read at once."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.trial import TrialState, create_trial

from nn.sweeps.editions import EDITIONS_KEY, dump_editions
from nn.sweeps.samplers.base import GridSampler, RandomSampler
from nn.sweeps.storage import InMemoryJournalBackend
from nn.sweeps.trials import MAX_EPOCHS_KEY, REPLICATES_KEY, SweepTrials
from tests.sweeps.test_editions import make_edition

PARAMETERS = {"depth": {"values": [1, 2, 3]}, "lr": {"values": [0.1, 0.2]}}
OTHER_PARAMETERS = {"depth": {"values": [2, 3, 4]}, "width": {"values": [8, 16]}}
STATES = [TrialState.RUNNING] * 3 + [TrialState.WAITING, TrialState.COMPLETE, TrialState.FAIL]


def change_study(study, rng):
    """Add a trial or change one, in any way that a storage allows."""
    trials, storage = study.get_trials(deepcopy=False), study._storage
    if len(trials) < 2 or rng.random() < 0.4:
        point = {"depth": int(rng.integers(1, 4)), "lr": float(rng.choice([0.1, 0.2]))}
        attrs = {} if rng.random() < 0.2 else {"point": point}
        if len(trials) and rng.random() < 0.6:
            first = int(rng.integers(len(trials)))
            attrs |= {"replicate": int(rng.integers(3)), "replicate_of": first}
            if rng.random() < 0.8 and "point" in trials[first].user_attrs:
                attrs["point"] = trials[first].user_attrs["point"]
        state = STATES[rng.integers(len(STATES))]
        if state == TrialState.WAITING:
            attrs.pop("point", None)
        value = float(rng.random()) if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, value=value, user_attrs=attrs))
        return
    trial = trials[rng.integers(len(trials))]
    if trial.state.is_finished():
        return
    match rng.integers(5):
        case 0:
            storage.set_trial_intermediate_value(trial._trial_id, int(rng.integers(1, 4)), 0.5)
        case 1:
            name, value = [
                ("status", "failed"), ("status", "finished"), ("status", "paused"),
                ("retriable", True), ("objective", float(rng.random())), ("retry_of", 0),
                ("stop_requested", True), ("replicate_of", int(rng.integers(len(trials)))),
                ("status", "diverged"), ("epochs", 3), ("replicate", 0),
            ][rng.integers(11)]  # fmt: skip
            storage.set_trial_user_attr(trial._trial_id, name, value)
        case 2:
            storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        case 3:
            storage.set_trial_user_attr(trial._trial_id, "point", {"depth": 1, "lr": 0.2})
        case 4:
            state = TrialState.PRUNED if rng.random() < 0.5 else TrialState.FAIL
            storage.set_trial_state_values(trial._trial_id, state)


def summarize(sweep_trials):
    """Return all that a study and a sampler use."""
    points, (records, values, is_promotable) = sweep_trials.points, sweep_trials.rung_table
    numbers = [
        [trial.number for trial in trials]
        for trials in (
            sweep_trials.trials,
            sweep_trials.complete_trials,
            sweep_trials.queued_trials,
            sweep_trials.failed_trials,
            sweep_trials.rank_trials(),
        )
    ]
    return (
        numbers,
        [sweep_trials.get_point(number) for number in range(len(sweep_trials.trials))],
        [sweep_trials.get_seed(number) for number in range(len(sweep_trials.trials))],
        sweep_trials._index.running,
        [sweep_trials._index.count_points(end) for end in (None, *range(len(numbers[0])))],
        [
            (
                point.number,
                point.point,
                point.is_pruned,
                {replicate: trial.number for replicate, trial in point.trials.items()},
            )
            for point in points
        ],
        sweep_trials.observed_trials,
        sweep_trials.observed_points,
        sweep_trials.replicate_values(points).tolist(),
        [record.number for record in records],
        *(values.tolist(), is_promotable.tolist()),
        (sweep_trials._index.epochs_used, sweep_trials._index.without_epochs),
    )


@pytest.mark.parametrize("is_edited", [False, True])
@pytest.mark.parametrize("is_journal", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_trials_read_as_they_change_are_those_read_at_once(tmp_path, seed, is_journal, is_edited):
    storage = JournalStorage(InMemoryJournalBackend()) if is_journal else InMemoryStorage()
    rng, study = np.random.default_rng(seed), optuna.create_study(storage=storage)
    study.set_user_attr(REPLICATES_KEY, 3)
    study.set_user_attr(MAX_EPOCHS_KEY, 3)
    first = make_edition(PARAMETERS)
    stepwise = SweepTrials(first.sweep, tmp_path, study)
    samplers = RandomSampler(stepwise.space, 0), GridSampler(stepwise.space)
    for step in range(60):
        change_study(study, rng)
        if is_edited and step == 30:
            removed = {"added_values": {"width": {0: 8, 1: 16}}, "removed_values": {"lr": 0.2}}
            second = make_edition(OTHER_PARAMETERS).model_copy(update=removed)
            study.set_user_attr(EDITIONS_KEY, dump_editions([first, second]))
        previous = stepwise.stored_trials
        changed = stepwise.load_trials()
        at_once = SweepTrials(first.sweep, tmp_path, study)
        if stepwise.space is not samplers[0].space:
            samplers = RandomSampler(stepwise.space, 0), GridSampler(stepwise.space)
            assert changed == [*range(len(stepwise.trials))]
        elif is_journal:
            assert len(changed) <= 1 or len(stepwise.trials) > len(previous)
        np.testing.assert_equal(summarize(stepwise), summarize(at_once))
        random, grid = RandomSampler(at_once.space, 0), GridSampler(at_once.space)
        observed = stepwise.observed_trials
        assert samplers[0].propose(step, observed) == random.propose(step, observed)
        assert samplers[1].has_unused_points(observed) == grid.has_unused_points(observed)
        assert samplers[1]._first_unused == grid._first_unused
