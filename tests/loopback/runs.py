"""The stored state of a run, and what W&B derives from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

KILLED = 255


def now() -> str:
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
    lines: dict[str, list[str]] = field(default_factory=dict)
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
    crashed: bool = False
    preempting: bool = False
    stop_by_stream: bool = False
    stop_by_agent: bool = False
    used: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    """The ids of the artifacts that the run used and logged."""
    created: str = field(default_factory=now)
    heard: str = field(default_factory=now)

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
        return [json.loads(line) for line in self.lines.get("wandb-history.jsonl", [])]

    @property
    def output(self) -> list[str]:
        return self.lines.get("output.log", [])

    @property
    def state(self) -> str:
        ended = self.exit_code not in (None, 0) or self.crashed
        if self.preempting and ended:
            return "preempted"
        if self.crashed:
            return "crashed"
        if self.exit_code is None:
            return "preempting" if self.preempting else "running"
        return {0: "finished", KILLED: "killed"}.get(self.exit_code, "failed")

    def upsert(self, given: Mapping[str, Any]) -> None:
        """Update the run with the attributes that the client sends."""
        names = {
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
        for name, own in names.items():
            if given.get(name) is not None:
                setattr(self, own, given[name])
        if given.get("config") is not None:
            self.raw_config = json.loads(given["config"])
        if given.get("summaryMetrics") is not None:
            self.summary = json.loads(given["summaryMetrics"])
        self.heard = now()

    def begin(self) -> None:
        """Mark the run as running, for the first time or again."""
        self.exit_code, self.crashed, self.preempting = None, False, False
        self.stop_by_stream = self.stop_by_agent = False

    def values(self, metric: str) -> list[float]:
        """Return the values of a metric over the history."""
        found = (row.get(metric) for row in self.history)
        return [
            float(value)
            for value in found
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
