"""Restore the trials of a lost study from their directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from nn.runs.reader import read_json
from nn.sweeps.schema import SweepConfig
from nn.sweeps.space import Point, SearchSpace, point_key
from nn.sweeps.trials import read_intermediate_values, read_outcome
from nn.sweeps.worker import TRIAL_FILE


def restore_trials(
    sweep: SweepConfig, space: SearchSpace, trials_dir: Path, first_number: int
) -> list[FrozenTrial]:
    """Create trials from their directories, from a number on; gaps become failed trials."""
    trials = {}
    for path in trials_dir.glob("[0-9]*"):
        number = int(path.name) if path.name.isdecimal() and path.is_dir() else -1
        point = read_recorded_point(space, path, number) if number >= first_number else None
        if point is not None:
            trials[number] = _restore_trial(sweep, space, path, point)
    return [
        trials.get(number) or _create_lost_trial()
        for number in range(first_number, max(trials, default=-1) + 1)
    ]


def _create_lost_trial() -> FrozenTrial:
    user_attrs = {"status": "failed", "reason": "its directory does not record its parameters"}
    return create_trial(state=TrialState.FAIL, user_attrs=user_attrs)


def _restore_trial(
    sweep: SweepConfig, space: SearchSpace, trial_dir: Path, point: Point
) -> FrozenTrial:
    status = read_json(trial_dir, "summary.json").get("status")
    user_attrs: dict[str, Any] = {}
    if status in ("finished", "pruned", "diverged"):
        state, value = read_outcome(status, sweep.metric, trial_dir)
        user_attrs = {"status": status, "reason": None, "objective": value}
    else:
        state, value = TrialState.RUNNING, None
    intermediate_values = read_intermediate_values(sweep.metric, trial_dir) if sweep.metric else {}
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params=space.to_optuna(point),
        distributions=space.optuna_distributions,
        user_attrs=user_attrs,
        intermediate_values=intermediate_values if sweep.early_terminate else {},
    )


def read_recorded_point(space: SearchSpace, trial_dir: Path, number: int) -> Point | None:
    """Return the point recorded in a trial's directory, or None if it is not of this space."""
    record = read_json(trial_dir, TRIAL_FILE)
    parameters = record.get("parameters")
    if record.get("number") != number or not isinstance(parameters, dict):
        return None
    if not space.is_complete(parameters):
        return None
    point = {name: parameters[name] for name in space.parameters}
    try:
        round_trip = space.from_optuna(space.to_optuna(point))
    except (KeyError, ValueError, TypeError):
        return None
    return point if point_key(round_trip) == point_key(point) else None
