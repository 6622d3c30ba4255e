"""Reports, which the API calls views."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.loopback.answers import Given, Node, Refused
from tests.loopback.owners import project_node
from tests.loopback.runs import now
from tests.loopback.state import State


@dataclass
class Report:
    """A stored report."""

    id: str
    project: str
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> Any:
        """The parsed content of the report."""
        return json.loads(self.content["spec"])


def upsert(state: State, given: Given) -> Node:
    """Create a report, or overwrite the one with this id."""
    report_id, inserted = given.get("id"), False
    if not report_id:
        report_id, inserted = f"report{len(state.reports)}", True
        state.reports[report_id] = Report(report_id, given["projectName"])
    elif report_id not in state.reports:
        raise Refused(404, "view not found")
    report = state.reports[report_id]
    report.content |= {key: value for key, value in given.items() if value is not None}
    view = {
        "__typename": "View",
        "id": report.id,
        "type": report.content["type"],
        "name": report.content["name"],
        "displayName": report.content["displayName"],
        "description": report.content["description"],
        "project": project_node(state, report.project),
        "spec": report.content["spec"],
        "updatedAt": now(),
    }
    return {"__typename": "UpsertViewPayload", "view": view, "inserted": inserted}
