"""Points of a sweep: the trials that differ in their seed only, as one with their means."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nn.io.coerce import drop_none, sum_known
from nn.runs.seeds import SEED, SeedGroup, average_curves, group_by_seed, mean_and_std
from nn.sweeps.reader import SavedTrial
from nn.sweeps.replication import estimate_points
from nn.sweeps.trial_record import ENDED_STATES
from nn.sweeps.trials import SUMMARY_SCORES

FAILED_STATES = ("diverged", "failed")


class TrialRecord(SavedTrial):
    """A trial with its place among the others."""

    rank: int | None
    """By the objective, 1 for the best."""
    seconds_until_end: float | None
    """The running time of the sweep, without pauses, at which it ended."""


class PointRecord(TrialRecord):
    """The trials of a point, which differ in their seed only, as one with the means over seeds."""

    trials: list[int]
    num_seeds: int
    """Seeds that have a result; the objective is their mean, adjusted for missing seeds."""
    standard_error: float | None
    """Of this mean, from the noise of all points."""
    curve_std: list[float | None]


def group_points(trials: Sequence[TrialRecord], sign: int) -> list[PointRecord]:
    """Group trials by point, in the order of their first trials, and rank the points.

    If no point has several seeds, each trial is a point of its own.

    Args:
        sign: 1 if the objective is minimized, -1 if it is maximized.
    """
    groups = group_by_seed(
        # a trial whose point is unknown is a point of its own
        [(t["params"] or {"number": t["number"]}) | {SEED: t["seed"]} for t in trials]
    )
    if all(len({*group.seeds.values()}) == 1 for group in groups):
        return [_average_trials(trials, SeedGroup({}, {i: ""})) for i in range(len(trials))]
    seeds = [*dict.fromkeys(seed for group in groups for seed in group.seeds.values())]
    # without the values so far of trials that have not ended, which are not comparable
    values = [
        sign * t["value"] if t["value"] is not None and t["status"] in ENDED_STATES else None
        for t in trials
    ]
    failures = [math.inf if t["status"] in FAILED_STATES else None for t in trials]
    rows = [group.by_seed(failures) | group.by_seed(values) for group in groups]
    matrix = [[row.get(seed, math.nan) for seed in seeds] for row in rows]
    estimates = estimate_points(np.array(matrix))
    known = np.flatnonzero(np.isfinite(estimates.means)).tolist()
    # those with most seeds are first, as in the table of the command
    ranked = sorted(known, key=lambda i: (-estimates.num_seeds[i], estimates.means[i]))
    ranks = {index: rank for rank, index in enumerate(ranked, 1)}
    points = [_average_trials(trials, group) for group in groups]
    others = [
        (sign * value, index)
        for index, point in enumerate(points)
        if math.isnan(estimates.means[index])  # it has no result, nor has any of its trials failed
        and (value := point["value"]) is not None
    ]
    ranks_so_far = {index: rank for rank, (_, index) in enumerate(sorted(others), len(ranks) + 1)}
    for index, point in enumerate(points):
        if index in ranks_so_far:
            point["rank"] = ranks_so_far[index]
            continue
        point["rank"], error = ranks.get(index), float(estimates.std_errors[index])
        point["value"] = sign * float(estimates.means[index]) if index in ranks else None
        point["standard_error"] = error if math.isfinite(error) else None
        point["num_seeds"] = int(estimates.num_seeds[index])
    return points


def _average_trials(trials: Sequence[TrialRecord], group: SeedGroup) -> PointRecord:
    """Return the trials of a point as one, without its rank and mean."""
    members = {index: trials[index] for index in group.seeds}
    first = members[min(members)]
    record: PointRecord = {
        **first,
        "trials": [trial["number"] for trial in members.values()],
        "num_seeds": int(first["value"] is not None),
        "standard_error": None,
        "curve_std": [],
    }
    if len(members) == 1:
        return record
    scored = group.by_seed({i: t if t["value"] is not None else None for i, t in members.items()})
    counted = [*scored.values()] or [first]
    curve = average_curves([(trial["epochs"], trial["curve"]) for trial in counted])
    scores = {
        name: [t["scores"][name] for t in counted if name in t["scores"]] for name in SUMMARY_SCORES
    }
    ends = drop_none([trial["seconds_until_end"] for trial in members.values()])
    return {
        **record,
        "status": counted[0]["status"],
        "params": {name: value for name, value in first["params"].items() if name != SEED},
        "num_epochs": max(trial["num_epochs"] for trial in counted),
        "epochs": curve.x.tolist(),
        "curve": curve.mean.tolist(),
        "curve_std": curve.std.tolist(),
        "elapsed_seconds": [],  # which differ between seeds
        "training_seconds": sum_known(t["training_seconds"] for t in members.values()) or None,
        "scores": {name: mean_and_std(known)[0] for name, known in scores.items() if known},
        "seconds_until_end": max(ends, default=None),
    }
