"""Filtering and ordering of runs by the client's MongoDB-style queries."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from tests.loopback.answers import Given, Unknown
from tests.loopback.runs import Run
from tests.loopback.state import State

ATTRIBUTES: dict[str, Callable[[Run], Any]] = {
    "name": lambda run: run.id,
    "displayName": lambda run: run.display_name,
    "display_name": lambda run: run.display_name,
    "state": lambda run: run.state,
    "sweep": lambda run: run.sweep,
    "group": lambda run: run.group,
    "jobType": lambda run: run.job_type,
    "tags": lambda run: run.tags,
    "created_at": lambda run: run.created,
    "createdAt": lambda run: run.created,
    "heartbeat_at": lambda run: run.heard,
}
"""Attributes for filters and orders, in addition to config.* and summary_metrics.*."""


ORDERS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def listed(state: State, project: str, given: Given) -> list[Run]:
    """Return the runs of a project that pass the filters, in the requested order."""
    chosen = json.loads(given.get("filters") or "{}")
    runs = [run for run in state.runs.values() if run.project == project and fits(run, chosen)]
    order = given.get("order") or "+created_at"
    runs.sort(key=lambda run: sortable(attribute(run, order.lstrip("+-"))))
    return runs[::-1] if order.startswith("-") else runs


def sortable(value: Any) -> tuple[bool, Any]:
    return (value is None, value if value is not None else 0)


def fits(run: Run, chosen: Mapping[str, Any]) -> bool:
    """Return whether a run passes a MongoDB-style filter."""
    for key, wanted in chosen.items():
        if key in ("$and", "$or"):
            passed = [fits(run, each) for each in wanted]
            holds = all(passed) if key == "$and" else any(passed)
        elif isinstance(wanted, Mapping):
            holds = all(compared(attribute(run, key), *each) for each in wanted.items())
        else:
            value = attribute(run, key)
            holds = wanted in value if isinstance(value, list) else value == wanted
        if not holds:
            return False
    return True


def compared(value: Any, sign: str, wanted: Any) -> bool:
    held = value if isinstance(value, list) else [value]
    if sign in ("$in", "$nin"):
        return any(each in wanted for each in held) is (sign == "$in")
    if sign in ("$eq", "$ne"):
        return (value == wanted) is (sign == "$eq")
    if sign in ORDERS:
        return value is not None and ORDERS[sign](value, wanted)
    raise Unknown(f"filter {sign}")


def attribute(run: Run, key: str) -> Any:
    kind, _, name = key.partition(".")
    if kind == "config":
        return run.config.get(name.removesuffix(".value"))
    if kind == "summary_metrics":
        return run.summary.get(name)
    if key not in ATTRIBUTES:
        raise Unknown(f"filter {key}")
    return ATTRIBUTES[key](run)
