"""A study that was lost, restored from the directories of its trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from nn.runs.reader import read_json
from nn.sweeps.schema import Sweep
from nn.sweeps.space import Point, Space, point_key
from nn.sweeps.trials import metric_curve, outcome
from nn.sweeps.worker import RECORD


def restored_trials(sweep: Sweep, space: Space, directory: Path, first: int) -> list[FrozenTrial]:
    """Make trials of the directories from a number on, and of gaps between them failed ones."""
    found = {}
    for path in directory.glob("[0-9]*"):
        number = int(path.name) if path.name.isdecimal() and path.is_dir() else -1
        point = recorded_point(space, path, number) if number >= first else None
        if point is not None:
            found[number] = _restored(sweep, space, path, point)
    return [found.get(number) or _lost() for number in range(first, max(found, default=-1) + 1)]


def _lost() -> FrozenTrial:
    facts = {"status": "failed", "reason": "its directory does not say what it tried"}
    return create_trial(state=TrialState.FAIL, user_attrs=facts)


def _restored(sweep: Sweep, space: Space, directory: Path, point: Point) -> FrozenTrial:
    status = read_json(directory, "summary.json").get("status")
    facts: dict[str, Any] = {}
    if status in ("finished", "pruned", "diverged"):
        state, value = outcome(status, sweep.metric, directory)
        facts = {"status": status, "reason": None, "objective": value}
    else:
        state, value = TrialState.RUNNING, None
    curve = metric_curve(sweep.metric, directory) if sweep.metric else {}
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params=space.known_to_optuna(point),
        distributions=space.optuna,
        user_attrs=facts,
        intermediate_values=curve if sweep.early_terminate else {},
    )


def recorded_point(space: Space, directory: Path, number: int) -> Point | None:
    """Read which point a trial's directory holds, if it is one of this space."""
    record = read_json(directory, RECORD)
    given = record.get("parameters")
    if record.get("number") != number or not isinstance(given, dict):
        return None
    if not space.is_complete(given):
        return None
    point = {name: given[name] for name in space.parameters}
    try:
        again = space.from_optuna(space.known_to_optuna(point))
    except (KeyError, ValueError, TypeError):
        return None
    return point if point_key(again) == point_key(point) else None
