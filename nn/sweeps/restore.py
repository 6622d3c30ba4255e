"""Restore the trials that a study has lost from their directories."""

from __future__ import annotations

from collections.abc import Callable

from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import JsonValue

from nn.runs.reader import read_json
from nn.sweeps.editions import EDITION_KEY
from nn.sweeps.outcome import best_value, read_intermediate_values, read_outcome
from nn.sweeps.space import Point
from nn.sweeps.trial_record import ENDED_STATES
from nn.sweeps.trials import SweepTrials

NO_POINT_REASON = "its parameters were not recorded"


def restore_lost_trials(sweep: SweepTrials, notify: Callable[[str], None]) -> None:
    """Add trials that the study lost but whose directories exist; gaps become failed trials."""
    trials_dir, first_number = sweep.sweep_dir / "trials", len(sweep.trials)
    restored = {}
    for path in trials_dir.glob("[0-9]*"):
        number = int(path.name) if path.name.isdecimal() and path.is_dir() else -1
        point = sweep.read_recorded_point(number) if number >= first_number else None
        if point is not None:
            restored[number] = _restore_trial(sweep, number, point)
    lost_numbers = range(first_number, max(restored, default=-1) + 1)
    for number in lost_numbers:
        sweep.optuna_study.add_trial(restored.get(number) or _create_lost_trial())
    if lost_numbers:
        notify(
            f"The study had lost {len(lost_numbers)} trials; {len(restored)} of them were "
            f"restored from {trials_dir}."
        )


def _restore_trial(sweep: SweepTrials, number: int, point: Point) -> FrozenTrial:
    """Create a trial from its directory; one that has neither ended nor paused is to be resumed."""
    metric, trial_dir, rungs = sweep.sweep.metric, sweep.get_trial_dir(number), sweep.rungs
    status = read_json(trial_dir, "summary.json").get("status")
    state, value = TrialState.RUNNING, None
    user_attrs: dict[str, JsonValue] = {"point": point}
    record = sweep.read_trial_file(number)
    user_attrs |= {key: record[key] for key in ("replicate", "replicate_of") if key in record}
    if edition := sweep.find_edition(point):
        user_attrs[EDITION_KEY] = edition
    if isinstance(status, str) and status in ENDED_STATES:
        state, value = read_outcome(status, metric, trial_dir)
        user_attrs |= {"status": status, "reason": None, "objective": value}
    intermediate_values = read_intermediate_values(metric, trial_dir) if metric else {}
    epochs = max(intermediate_values, default=0)
    if state != TrialState.RUNNING:
        user_attrs["epochs"] = epochs
    elif metric and rungs and "replicate_of" not in user_attrs:
        has_paused = epochs in rungs.epochs[:-1]
        user_attrs["pause_epoch"] = epochs if has_paused else rungs.next_after(epochs)
        if has_paused:
            best = best_value(metric, [*intermediate_values.values()], {})
            user_attrs |= {"status": "paused", "epochs": epochs, "objective": best}
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        user_attrs=user_attrs,
        intermediate_values=intermediate_values if sweep.needs_intermediate_values else {},
    )


def _create_lost_trial() -> FrozenTrial:
    user_attrs = {"status": "failed", "reason": NO_POINT_REASON}
    return create_trial(state=TrialState.FAIL, user_attrs=user_attrs)
