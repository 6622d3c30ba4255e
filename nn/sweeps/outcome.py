"""The outcome of a trial, as its run directory records it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from nn.errors import UserError
from nn.io.coerce import drop_none, extract_column, to_finite_float
from nn.io.serialization import JsonObject
from nn.runs.history import read_history
from nn.runs.reader import read_json
from nn.sweeps.schema import Metric
from nn.sweeps.trial_record import ENDED_STATES, TrialUserAttrs


def has_run_in(run_dir: Path, trial: FrozenTrial) -> bool:
    """Return whether a trial's result comes from a directory, which may hold an earlier attempt."""
    if TrialUserAttrs.of(trial).objective is None:
        return run_dir.exists()
    try:
        summary = read_json(run_dir, "summary.json")
    except UserError:  # it is unreadable, but there
        return True
    has_summary = (run_dir / "summary.json").exists()
    return has_summary and summary.get("status") in (None, TrialUserAttrs.of(trial).status)


def read_summary(trial: FrozenTrial, run_dir: Path) -> JsonObject:
    """Read the summary of a trial's run; return an empty one if it is missing or damaged.

    It is empty too if its status is not the trial's: when another machine took the trial over, this
    directory may hold an earlier, interrupted attempt.
    """
    try:
        summary = read_json(run_dir, "summary.json")
    except UserError:
        return {}
    status = TrialUserAttrs.of(trial).status
    return {} if status in ENDED_STATES and summary.get("status") != status else summary


def read_outcome(
    status: str, metric: Metric | None, run_dir: Path
) -> tuple[TrialState, float | None]:
    """Return Optuna's state and the objective of a run that ended with a status.

    A run without an objective has failed, as has one that neither finished nor was pruned.
    """
    value = read_objective(metric, run_dir) if status in ("finished", "pruned") else None
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    return (TrialState.FAIL if value is None else states[status]), value


def read_objective(metric: Metric | None, run_dir: Path) -> float | None:
    """Return the best value of the metric over a run's epochs, else the value in its summary."""
    if metric is None:
        return None
    curve = extract_column(read_history(run_dir), metric.name)
    return best_value(metric, curve, read_json(run_dir, "summary.json"))


def best_value(metric: Metric, curve: Sequence[float | None], summary: JsonObject) -> float | None:
    """Return the best value of a metric over a run's epochs, else the value in its summary."""
    values = drop_none(curve) or drop_none([to_finite_float(summary.get(metric.name))])
    return min(values, key=lambda value: metric.minimization_sign * value, default=None)


def read_intermediate_values(metric: Metric, run_dir: Path) -> dict[int, float]:
    """Return the metric's finite values by epoch."""
    return {
        epoch: value
        for record in read_history(run_dir)
        if isinstance(epoch := record.get("epoch"), int)
        and (value := to_finite_float(record.get(metric.name))) is not None
    }
