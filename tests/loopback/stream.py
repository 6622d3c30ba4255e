"""The file_stream endpoint, which receives a run's history, summary and output line by line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.loopback.answers import Refused, Unknown
from tests.loopback.runs import Run, now
from tests.loopback.state import State

LINES = ("wandb-history.jsonl", "wandb-events.jsonl", "output.log")


def receive(state: State, run_id: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Store what a run sends, and answer whether it should stop."""
    run = state.runs.get(run_id)
    if run is None:
        raise Refused(404, f"run {run_id} not found")
    unknown = set(sent) - {"files", "complete", "exitcode", "uploaded", "dropped", "preempting"}
    if unknown:
        raise Unknown(f"file_stream: {', '.join(sorted(unknown))}")
    for name, part in (sent.get("files") or {}).items():
        _place(run, name, part)
    run.heard = now()
    if sent.get("preempting"):
        run.preempting = True
    if sent.get("complete"):
        run.exit_code = sent.get("exitcode") or 0
        state.ended(run)
    return {"exitcode": None, "limits": {}, "stopped": run.stop_by_stream}


def _place(run: Run, name: str, part: Mapping[str, Any]) -> None:
    """Write lines at their offset, overwriting those of an earlier attempt."""
    offset, content = part.get("offset", 0), part["content"]
    if name == "wandb-summary.json":
        run.summary = json.loads(content[-1])
        return
    if name not in LINES:
        raise Unknown(f"file_stream: file {name}")
    lines = run.lines.setdefault(name, [])
    if offset > len(lines):
        raise Unknown(f"file_stream: {name} goes on at {offset}, but has {len(lines)} lines")
    lines[offset : offset + len(content)] = content
