"""Asynchronous successive halving: rungs, promotions and the study that pauses its trials."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from nn.errors import UserError
from nn.sweeps.asha import DEFAULT_CONFIG, MIN_FULL_TRIALS, Rungs, choose_promotion
from nn.sweeps.schema import HyperbandConfig, SweepConfig
from nn.sweeps.steering import StoredSweep
from nn.sweeps.study import Budget, SweepStudy
from nn.sweeps.trials import TrialUserAttrs
from tests.sweeps.test_replicates import RANDOM
from tests.sweeps.test_steering import open_stored, write_sweep

EPOCHS = 9


@pytest.mark.parametrize(
    ("config", "max_epochs", "epochs"),
    [
        ({"min_iter": 1}, 30, (1, 3, 9, 30)),
        ({"min_iter": 1}, 27, (1, 3, 9, 27)),
        ({"min_iter": 1}, 20, (1, 3, 9, 20)),
        ({"min_iter": 1}, 2, (1, 2)),
        ({"min_iter": 1}, 1, (1,)),
        ({"min_iter": 3}, 30, (3, 9, 30)),
        ({"min_iter": 40}, 30, (30,)),
        ({"min_iter": 2, "eta": 2.0}, 16, (2, 4, 8, 16)),
        ({"max_iter": 27, "s": 2}, 27, (3, 9, 27)),
    ],
)
def test_trials_pause_at_the_brackets_of_the_file_before_their_last_epoch(
    config, max_epochs, epochs
):
    config = HyperbandConfig(type="hyperband", **config)
    assert Rungs.of(config, max_epochs).epochs == epochs


def test_value_at_a_rung_is_the_best_so_far_and_that_of_a_run_that_has_ended_counts_above():
    rungs = Rungs((1, 3, 9), 3.0)
    values = {1: 0.5, 2: 0.2, 3: 0.4, 4: 0.1}
    assert rungs.values(values).tolist()[:2] == [0.5, 0.2]
    assert math.isnan(rungs.values(values)[2])
    assert rungs.values(values, is_complete=True).tolist() == [0.5, 0.2, 0.1]
    assert np.isnan(rungs.values({})).all()


@st.composite
def rung_tables(draw):
    """Draw the values of trials at their rungs, non-increasing, and which of them are paused."""
    num_rungs, num_trials = draw(st.integers(1, 4)), draw(st.integers(0, 12))
    values = np.full((num_trials, num_rungs), math.nan)
    for row in values:
        reached = draw(st.lists(st.integers(0, 3), max_size=num_rungs))
        row[: len(reached)] = sorted(reached, reverse=True)
    is_paused = np.array(draw(st.lists(st.booleans(), min_size=num_trials, max_size=num_trials)))
    is_paused = is_paused.astype(bool) & ~np.isnan(values[:, 0]) & np.isnan(values[:, -1])
    return values, is_paused


@given(rung_tables(), st.integers(0, 4), st.sampled_from([2.0, 3.0]), st.booleans())
def test_promoted_trial_is_among_the_best_of_its_rung_unless_too_few_get_to_the_end(
    table, num_open, eta, more_trials
):
    values, is_paused = table
    index = choose_promotion(values, is_paused, num_open, eta, more_trials)
    reached = ~np.isnan(values)
    levels = reached.sum(1) - 1

    def is_among_best(trial):
        column = values[:, levels[trial]]
        is_ahead = (column < column[trial]) | (
            (column == column[trial]) & (np.arange(len(column)) < trial)
        )
        return is_ahead.sum() < int(reached[:, levels[trial]].sum() / eta)

    deserving = [trial for trial in np.flatnonzero(is_paused) if is_among_best(trial)]
    if deserving:
        assert index in deserving
        assert levels[index] == max(levels[deserving])
    elif not more_trials and int(reached[:, -1].sum()) + num_open < MIN_FULL_TRIALS:
        assert (index is None) == (not is_paused.any())
        assert index is None or levels[index] == max(levels[is_paused])
    else:
        assert index is None


def curve(point):
    """Return the values of a trial by epoch: they fall, and cross those of others."""
    lr = point["lr"]
    return [
        1 + 10 * abs(lr - 0.15) * epoch**0.5 / 9 + 1 / (epoch + 100 * (lr - 0.1))
        for epoch in range(1, EPOCHS + 1)
    ]


def open_pausing(folder, content=RANDOM, num_epochs=EPOCHS):
    write_sweep(folder, content)
    return SweepStudy(SweepConfig(**content), folder, 0, num_epochs=num_epochs, pauses=True)


def write_run(study, number, status, values):
    """Write the directory of a trial's run."""
    folder = study.get_trial_dir(number)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"number": number, "parameters": study.get_point(number)}
    (folder / "trial.json").write_text(json.dumps(record))
    lines = [json.dumps({"epoch": epoch, "val/loss": v}) for epoch, v in enumerate(values, 1)]
    (folder / "history.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "summary.json").write_text(json.dumps({"status": status}))


def advance(study, number):
    """Run a trial to its next pause or to its end, as a worker and the runner do."""
    attrs = TrialUserAttrs.of(study.trials[number])
    values = curve(study.get_point(number))
    for epoch in range((attrs.epochs or 0) + 1, attrs.pause_epoch + 1):
        study.report(number, epoch, values[epoch - 1])
    is_last = attrs.pause_epoch == EPOCHS
    status = "finished" if is_last else "interrupted"
    write_run(study, number, status, values[: attrs.pause_epoch])
    if not is_last:
        study.pause(number)
    else:
        study.tell(number, "finished", epochs=EPOCHS)


def play(study, budget, num_workers=1):
    """Run a sweep with workers of equal speed, and return the trials in the order of starts."""
    started, running = [], []
    while True:
        while len(running) < num_workers and (number := study.ask(budget)) is not None:
            started.append((number, TrialUserAttrs.of(study.trials[number]).pause_epoch))
            running.append(number)
        if not running:
            return started
        advance(study, running.pop(0))


@pytest.mark.parametrize("num_workers", [1, 3])
def test_sweep_trains_few_trials_to_the_end_and_the_best_of_them_wins(tmp_path, num_workers):
    study = open_pausing(tmp_path)
    started = play(study, Budget(max_points=12), num_workers)
    pauses = [pause_epoch for _, pause_epoch in started]
    assert (pauses.count(1), study.space.contains(study.get_point(0))) == (12, True)
    assert 3 <= pauses.count(EPOCHS) <= pauses.count(3) < 8
    values = {number: curve(study.get_point(number)) for number in range(12)}
    finished = [t.number for t in study.trials if t.state == TrialState.COMPLETE]
    ranking = [trial.number for trial in study.rank_trials()]
    assert ranking[0] == min(finished, key=lambda number: min(values[number]))
    assert {*ranking[: len(finished)]} == {*finished}
    assert len(ranking) == 12
    records = [TrialUserAttrs.of(trial) for trial in study.trials]
    assert {(record.status, record.epochs) for record in records} <= {
        ("paused", 1), ("paused", 3), ("finished", EPOCHS),
    }  # fmt: skip
    for number, record in enumerate(records):
        assert record.objective == min(values[number][: record.epochs])
    assert not study.running_trials


def test_bayes_continues_paused_trials_while_it_also_tries_new_points(tmp_path):
    study = open_pausing(tmp_path, {**RANDOM, "method": "bayes"})
    pauses = [pause_epoch for _, pause_epoch in play(study, Budget(max_points=20), 2)]
    assert pauses.count(1) == len(study.trials) == 20  # no paused trial was started as a new one
    assert max(pauses[: len(pauses) - pauses[::-1].index(1)]) > 1
    assert pauses.count(EPOCHS) >= MIN_FULL_TRIALS


def test_study_that_is_reopened_after_each_step_makes_the_same_choices(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    expected = play(open_pausing(tmp_path / "whole"), Budget(max_points=9))
    started = []
    while True:
        study = open_pausing(tmp_path / "parts")
        number = study.ask(Budget(max_points=9))
        if number is None:
            break
        started.append((number, TrialUserAttrs.of(study.trials[number]).pause_epoch))
        study.storage.close()  # killed while it runs
        study = open_pausing(tmp_path / "parts")
        assert study.reclaim_stale_trials() == [number]
        advance(study, number)
        study.storage.close()
    assert started == expected


def summarize(study):
    records = [(trial.state, TrialUserAttrs.of(trial)) for trial in study.trials]
    return [(state, record.status, record.epochs, record.objective) for state, record in records]


def test_lost_study_is_restored_with_its_paused_trials(tmp_path):
    study = open_pausing(tmp_path)
    play(study, Budget(max_points=6))
    before = summarize(study)
    study.storage.close()
    (tmp_path / "study.log").unlink()
    restored = open_pausing(tmp_path)
    assert summarize(restored) == before
    assert restored.ask(Budget(max_points=6)) is None


def test_diverged_trial_counts_in_its_rung_and_does_not_continue(tmp_path):
    study = open_pausing(tmp_path)
    for _ in range(3):
        study.ask(Budget(max_points=3))
    write_run(study, 0, "diverged", [])
    study.tell(0, "diverged")
    advance(study, 1)
    assert study.find_paused_trial() is None
    advance(study, 2)
    best = min((1, 2), key=lambda number: curve(study.get_point(number))[0])
    assert study.find_paused_trial().number == best


def test_stopped_trial_keeps_what_it_has_and_does_not_continue(tmp_path):
    study = open_pausing(tmp_path)
    play(study, Budget(max_points=1))
    study.ask(Budget(max_points=2))
    advance(study, 1)
    study.storage.close()
    (message, *_) = open_stored(tmp_path).stop(["1"])
    assert message == "Trial 1 is paused, and will not continue."
    study = open_pausing(tmp_path)
    record = TrialUserAttrs.of(study.trials[1])
    assert (study.trials[1].state, record.status, record.epochs) == (TrialState.PRUNED, "pruned", 1)
    assert record.objective == curve(study.get_point(1))[0]
    assert study.ask(Budget(max_points=2)) is None


def test_budget_of_epochs_ends_the_search_and_not_the_promotions(tmp_path):
    study = open_pausing(tmp_path)
    started = play(study, Budget(max_epochs=30))
    new = [pause_epoch for _, pause_epoch in started if pause_epoch == 1]
    spent = sum(TrialUserAttrs.of(trial).epochs for trial in study.trials)
    assert 30 <= spent <= 30 + 2 * EPOCHS
    assert len(new) >= 6
    finished = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(finished) >= MIN_FULL_TRIALS


def test_other_number_of_epochs_is_refused(tmp_path):
    play(open_pausing(tmp_path), Budget(max_points=1))
    with pytest.raises(UserError, match=r"^epochs=5: the trials of this sweep have 9 epochs"):
        open_pausing(tmp_path, num_epochs=5)


def test_default_rungs_begin_with_one_epoch():
    assert Rungs.of(DEFAULT_CONFIG, 81).epochs == (1, 3, 9, 27, 81)


def test_status_names_paused_trials(tmp_path):
    study = open_pausing(tmp_path)
    play(study, Budget(max_points=4))
    study.storage.close()
    stored = open_stored(tmp_path, read_only=True)
    assert isinstance(stored, StoredSweep)
    lines = list(stored.describe())
    assert lines[0].endswith("not running; trials: 3 finished, 1 paused")
