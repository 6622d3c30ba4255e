"""Reports, which the API calls views."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.fake_wandb.account_resolvers import project_node
from tests.fake_wandb.graphql_executor import ApiError, Args, Node
from tests.fake_wandb.runs import utc_now
from tests.fake_wandb.state import ServerState


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


def upsert_report(state: ServerState, args: Args) -> Node:
    """Create a report, or overwrite the one with this id."""
    report_id, is_new = args.get("id"), False
    if not report_id:
        report_id, is_new = f"report{len(state.reports)}", True
        state.reports[report_id] = Report(report_id, args["projectName"])
    elif report_id not in state.reports:
        raise ApiError(404, "view not found")
    report = state.reports[report_id]
    report.content |= {key: value for key, value in args.items() if value is not None}
    view = {
        "__typename": "View",
        "id": report.id,
        "type": report.content["type"],
        "name": report.content["name"],
        "displayName": report.content["displayName"],
        "description": report.content["description"],
        "project": project_node(state, report.project),
        "spec": report.content["spec"],
        "updatedAt": utc_now(),
    }
    return {"__typename": "UpsertViewPayload", "view": view, "inserted": is_new}
