"""The stored state of a run, and what W&B derives from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

KILLED_EXIT_CODE = 255


def utc_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Run:
    """A stored run."""

    id: str
    entity: str
    project: str
    raw_config: dict[str, Any] = field(default_factory=dict)
    """The config as sent by the client, {key: {value}}, including its own `_wandb`."""
    summary: dict[str, Any] = field(default_factory=dict)
    stream_lines: dict[str, list[str]] = field(default_factory=dict)
    """The lines of wandb-history.jsonl, wandb-events.jsonl and output.log."""
    files: dict[str, bytes] = field(default_factory=dict)
    display_name: str = ""
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)
    program: str | None = None
    host: str | None = None
    commit: str | None = None
    sweep: str | None = None
    exit_code: int | None = None
    is_crashed: bool = False
    is_preempting: bool = False
    should_stop_by_stream: bool = False
    should_stop_by_agent: bool = False
    used_artifacts: list[str] = field(default_factory=list)
    logged_artifacts: list[str] = field(default_factory=list)
    """The ids of the artifacts that the run used and logged."""
    created_at: str = field(default_factory=utc_now)
    heartbeat_at: str = field(default_factory=utc_now)

    @property
    def storage_id(self) -> str:
        return f"run-{self.id}"

    @property
    def config(self) -> dict[str, Any]:
        """The config as the user set it."""
        pairs = self.raw_config.items()
        return {key: each["value"] for key, each in pairs if key != "_wandb"}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream_lines.get("wandb-history.jsonl", [])]

    @property
    def output(self) -> list[str]:
        return self.stream_lines.get("output.log", [])

    @property
    def state(self) -> str:
        has_failed = self.exit_code not in (None, 0) or self.is_crashed
        if self.is_preempting and has_failed:
            return "preempted"
        if self.is_crashed:
            return "crashed"
        if self.exit_code is None:
            return "preempting" if self.is_preempting else "running"
        return {0: "finished", KILLED_EXIT_CODE: "killed"}.get(self.exit_code, "failed")

    def update(self, args: Mapping[str, Any]) -> None:
        """Update the run with the attributes that the client sends."""
        attributes = {
            "displayName": "display_name",
            "groupName": "group",
            "jobType": "job_type",
            "notes": "notes",
            "tags": "tags",
            "jobProgram": "program",
            "host": "host",
            "commit": "commit",
            "sweep": "sweep",
        }
        for name, attribute in attributes.items():
            if args.get(name) is not None:
                setattr(self, attribute, args[name])
        if args.get("config") is not None:
            self.raw_config = json.loads(args["config"])
        if args.get("summaryMetrics") is not None:
            self.summary = json.loads(args["summaryMetrics"])
        self.heartbeat_at = utc_now()

    def restart(self) -> None:
        """Mark the run as running, for the first time or again."""
        self.exit_code, self.is_crashed, self.is_preempting = None, False, False
        self.should_stop_by_stream = self.should_stop_by_agent = False

    def metric_values(self, metric: str) -> list[float]:
        """Return the values of a metric over the history."""
        values = (row.get(metric) for row in self.history)
        return [
            float(value)
            for value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
