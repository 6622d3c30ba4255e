"""Filtering and ordering of runs by the client's MongoDB-style queries."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from tests.fake_wandb.graphql_executor import Args, UnsupportedError
from tests.fake_wandb.runs import Run
from tests.fake_wandb.state import ServerState

RUN_ATTRIBUTES: dict[str, Callable[[Run], Any]] = {
    "name": lambda run: run.id,
    "displayName": lambda run: run.display_name,
    "display_name": lambda run: run.display_name,
    "state": lambda run: run.state,
    "sweep": lambda run: run.sweep,
    "group": lambda run: run.group,
    "jobType": lambda run: run.job_type,
    "tags": lambda run: run.tags,
    "created_at": lambda run: run.created_at,
    "createdAt": lambda run: run.created_at,
    "heartbeat_at": lambda run: run.heartbeat_at,
}
"""Attributes for filters and orders, in addition to config.* and summary_metrics.*."""


COMPARISONS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def select_runs(state: ServerState, project: str, args: Args) -> list[Run]:
    """Return the runs of a project that pass the filters, in the requested order."""
    filters = json.loads(args.get("filters") or "{}")
    runs = [
        run
        for run in state.runs.values()
        if run.project == project and matches_filter(run, filters)
    ]
    order = args.get("order") or "+created_at"
    runs.sort(key=lambda run: sort_key(run_attribute(run, order.lstrip("+-"))))
    return runs[::-1] if order.startswith("-") else runs


def sort_key(value: Any) -> tuple[bool, Any]:
    return (value is None, value if value is not None else 0)


def matches_filter(run: Run, filters: Mapping[str, Any]) -> bool:
    """Return whether a run passes a MongoDB-style filter."""
    for key, expected in filters.items():
        if key in ("$and", "$or"):
            results = [matches_filter(run, each) for each in expected]
            is_match = all(results) if key == "$and" else any(results)
        elif isinstance(expected, Mapping):
            is_match = all(compare(run_attribute(run, key), *each) for each in expected.items())
        else:
            value = run_attribute(run, key)
            is_match = expected in value if isinstance(value, list) else value == expected
        if not is_match:
            return False
    return True


def compare(value: Any, operator_name: str, expected: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    if operator_name in ("$in", "$nin"):
        return any(each in expected for each in values) is (operator_name == "$in")
    if operator_name in ("$eq", "$ne"):
        return (value == expected) is (operator_name == "$eq")
    if operator_name in COMPARISONS:
        return value is not None and COMPARISONS[operator_name](value, expected)
    raise UnsupportedError(f"filter {operator_name}")


def run_attribute(run: Run, key: str) -> Any:
    namespace, _, name = key.partition(".")
    if namespace == "config":
        return run.config.get(name.removesuffix(".value"))
    if namespace == "summary_metrics":
        return run.summary.get(name)
    if key not in RUN_ATTRIBUTES:
        raise UnsupportedError(f"filter {key}")
    return RUN_ATTRIBUTES[key](run)
